"""All objects of an image at once, without a prompt."""
