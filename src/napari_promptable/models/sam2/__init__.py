"""SAM 2.1: its networks as in the paper, torch only."""
