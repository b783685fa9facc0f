"""Batches that are drawn on the GPU that learns from them: processors are too slow for it."""
