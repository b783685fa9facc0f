"""The second dock widget: what the mask decoder computes for the current object."""
