"""Where the mouse pointer comes to rest on the image: there, the next click is likely."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.planes import Index

_REST_MS = 60  # people take longer from the end of a movement to the click


class PointerWatch:
    """Follows the pointer over a viewer.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer itself, not napari's proxy of it.
    workspace : Workspace
        Whose image counts.

    Attributes
    ----------
    rested : psygnal.Signal
        Emits the index of the plane in view and the position, (row, col), on it.
    """

    rested = Signal(object, object)

    def __init__(self, viewer: ViewerModel, workspace: Workspace) -> None:
        self._viewer, self._workspace = viewer, workspace
        self._world: tuple[float, ...] = ()
        self._timer = QTimer(singleShot=True, interval=_REST_MS)
        self._timer.timeout.connect(self._report)
        viewer.mouse_move_callbacks.append(self._follow)

    def close(self) -> None:
        """Leave the viewer."""
        self._timer.stop()
        self._viewer.mouse_move_callbacks.remove(self._follow)

    def _follow(self, _viewer: ViewerModel, event: Any) -> None:
        self._world = tuple(event.position)
        self._timer.start()

    def _report(self) -> None:
        """Tell where the pointer is, if that is on the plane in view."""
        place = self.place()
        if place is not None:
            self.rested.emit(*place)

    def place(self) -> tuple[Index, npt.NDArray[np.floating]] | None:
        """Plane in view and position on it, (row, col); None where the pointer is elsewhere."""
        image, layers = self._workspace.image, self._workspace.layers
        index = self._workspace.visible_index()
        if image is None or layers is None or index is None or not self._world:
            return None
        position = np.asarray(image.world_to_data(self._world[-image.ndim :]))
        point = position[list(layers.planes.axes)]
        is_inside = (np.rint(point) >= 0) & (np.rint(point) < layers.planes.plane_shape)
        return (index, point) if is_inside.all() else None
