"""Images, labels and prompts on disk."""
