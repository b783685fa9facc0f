"""Imports of large packages in a thread, while the main thread goes on."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def spare_collections() -> Iterator[None]:
    """Keep Python from looking for garbage while a large package is imported.

    An import makes so many objects that Python would look through all objects there are, more
    than once, and no thread could go on for a fifth of a second each time. At the end, what was
    imported counts as old, as if Python had looked through it.

    Collection counts as enabled meanwhile. If another thread imported dask while it is
    disabled, dask would leave it disabled for ever after.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(0)
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:  # objects that others froze stay frozen
            gc.freeze()
            gc.unfreeze()  # into the oldest generation
        if thresholds[0] > 0:  # otherwise another import pauses it, and restores it
            gc.set_threshold(*thresholds)
