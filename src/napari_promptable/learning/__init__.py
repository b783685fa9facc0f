"""Better weights from labelled objects: crops, simulated prompts, losses, and the loop."""
