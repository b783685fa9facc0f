"""Segment, and repeat a session, without a screen."""
