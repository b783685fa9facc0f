"""The command line ``napari-promptable``: a module for each command."""

from napari_promptable.cli.app import DONE, INTERRUPTED, MISTAKE, main

__all__ = ["DONE", "INTERRUPTED", "MISTAKE", "main"]
