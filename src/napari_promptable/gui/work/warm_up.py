"""What napari does when it makes its first layers, done outside the main thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache

import numpy as np
from napari.layers import Labels, Points, Shapes
from qtpy.QtCore import QTimer

from napari_promptable.gui.work.imports import spare_collections
from napari_promptable.gui.work.worker import Task

_FRAME_MS = 20  # longer than Qt waits before it draws a change
_LONGEST_WAIT_S = 10.0


@cache
def make_first_layers() -> None:
    """Have pandas, colours and compiled triangulation imported: most of the first second."""
    with spare_collections():
        Points(np.empty((0, 2)), features={"label": np.array([], object)})
        Shapes(None, ndim=2)
        Labels(np.zeros((1, 1), np.uint8))


def is_warm() -> bool:
    """Whether this process has made such layers, so that more are made at once."""
    return make_first_layers.cache_info().currsize > 0


class WarmUp:
    """Source of the work to be done before our first layers are made.

    Its second task waits until the layers are drawn. The import of torch comes next, and the
    two would hold each other up.
    """

    def __init__(self) -> None:
        self._then: Callable[[], None] | None = None
        self._drawn: threading.Event | None = None

    def before(self, then: Callable[[], None]) -> None:
        """Call a function in the main thread after warming up, at once if that was done."""
        if is_warm():
            then()
        else:
            self._then = then

    def next_task(self) -> Task | None:
        """Return the next task, even if the user cancelled one."""
        if self._then is not None:
            return Task(
                "getting ready", lambda _: make_first_layers(), self._continue, self._continue
            )
        drawn, self._drawn = self._drawn, None
        if drawn is not None:
            return Task("", lambda _: drawn.wait(_LONGEST_WAIT_S), _ignore, _ignore)
        return None

    def _continue(self, _result: object) -> None:
        then, self._then = self._then, None
        if then is not None:
            self._drawn = drawn = threading.Event()
            then()
            QTimer.singleShot(_FRAME_MS, drawn.set)


def _ignore(_result: object) -> None:
    """Let the end of a wait pass."""
