"""Models that exist, their files, and loading them."""
