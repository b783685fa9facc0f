"""The layers of one annotation job: clicks, boxes and preview."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes
from psygnal import Signal

from napari_promptable.gui.layers.adapters import (
    NEGATIVE,
    OFFERED,
    POSITIVE,
    TRANSFORM,
    copy_transform,
    make_boxes_layer,
    make_points_layer,
    make_preview_layer,
    next_click,
    refines_code,
    set_default_features,
    set_next_click,
    show_signs,
)
from napari_promptable.gui.layers.canvas import LayerKeys
from napari_promptable.masks import BoolArray, ellipse_to_polygon, mask_region
from napari_promptable.planes import Index, PlaneAxes
from napari_promptable.prompts import FOREGROUND, PlanePrompts

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
    tool_changed : psygnal.Signal
        Emits the name of the tool that became active.
    """

    edited = Signal()
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
        self._is_silent = False
        self._shown: dict[Index, tuple[slice, slice]] = {}
        self.points: Points | None = None
        self.boxes: Shapes | None = None
        self.preview: Labels | None = None
        for name in TRANSFORM:
            getattr(image.events, name).connect(self._follow_image)
        viewer.layers.events.removed.connect(self._forget_removed)

    # making and removing

    def ensure_layers(self) -> None:
        """Make the layers that are missing, the preview lowest."""
        if self.preview is None:
            self.preview = make_preview_layer(self.image, self.planes)
            self._add(self.preview)
        if self.boxes is None:
            self.boxes = make_boxes_layer(self.image, self.planes, self._object_id)
            self._add(self.boxes)
            self.boxes.events.data.connect(self._report_edit)
        if self.points is None:
            self.points = make_points_layer(self.image, self.planes, self._object_id)
            self._add(self.points)
            self.points.events.data.connect(self._report_edit)
            self.points.events.features.connect(self._report_features)

    def _add(self, layer: Layer) -> None:
        self._viewer.add_layer(layer)
        self.keys.bind(layer)

    def close(self) -> None:
        """Remove our layers and callbacks from the viewer."""
        self._viewer.layers.events.removed.disconnect(self._forget_removed)
        for name in TRANSFORM:
            getattr(self.image.events, name).disconnect(self._follow_image)
        layers = (self.points, self.boxes, self.preview)
        self.points = self.boxes = self.preview = None
        for layer in filter(None, layers):
            self.keys.unbind(layer)  # napari may hold on to a removed layer, and it to the keys
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def _forget_removed(self, event: Any) -> None:
        """React to the user deleting one of our layers."""
        if event.value is self.preview:
            self.preview = None
            self._shown.clear()
        elif event.value is self.points:
            self.points = None
            self._report_edit()
        elif event.value is self.boxes:
            self.boxes = None
            self._report_edit()

    def _follow_image(self) -> None:
        """Keep our layers where the image is."""
        for layer in (self.points, self.boxes, self.preview):
            if layer is not None:
                copy_transform(self.image, layer)

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
        self._object_id = object_id
        with self._silence():
            write_layers(self.points, self.boxes, self.planes, object_id, prompts)

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

    def show_mask(self, index: Index, mask: BoolArray | None) -> None:
        """Show a candidate's mask on a plane, or none."""
        former = self._shown.pop(index, None)
        if self.preview is None:
            if mask is None:
                return
            self.ensure_layers()
        assert self.preview is not None
        if former is not None:
            self.preview.data[self.planes.region(index, *former)] = 0
        extent = None if mask is None else mask_region(mask)
        if mask is not None and extent is not None:
            self.preview.data[self.planes.region(index, *extent)] = mask[extent]
            self._shown[index] = extent
        is_empty = not self._shown  # the thumbnail costs too much while masks come and go
        self.preview.refresh(thumbnail=is_empty, highlight=False, extent=False)

    def clear_preview(self) -> None:
        """Remove the masks from all planes."""
        for index in list(self._shown):
            self.show_mask(index, None)


# between layers and values


