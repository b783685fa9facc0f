"""The layers of one annotation job: clicks, boxes and preview."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_promptable.gui.layers.adapters import (
    NEGATIVE,
    POSITIVE,
    drop_orphaned_features,
    make_boxes_layer,
    make_points_layer,
    next_click,
    refines_code,
    set_default_features,
    set_next_click,
    show_signs,
)
from napari_promptable.gui.layers.canvas import LayerKeys
from napari_promptable.gui.layers.following import Following
from napari_promptable.gui.layers.preview import Preview
from napari_promptable.gui.layers.prompt_values import read_layers, write_layers
from napari_promptable.masks import BoolArray
from napari_promptable.planes import Index, PlaneAxes
from napari_promptable.prompts import PlanePrompts

CLICKED_OUTSIDE = "That click was outside the image. Click inside an object."
DREW_LINE = "Lines and paths are no prompts. Draw a box, an ellipse or an outline."
IN_3D = "Switch to 2D to add prompts (square button below the layer list)."
_EDITED = (None, "added", "changed", "removed")  # actions after which prompts are complete
_MODES = {
    "positive": "add",
    "negative": "add",
    "box": "add_rectangle",
    "outline": "add_polygon_lasso",
}


class PromptLayers:
    """Makes, reads, writes and removes the layers; the user may delete each at any time.

    Parameters
    ----------
    viewer : ViewerModel
        Where they are shown.
    image : Image
        The image under them.
    planes : PlaneAxes
        The image's planes.
    keys : LayerKeys
        Keys for our layers.

    Attributes
    ----------
    edited : psygnal.Signal
        Emitted when the user added, moved, changed or removed prompts.
    refused : psygnal.Signal
        Emits a sentence about what the user drew that cannot be a prompt.
    tool_changed : psygnal.Signal
        Emits the name of the tool that became active.
    """

    edited = Signal()
    refused = Signal(str)
    tool_changed = Signal(str)

    def __init__(
        self,
        viewer: ViewerModel,
        image: Image,
        planes: PlaneAxes,
        keys: LayerKeys,
    ) -> None:
        self.image = image
        self.planes = planes
        self._viewer = viewer
        self.keys = keys
        self._object_id = 1
        self._is_silent = self._is_negative_once = False
        self.points: Points | None = None
        self.boxes: Shapes | None = None
        self._preview = Preview(viewer, image, planes, self._add)
        self._following = Following(image, lambda _: self._layers())
        viewer.layers.events.removed.connect(self._forget_removed)

    # making and removing

    def ensure_layers(self) -> None:
        """Make the layers that are missing, the preview lowest."""
        self._preview.ensure_layer()
        if self.boxes is None:
            self.boxes = make_boxes_layer(self.image, self.planes, self._object_id)
            self._add(self.boxes)
            self.boxes.events.data.connect(self._follow_boxes)
        if self.points is None:
            self.points = make_points_layer(self.image, self.planes, self._object_id)
            self._add(self.points)
            self.points.events.data.connect(self._follow_points)
            self.points.events.features.connect(self._report_features)
            self.points.mouse_drag_callbacks.insert(0, self._choose_sign)

    def _add(self, layer: Layer) -> None:
        self._viewer.add_layer(layer)
        self.keys.bind(layer)

    def close(self) -> None:
        """Remove our layers and callbacks from the viewer."""
        self._viewer.layers.events.removed.disconnect(self._forget_removed)
        self._following.close()
        layers = self._layers()
        self.points = self.boxes = None
        self._preview.close()
        for layer in layers:
            self._release(layer)
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def _release(self, layer: Layer) -> None:
        """Leave nothing of ours on a layer: napari may keep a removed one for a while."""
        self.keys.unbind(layer)
        if self._choose_sign in layer.mouse_drag_callbacks:
            layer.mouse_drag_callbacks.remove(self._choose_sign)

    def _forget_removed(self, event: Any) -> None:
        """React to the user deleting one of our layers."""
        if event.value in self._layers():
            self._release(event.value)
        if event.value is self.preview:
            self._preview.forget_layer()
        elif event.value is self.points:
            self.points = None
            self._report_edit()
        elif event.value is self.boxes:
            self.boxes = None
            self._report_edit()

    def _layers(self) -> list[Layer]:
        """Our layers that the user has not deleted."""
        return [layer for layer in (self.points, self.boxes, self.preview) if layer is not None]

    # prompts

    @contextmanager
    def _silence(self) -> Any:
        was_silent, self._is_silent = self._is_silent, True
        try:
            yield
        finally:
            self._is_silent = was_silent

    def _report_edit(self, event: Any = None) -> None:
        if not self._is_silent and getattr(event, "action", None) in _EDITED:
            self.edited.emit()

    def _follow_points(self, event: Any) -> None:
        """Drop new clicks that cannot be prompts, then report the edit."""
        if event.action == "added" and not self._is_silent and self.points is not None:
            if self._is_negative_once:
                QTimer.singleShot(0, self._end_negative)
            outside = self._outside(self.points, np.atleast_1d(event.data_indices))
            if len(outside):
                with self._silence():
                    self.points.remove(outside.tolist())
                self.refused.emit(IN_3D if self.is_in_3d else CLICKED_OUTSIDE)
                return
        self._report_edit(event)

    def _outside(
        self, points: Points, indices: npt.NDArray[np.integer[Any]]
    ) -> npt.NDArray[np.integer[Any]]:
        """Return the clicks of these that lie outside the image, or all of them in 3D."""
        indices = indices % max(1, len(points.data))  # napari gives the newest click as -1
        if self.is_in_3d:
            return indices
        planes, positions = self.planes.split(self._to_image(points, points.data[indices]))
        pixels = np.rint(positions)
        is_on_plane = ((pixels >= 0) & (pixels < self.planes.plane_shape)).all(axis=1)
        is_inside = is_on_plane & np.array([self.planes.contains(plane) for plane in planes])
        return indices[~is_inside]

    def _follow_boxes(self, event: Any) -> None:
        """Say what is no prompt among new shapes, then report the edit."""
        drop_orphaned_features(event.source)
        is_new = event.action == "added" and not self._is_silent and event.source.nshapes > 0
        if is_new and str(event.source.shape_type[-1]) in ("line", "path"):
            self.refused.emit(DREW_LINE)
        self._report_edit(event)

    def _end_negative(self) -> None:
        """Make clicks positive again, once napari has selected the new one."""
        self._is_negative_once = False
        if self.points is not None:
            with self._silence():
                set_next_click(self.points, POSITIVE)

    def _choose_sign(self, layer: Points, event: Any) -> None:
        """Make a click with Control or the right button negative, and this click only."""
        is_other = "Control" in event.modifiers or event.button == 2
        if is_other and layer.mode == "add" and next_click(layer) == POSITIVE:
            self._is_negative_once = True
            with self._silence():
                set_next_click(layer, NEGATIVE)

    @property
    def is_in_3d(self) -> bool:
        """Whether the viewer shows a volume, where no prompt can be placed."""
        return bool(self._viewer.dims.ndisplay == 3)

    def _report_features(self, event: Any = None) -> None:
        """Show signs that the user changed in the feature table, then report the edit."""
        if not self._is_silent and self.points is not None:
            with self._silence():
                show_signs(self.points)
                if self.points.mode == "add":  # in other modes it may be about to be moved
                    self.points.selected_data = set()  # napari's highlight would hide the sign
            self.edited.emit()

    def read(self) -> dict[Index, PlanePrompts]:
        """Read the current object's prompts by plane."""
        return read_layers(
            self.points, self.boxes, self._to_image, self.planes, self._object_id
        )

    def write(self, object_id: int, prompts: Mapping[Index, PlanePrompts]) -> None:
        """Show an object's prompts instead of the ones on the layers."""
        is_other = object_id != self._object_id
        self._object_id = object_id
        with self._silence():
            write_layers(self.points, self.boxes, self.planes, object_id, prompts)
            if is_other and self.points is not None and next_click(self.points) == NEGATIVE:
                set_next_click(self.points, POSITIVE)
                self.tool_changed.emit(POSITIVE)

    def set_refined(self, candidate: int | None) -> None:
        """Record with future clicks which candidate they correct."""
        if self.points is not None:
            with self._silence():
                set_default_features(self.points, refines=refines_code(candidate))

    def _to_image(
        self, layer: Layer, positions: npt.NDArray[Any]
    ) -> npt.NDArray[np.floating[Any]]:
        """Turn positions on a layer into image pixels, through world coordinates."""
        return np.array([self.image.world_to_data(layer.data_to_world(p)) for p in positions])

    # tools

    def activate_tool(self, name: str) -> None:
        """Select the right layer in the right mode."""
        if self.is_in_3d:
            self.refused.emit(IN_3D)
            return
        self.ensure_layers()
        assert self.points is not None and self.boxes is not None
        is_click = name in (POSITIVE, NEGATIVE)
        if is_click:
            with self._silence():
                set_next_click(self.points, name)
        layer = self.points if is_click else self.boxes
        self._viewer.layers.selection.active = layer
        layer.mode = _MODES[name]
        self.tool_changed.emit(name)

    def toggle_sign(self) -> None:
        """Switch the next click between positive and negative."""
        is_negative = self.points is not None and next_click(self.points) == NEGATIVE
        self.activate_tool(POSITIVE if is_negative else NEGATIVE)

    # preview

    @property
    def preview(self) -> Labels | None:
        """The layer that shows the current object's mask."""
        return self._preview.layer

    def show_mask(self, index: Index, mask: BoolArray | None) -> None:
        """Show a candidate's mask on a plane, or none."""
        self._preview.show(index, mask)

    def clear_preview(self) -> None:
        """Remove the masks from all planes."""
        self._preview.clear()
