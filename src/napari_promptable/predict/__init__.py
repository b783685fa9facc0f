"""Encode a plane once, then answer prompts often."""
