"""Edits of the prompt layers: the user's or ours, and whether they can be prompts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image, Layer, Points, Shapes
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_promptable.gui.layers.adapters import (
    NEGATIVE,
    POSITIVE,
    camera_of,
    drop_orphaned_features,
    next_click,
    set_next_click,
    show_signs,
    to_image_pixels,
)
from napari_promptable.planes import PlaneAxes

CLICKED_OUTSIDE = "That click was outside the image. Click inside an object."
IN_3D = "Switch to 2D to add prompts (square button below the layer list)."

_MIN_BOX_PX = 3  # on the screen; less is a click
_COMPLETE = (None, "added", "changed", "removed")  # actions after which prompts are complete


class EditWatch:
    """Reports what the user edits on the prompt layers, and drops clicks that are no prompts.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers are shown.
    image : Image
        The image under them.
    planes : PlaneAxes
        The image's planes.

    Attributes
    ----------
    edited : psygnal.Signal
        Emitted when the user added, moved, changed or removed prompts.
    refused : psygnal.Signal
        Emits a sentence about what the user drew that cannot be a prompt.
    clicked : psygnal.Signal
        Emits the world position of a click with the box tool.
    """

    edited = Signal()
    refused = Signal(str)
    clicked = Signal(object)

    def __init__(self, viewer: ViewerModel, image: Image, planes: PlaneAxes) -> None:
        self._viewer, self._image, self._planes = viewer, image, planes
        self._is_silent = False
        self._negative_once: Points | None = None

    def watch_points(self, points: Points) -> None:
        """Follow the clicks on a layer."""
        points.events.data.connect(self._follow_points)
        points.events.features.connect(self._follow_features)
        points.mouse_drag_callbacks.insert(0, self._choose_sign)

    def watch_boxes(self, boxes: Shapes) -> None:
        """Follow the shapes on a layer."""
        boxes.events.data.connect(self._follow_boxes)

    def release(self, layer: Layer) -> None:
        """Remove our mouse callback from a layer, which napari may keep for a while."""
        if self._choose_sign in layer.mouse_drag_callbacks:
            layer.mouse_drag_callbacks.remove(self._choose_sign)
        if self._negative_once is layer:
            self._negative_once = None

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Take edits for our own."""
        was_silent, self._is_silent = self._is_silent, True
        try:
            yield
        finally:
            self._is_silent = was_silent

    @property
    def is_in_3d(self) -> bool:
        """Whether the viewer shows a volume, where no prompt can be placed."""
        return bool(self._viewer.dims.ndisplay == 3)

    def report(self, event: Any = None) -> None:
        """Report an edit, unless it is ours or unfinished."""
        if not self._is_silent and getattr(event, "action", None) in _COMPLETE:
            self.edited.emit()

    def _follow_points(self, event: Any) -> None:
        """Drop new clicks that cannot be prompts, then report the edit."""
        points: Points = event.source
        if event.action == "added" and not self._is_silent:
            if self._negative_once is not None:
                QTimer.singleShot(0, self._end_negative)
            outside = self._outside(points, np.atleast_1d(event.data_indices))
            if len(outside):
                with self.silence():
                    points.remove(outside.tolist())
                self.refused.emit(IN_3D if self.is_in_3d else CLICKED_OUTSIDE)
                return
        self.report(event)

    def _outside(
        self, points: Points, indices: npt.NDArray[np.integer[Any]]
    ) -> npt.NDArray[np.integer[Any]]:
        """Return the clicks of these that lie outside the image, or all of them in 3D."""
        indices = indices % max(1, len(points.data))  # napari gives the newest click as -1
        if self.is_in_3d:
            return indices
        in_image = to_image_pixels(self._image, points, points.data[indices])
        planes, positions = self._planes.split(in_image)
        pixels = np.rint(positions)
        is_on_plane = ((pixels >= 0) & (pixels < self._planes.plane_shape)).all(axis=1)
        is_inside = is_on_plane & np.array([self._planes.contains(plane) for plane in planes])
        return indices[~is_inside]

    def _follow_boxes(self, event: Any) -> None:
        """Say what is no prompt among new shapes, then report the edit."""
        drop_orphaned_features(event.source)
        is_new = event.action == "added" and not self._is_silent and event.source.nshapes > 0
        if is_new and self._is_tiny(event.source):
            # napari is not done with the new shape
            QTimer.singleShot(0, partial(self._make_click, event.source))
            return
        self.report(event)

    def _is_tiny(self, boxes: Shapes) -> bool:
        """Whether the newest shape is a box that a click with the box tool left behind."""
        if boxes.nshapes == 0 or boxes.shape_type[-1] != "rectangle":
            return False
        corners = np.array([boxes.data_to_world(corner) for corner in boxes.data[-1]])
        extent = np.ptp(corners, axis=0).max() * camera_of(self._viewer).zoom
        return bool(extent < _MIN_BOX_PX)

    def _make_click(self, boxes: Shapes) -> None:
        """Remove the tiny box, and report a click where its drawing began."""
        if self._is_tiny(boxes):
            position = np.asarray(boxes.data_to_world(boxes.data[-1][0]))
            with self.silence():
                boxes.selected_data = {boxes.nshapes - 1}
                boxes.remove_selected()
            self.clicked.emit(position)

    def _follow_features(self, event: Any) -> None:
        """Show signs that the user changed in the feature table, then report the edit."""
        points: Points = event.source
        if not self._is_silent:
            with self.silence():
                show_signs(points)
                if points.mode == "add":  # in other modes a click may be about to be moved
                    points.selected_data = set()  # napari's highlight would hide the sign
            self.edited.emit()

    # the sign of one click

    def _choose_sign(self, points: Points, event: Any) -> None:
        """Make a click with Control or the right button negative, and this click only."""
        is_other = "Control" in event.modifiers or event.button == 2
        if is_other and points.mode == "add" and next_click(points) == POSITIVE:
            self._negative_once = points
            with self.silence():
                set_next_click(points, NEGATIVE)

    def _end_negative(self) -> None:
        """Make clicks positive again, once napari has selected the new one."""
        points, self._negative_once = self._negative_once, None
        if points is not None:
            with self.silence():
                set_next_click(points, POSITIVE)
