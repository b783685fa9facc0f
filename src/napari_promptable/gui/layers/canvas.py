"""The viewer's canvas, as far as napari leaves something to do."""

from __future__ import annotations

from contextlib import suppress
from typing import Any


class CanvasGuard:
    """Keeps the removal of layers from crashing the graphics driver.

    When a layer is removed, napari (0.9.2, `VispyCanvas._clean_and_update_scenegraph`) deletes
    its OpenGL programs at once, in whichever context is current: often the one in which Qt
    composes the window. With Mesa's drivers, the next drawing can then crash the process. So
    the canvas's own context is made current first.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        The viewer itself, not napari's proxy of it; a model without a window needs no guard.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        viewer.layers.events.removing.connect(self._make_current)

    def close(self) -> None:
        """Leave the viewer."""
        self._viewer.layers.events.removing.disconnect(self._make_current)

    def _make_current(self, _event: Any = None) -> None:
        with suppress(AttributeError, RuntimeError):  # no window, or one that is being closed
            self._viewer.window._qt_viewer.canvas.native.makeCurrent()
