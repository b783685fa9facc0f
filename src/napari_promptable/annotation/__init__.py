"""The state of one annotation job: prompts, labels, history, sessions on disk."""
