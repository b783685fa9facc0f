"""One annotation session, with its prompts, labels, history and files."""