def read_layers(
    points: Points | None,
    boxes: Shapes | None,
    to_image: Callable[[Layer, npt.NDArray[Any]], npt.NDArray[np.floating]],
    planes: PlaneAxes,
    object_id: int,
) -> dict[Index, PlanePrompts]:
    """Read one object's prompts from the prompt layers.

    Parameters
    ----------
    points, boxes : Points, Shapes or None
        The prompt layers.
    to_image : callable
        Maps (layer, its positions (P, ndim)) to image pixels (P, ndim).
    planes : PlaneAxes
        Of the image.
    object_id : int
        Prompts of other objects are left out.

    Returns
    -------
    dict of Index to PlanePrompts
        By plane, planes outside the image left out; clicks in the layer's order.
    """
    clicks: dict[Index, list[tuple[Any, int, int | None]]] = {}
    regions: dict[Index, tuple[list[Any], list[Any]]] = {}
    if points is not None and len(points.data):
        indices, positions = planes.split(to_image(points, np.asarray(points.data)))
        for i in np.flatnonzero(_belongs(points, object_id)):
            row = points.features.iloc[i]
            label = int(row["label"] != NEGATIVE)
            refined = None if int(row["refines"]) == OFFERED else int(row["refines"])
            clicks.setdefault(indices[i], []).append((positions[i], label, refined))
    if boxes is not None and len(boxes.data):
        for i in np.flatnonzero(_belongs(boxes, object_id)):
            indices, corners = planes.split(to_image(boxes, np.asarray(boxes.data[i])))
            rectangles, outlines = regions.setdefault(indices[0], ([], []))
            if boxes.shape_type[i] == "rectangle":
                rectangles.append([*corners.min(axis=0), *corners.max(axis=0)])
            elif boxes.shape_type[i] == "ellipse":
                outlines.append(ellipse_to_polygon(corners))
            elif boxes.shape_type[i] == "polygon":
                outlines.append(corners)
    return {
        index: PlanePrompts(
            [position for position, _, _ in clicks.get(index, [])],
            [label for _, label, _ in clicks.get(index, [])],
            regions.get(index, ([], []))[0],
            tuple(regions.get(index, ([], []))[1]),
            tuple(refined for _, _, refined in clicks.get(index, [])),
        )
        for index in {**clicks, **regions}
        if planes.contains(index)
    }


def _belongs(layer: Points | Shapes, object_id: int) -> npt.NDArray[np.bool_]:
    return np.asarray(layer.features["object_id"].astype(int) == object_id)


def write_layers(
    points: Points | None,
    boxes: Shapes | None,
    planes: PlaneAxes,
    object_id: int,
    prompts: Mapping[Index, PlanePrompts],
) -> None:
    """Show one object's prompts on the prompt layers instead of the ones there."""
    if points is not None:
        _write_points(points, planes, object_id, prompts)
    if boxes is not None:
        _write_boxes(boxes, planes, object_id, prompts)


def _write_points(
    layer: Points, planes: PlaneAxes, object_id: int, prompts: Mapping[Index, PlanePrompts]
) -> None:
    positions = [planes.join(index, plane.points_yx) for index, plane in prompts.items()]
    labels = [n for plane in prompts.values() for n in plane.point_labels]
    refines = [n for plane in prompts.values() for n in plane.refines]
    sign = next_click(layer)
    layer.selected_data = set()
    layer.data = np.concatenate([np.empty((0, len(planes.shape))), *positions])
    layer.features = {
        "label": np.array([POSITIVE if n == FOREGROUND else NEGATIVE for n in labels], object),
        "object_id": np.full(len(labels), object_id),
        "refines": np.array([OFFERED if n is None else n for n in refines], int),
    }
    layer.feature_defaults = {"label": sign, "object_id": object_id, "refines": OFFERED}
    show_signs(layer)
    set_next_click(layer, sign)


def _write_boxes(
    layer: Shapes, planes: PlaneAxes, object_id: int, prompts: Mapping[Index, PlanePrompts]
) -> None:
    layer.selected_data = set()
    layer.data = []
    layer.features = {"object_id": np.array([], int)}  # napari keeps old ones
    set_default_features(layer, object_id=object_id)
    for index, plane in prompts.items():
        for top, left, bottom, right in plane.boxes_yxyx:
            corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]])
            _add_shape(layer, planes.join(index, corners), "rectangle")
        for polygon in plane.polygons_yx:
            _add_shape(layer, planes.join(index, polygon), "polygon")


def _add_shape(layer: Shapes, vertices: npt.NDArray[np.floating], kind: str) -> None:
    layer.add(vertices, shape_type=kind)
