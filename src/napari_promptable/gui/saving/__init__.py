"""Automatic saving and recovery of sessions."""
