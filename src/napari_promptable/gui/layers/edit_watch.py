"""Edits of the prompt layers: the user's or ours, and whether they can be prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
    next_refined,
    refined_candidate,
    restore_ids,
    set_next_click,
    show_signs,
    show_stroke_signs,
    spatial_shape,
    to_image_pixels,
)
from napari_promptable.gui.layers.canvas import Place
from napari_promptable.gui.layers.prompt_values import meets_plane
from napari_promptable.planes import Index, PlaneAxes
from napari_promptable.prompts import BACKGROUND, FOREGROUND, PlanePrompts

CLICKED_OUTSIDE = "That click was outside the image. Click inside an object."
DRAWN_OUTSIDE = "That shape was outside the image. Draw it around an object."
IN_3D = "Switch to 2D to add prompts (square button below the layer list)."

IDS_STAY = (
    'These prompts stay with object {}. To prompt another, change the number at "Object".'
)

_MIN_BOX_PX = 3  # on the screen; less is a click
_COMPLETE = (None, "added", "changed", "removed")  # actions after which prompts are complete


@dataclass(frozen=True, eq=False)
class Click:
    """A click on a plane.

    Attributes
    ----------
    index : Index
        The plane.
    point_yx : ndarray of float, shape (2,)
        Position on it.
    label : int
        `FOREGROUND` or `BACKGROUND`.
    refined : int or None
        Which candidate of the answer so far it corrects; None for the one that is offered.
    """

    index: Index
    point_yx: npt.NDArray[np.floating[Any]]
    label: int
    refined: int | None

    def added_to(self, prompts: PlanePrompts) -> PlanePrompts:
        """Return an object's prompts on the plane with one more click, this one."""
        return replace(
            prompts,
            points_yx=np.vstack([prompts.points_yx, self.point_yx]),
            point_labels=np.append(prompts.point_labels, self.label),
            refines=(*prompts.refines, self.refined),
            point_extra=(*prompts.point_extra, {}),
        )


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
    object_id : callable
        Returns the id of the object whose prompts the layers show.

    Attributes
    ----------
    edited : psygnal.Signal
        Emitted when the user added, moved, changed or removed prompts.
    refused : psygnal.Signal
        Emits a sentence about what the user drew that cannot be a prompt.
    clicked : psygnal.Signal
        Emits the world position of a click with the box tool.
    pressed : psygnal.Signal
        Emits the `Click` that is made if the mouse button comes up where it went down.
    """

    edited = Signal()
    refused = Signal(str)
    clicked = Signal(object)
    pressed = Signal(object)

    def __init__(
        self,
        viewer: ViewerModel,
        image: Image,
        planes: PlaneAxes,
        object_id: Callable[[], int],
    ) -> None:
        self._viewer, self._image, self._planes = viewer, image, planes
        self._object_id = object_id
        self._is_silent = False
        self._known_features: Any = None  # a copy of what was reported, until we write
        self._negative_once: Points | None = None

    def watch_points(self, points: Points) -> None:
        """Follow the clicks on a layer."""
        points.events.data.connect(self._follow_points)
        points.events.features.connect(self._follow_clicks)
        points.mouse_drag_callbacks.insert(0, self._follow_press)

    def watch_boxes(self, boxes: Shapes) -> None:
        """Follow the shapes on a layer."""
        boxes.events.data.connect(self._follow_boxes)
        boxes.events.features.connect(self._follow_shapes)
        boxes.mouse_drag_callbacks.append(_hold_escape)

    def release(self, layer: Layer) -> None:
        """Remove our mouse callbacks from a layer, which napari may keep for a while."""
        for callback in (self._follow_press, _hold_escape):
            if callback in layer.mouse_drag_callbacks:
                layer.mouse_drag_callbacks.remove(callback)
        if self._negative_once is layer:
            self._negative_once = None
        self._known_features = None

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Take edits for our own."""
        was_silent, self._is_silent = self._is_silent, True
        try:
            yield
        finally:
            self._is_silent = was_silent
            self._known_features = None

    @property
    def is_in_3d(self) -> bool:
        """Whether the viewer shows a volume, where no prompt can be placed."""
        return bool(self._viewer.dims.ndisplay == 3)

    def report(self, event: Any = None) -> bool:
        """Report an edit, unless it is ours or unfinished. Returns whether it was reported."""
        is_reported = not self._is_silent and getattr(event, "action", None) in _COMPLETE
        if is_reported:
            self.edited.emit()
        return is_reported

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
        if self.report(event):
            self._keep_ids(points)
            self._known_features = points.features.copy()

    def _outside(
        self, points: Points, indices: npt.NDArray[np.integer[Any]]
    ) -> npt.NDArray[np.integer[Any]]:
        """Return the clicks of these that lie outside the image, or all of them in 3D."""
        indices = indices % max(1, len(points.data))  # napari gives the newest click as -1
        if self.is_in_3d:
            return indices
        places = self._places(points, points.data[indices])
        is_outside = np.array([place is None for place in places])
        outside: npt.NDArray[np.integer[Any]] = indices[is_outside]
        return outside

    def _places(self, points: Points, positions: npt.NDArray[Any]) -> list[Place | None]:
        """Find the plane and the position on it for each row, or None outside the image."""
        if spatial_shape(self._image) != self._planes.shape:
            return [None] * len(positions)  # a script gave the image data that are no image
        positions = np.asarray(positions, float)  # a script may give them as objects
        positions = np.where(np.isfinite(positions), positions, -1e6)  # outside, too
        in_image = to_image_pixels(self._image, points, positions)
        places = zip(*self._planes.split(in_image), strict=True)
        return [place if _is_inside(*place, self._planes) else None for place in places]

    def _follow_boxes(self, event: Any) -> None:
        """Say what is no prompt among new shapes, then report the edit."""
        drop_orphaned_features(event.source)
        is_new = event.action == "added" and not self._is_silent and event.source.nshapes > 0
        if is_new and _is_tiny(event.source, camera_of(self._viewer).zoom):
            # napari is not done with the new shape
            QTimer.singleShot(0, partial(self._make_click, event.source))
        elif is_new and self._is_outside(event.source):
            QTimer.singleShot(0, partial(self._drop_outside, event.source))
        else:
            self.report(event)

    def _is_outside(self, boxes: Shapes) -> bool:
        """Whether the newest shape lies beside the image."""
        if boxes.nshapes == 0:
            return False
        positions = to_image_pixels(self._image, boxes, np.asarray(boxes.data[-1]))
        indices, corners_yx = self._planes.split(positions)
        is_on_slice = self._planes.contains(indices[0])
        return not (is_on_slice and meets_plane(corners_yx, self._planes))

    def _drop_outside(self, boxes: Shapes) -> None:
        """Remove the newest shape, which lies beside the image."""
        if self._is_outside(boxes):
            with self.silence():
                _remove_newest(boxes)
            self.refused.emit(DRAWN_OUTSIDE)

    def _make_click(self, boxes: Shapes) -> None:
        """Remove the tiny box, and report a click where its drawing began."""
        if _is_tiny(boxes, camera_of(self._viewer).zoom):
            position = np.asarray(boxes.data_to_world(boxes.data[-1][0]))
            with self.silence():
                _remove_newest(boxes)
            self.clicked.emit(position)

    def _follow_clicks(self, event: Any) -> None:
        """Show signs that the user changed in the feature table, then report the edit.

        Each change of the data is followed by this event, too, mostly with nothing to report.
        """
        if self._is_silent:
            return
        points: Points = event.source
        known = self._known_features
        is_known = known is not None and known.equals(points.features)
        with self.silence():
            show_signs(points)
            if points.mode == "add":  # in other modes a click may be about to be moved
                points.selected_data = set()  # napari's highlight would hide the sign
        if not is_known:
            self.edited.emit()
            self._keep_ids(points)

    def _follow_shapes(self, event: Any) -> None:
        """Show signs of strokes that the user changed in the feature table, and report it."""
        boxes: Shapes = event.source
        if not self._is_silent and len(boxes.features) == boxes.nshapes:
            with self.silence():
                is_changed = show_stroke_signs(boxes)
            if is_changed:
                self.edited.emit()
            self._keep_ids(boxes)

    def _keep_ids(self, layer: Points | Shapes) -> None:
        """Restore ids that the user changed: prompts belong to the object that is shown."""
        with self.silence():
            is_changed = restore_ids(layer, self._object_id())
        if is_changed:
            self.refused.emit(IDS_STAY.format(self._object_id()))

    # a click that begins

    def _follow_press(self, points: Points, event: Any) -> None:
        """Choose the sign of a click, and report it before the button comes up."""
        self._choose_sign(points, event)
        if points.mode != "add" or self.is_in_3d:
            return
        [place] = self._places(points, np.array([points.world_to_data(event.position)]))
        if place is not None:
            label = FOREGROUND if next_click(points) == POSITIVE else BACKGROUND
            self.pressed.emit(Click(*place, label, refined_candidate(next_refined(points))))

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


def _is_inside(
    index: Index, point_yx: npt.NDArray[np.floating[Any]], planes: PlaneAxes
) -> bool:
    pixel = np.rint(point_yx)
    return planes.contains(index) and bool(((pixel >= 0) & (pixel < planes.plane_shape)).all())


def _is_tiny(boxes: Shapes, zoom: float) -> bool:
    """Whether the newest shape is a box or ellipse that a mere click left behind."""
    if boxes.nshapes == 0 or boxes.shape_type[-1] not in ("rectangle", "ellipse"):
        return False
    corners = np.array([boxes.data_to_world(corner) for corner in boxes.data[-1]])
    return bool(np.ptp(corners, axis=0).max() * zoom < _MIN_BOX_PX)


def _remove_newest(boxes: Shapes) -> None:
    boxes.selected_data = {boxes.nshapes - 1}
    boxes.remove_selected()


def _hold_escape(boxes: Shapes, event: Any) -> Iterator[None]:
    """Let Escape wait until the button is up: napari's lasso fails if it ends in mid-drag."""
    boxes.bind_key("Escape", lambda _: None)
    yield
    while event.type == "mouse_move":
        yield
    boxes.bind_key("Escape", None)
