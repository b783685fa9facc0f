"""Bundled sample data, and the demo."""
