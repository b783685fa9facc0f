"""What napari does when it makes its first points and shapes, done outside the main thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from napari.layers import Points, Shapes

from napari_promptable.gui.work.worker import Task


@cache
def make_first_layers() -> None:
    """Have pandas imported and the compiled triangulation loaded: most of the first second."""
    Points(np.empty((0, 2)), features={"label": np.array([], object)})
    Shapes(None, ndim=2)


def is_warm() -> bool:
    """Whether this process has made such layers, so that more are made at once."""
    return make_first_layers.cache_info().currsize > 0


class WarmUp:
    """Source of the work to be done before our first layers are made."""

    def __init__(self) -> None:
        self._then: Callable[[], None] | None = None

    def before(self, then: Callable[[], None]) -> None:
        """Call a function in the main thread after warming up, at once if that was done."""
        if is_warm():
            then()
        else:
            self._then = then

    def next_task(self) -> Task | None:
        """Return the task until it is done, even if the user cancels it."""
        if self._then is None:
            return None
        return Task(
            "getting ready", lambda _: make_first_layers(), self._continue, self._continue
        )

    def _continue(self, _result: object) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()
