"""Labelled objects in the file formats of other programs, one module per format."""
