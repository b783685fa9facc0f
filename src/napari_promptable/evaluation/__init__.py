"""Measure a model on labelled images."""
