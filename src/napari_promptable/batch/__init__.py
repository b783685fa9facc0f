"""Segmentation and re-runs without a screen."""
