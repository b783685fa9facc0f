"""Prompts as they lie on the prompt layers, and as values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Layer, Points, Shapes

from napari_promptable.gui.layers.adapters import (
    NEGATIVE,
    OFFERED,
    POSITIVE,
    STROKES,
    are_negative,
    next_click,
    next_feature,
    refined_candidates,
    set_default_features,
    set_next_box,
    set_next_click,
    set_next_stroke,
    show_signs,
)
from napari_promptable.gui.layers.tools import BOX_MODES, SCRIBBLE
from napari_promptable.masks import ellipse_to_polygon
from napari_promptable.planes import Index, PlaneAxes
from napari_promptable.prompts import FOREGROUND, PlanePrompts

_LEVEL_PX = 0.5


def read_layers(
    points: Points | None,
    boxes: Shapes | None,
    to_image: Callable[[Layer, npt.NDArray[Any]], npt.NDArray[np.floating]],
    planes: PlaneAxes,
) -> dict[Index, PlanePrompts]:
    """Read the prompts of the object that the prompt layers show.

    Parameters
    ----------
    points, boxes : Points, Shapes or None
        The prompt layers.
    to_image : callable
        Maps (layer, its positions (P, ndim)) to image pixels (P, ndim).
    planes : PlaneAxes
        Of the image.

    Returns
    -------
    dict of Index to PlanePrompts
        By plane, shapes and planes outside the image left out; clicks in the layer's order.
    """
    clicks: dict[Index, list[tuple[Any, int, int | None]]] = {}
    regions: dict[Index, tuple[list[Any], list[Any]]] = {}
    strokes: dict[Index, tuple[list[Any], list[int]]] = {}
    if points is not None and len(points.data):
        indices, positions = planes.split(to_image(points, np.asarray(points.data)))
        labels, refined = ~are_negative(points), refined_candidates(points)
        for i, position in enumerate(positions):
            click = position, int(labels[i]), refined[i]
            clicks.setdefault(indices[i], []).append(click)
    if boxes is not None and len(boxes.data):
        signed = ~are_negative(boxes)
        for i, (vertices, kind) in enumerate(zip(boxes.data, boxes.shape_type, strict=True)):
            indices, corners = planes.split(to_image(boxes, np.asarray(vertices)))
            if not meets_plane(corners, planes):
                continue
            if kind in STROKES:
                paths, signs = strokes.setdefault(indices[0], ([], []))
                paths.append(corners)
                signs.append(int(signed[i]))
                continue
            rectangles, outlines = regions.setdefault(indices[0], ([], []))
            boxed, outlined = read_region(str(kind), corners)
            rectangles.extend(boxed)
            outlines.extend(outlined)
    return {
        index: PlanePrompts(
            [position for position, _, _ in clicks.get(index, [])],
            [label for _, label, _ in clicks.get(index, [])],
            regions.get(index, ([], []))[0],
            tuple(regions.get(index, ([], []))[1]),
            tuple(refined for _, _, refined in clicks.get(index, [])),
            strokes_yx=strokes.get(index, ([], []))[0],
            stroke_labels=strokes.get(index, ([], []))[1],
        )
        for index in {**clicks, **regions, **strokes}
        if planes.contains(index)
    }


def read_region(
    kind: str, vertices_yx: npt.NDArray[np.floating]
) -> tuple[list[list[float]], list[npt.NDArray[np.floating]]]:
    """Read a shape as a box or an outline.

    Parameters
    ----------
    kind : str
        napari's name of its kind.
    vertices_yx : ndarray of float, shape (V, 2)
        Its vertices on the plane, in pixels.

    Returns
    -------
    boxes_yxyx : list of list of float
        One box for an upright rectangle.
    outlines_yx : list of ndarray of float, shape (V, 2)
        One outline for a turned rectangle, an ellipse or a polygon. Lines and paths give
        neither.
    """
    if kind == "rectangle" and _is_upright(vertices_yx):
        return [[*vertices_yx.min(axis=0), *vertices_yx.max(axis=0)]], []
    if kind == "ellipse":
        return [], [ellipse_to_polygon(vertices_yx)]
    return [], [vertices_yx] if kind in ("polygon", "rectangle") else []


def _is_upright(corners: npt.NDArray[np.floating]) -> bool:
    """Whether the sides of a rectangle lie along the axes, to half a pixel."""
    sides = np.abs(np.diff(corners, axis=0, append=corners[:1]))
    return bool((sides.min(axis=1) < _LEVEL_PX).all())


def meets_plane(corners_yx: npt.NDArray[np.floating], planes: PlaneAxes) -> bool:
    """Whether the bounding box of a shape holds any pixel of the plane."""
    first, last = np.rint(corners_yx.min(axis=0)), np.rint(corners_yx.max(axis=0))
    return bool((last >= 0).all() and (first < planes.plane_shape).all())


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
    none = {"object_id": np.array([], int), "label": np.array([], object)}
    is_negative = next_feature(layer, "label") == NEGATIVE
    layer.features = none  # napari keeps old ones
    set_default_features(layer, object_id=object_id)
    for index, plane in prompts.items():
        for top, left, bottom, right in plane.boxes_yxyx:
            corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]])
            _add_shape(layer, planes.join(index, corners), "rectangle")
        for polygon in plane.polygons_yx:
            _add_shape(layer, planes.join(index, polygon), "polygon")
        for stroke, label in zip(plane.strokes_yx, plane.stroke_labels, strict=True):
            set_next_stroke(layer, POSITIVE if label == FOREGROUND else NEGATIVE)
            _add_shape(layer, planes.join(index, stroke), "path")
    set_next_stroke(layer, NEGATIVE if is_negative else POSITIVE)
    if layer.mode != BOX_MODES[SCRIBBLE]:
        set_next_box(layer)


def _add_shape(layer: Shapes, vertices: npt.NDArray[np.floating], kind: str) -> None:
    layer.add(vertices, shape_type=kind)
