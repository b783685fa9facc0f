"""Sizes, shapes and intensities of objects, as tables."""
