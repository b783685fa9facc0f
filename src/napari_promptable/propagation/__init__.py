"""Carry one object through a stack or through time."""
