"""Images and prompt files on disk."""
