"""The networks prepared for speed on a CPU, with the same numbers as the plain ones."""
