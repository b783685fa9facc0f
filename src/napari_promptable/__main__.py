"""``python -m napari_promptable`` runs the command ``napari-promptable``."""

import sys

from napari_promptable.cli import main

if __name__ == "__main__":  # worker processes of a local cluster import this module too
    sys.exit(main())
