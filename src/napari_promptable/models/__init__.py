"""The networks, torch only."""
