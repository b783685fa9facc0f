"""Prompts in the user's own layers: spots, seeds, boxes. The layers are never changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import Dims
from napari.layers import Image, Layer, Points, Shapes

from napari_promptable.annotation.prompt_groups import SinglePrompt
from napari_promptable.gui.layers.adapters import NEGATIVE
from napari_promptable.gui.layers.prompt_values import read_region
from napari_promptable.planes import PlaneAxes
from napari_promptable.prompts import BACKGROUND, FOREGROUND, PlanePrompts

_NEGATIVES = {NEGATIVE, "neg", "0", "0.0", "false", "background", "-"}


def read_foreign(
    layer: Points | Shapes, image: Image, planes: PlaneAxes, dims: Dims
) -> list[SinglePrompt]:
    """Read a layer's points or shapes as prompts on an image.

    Parameters
    ----------
    layer : Points or Shapes
        Placed by its own transform. It may have fewer axes than the image; then it lies on the
        slice in view.
    image : Image
        The image.
    planes : PlaneAxes
        Its planes.
    dims : Dims
        Of the viewer.

    Returns
    -------
    list of SinglePrompt
        In the layer's order, without those outside the image, and without lines and paths.
    """
    values = _point_prompts if isinstance(layer, Points) else _shape_prompts
    found = []
    for number, (positions, make) in enumerate(values(layer)):
        indices, positions_yx = planes.split(_to_image(layer, positions, image, dims))
        prompts = make(positions_yx) if planes.contains(indices[0]) else None
        if prompts is not None and _is_inside(positions_yx, planes):
            found.append(SinglePrompt(_object_id(layer, number), indices[0], prompts, number))
    return found


def _point_prompts(layer: Points) -> Iterator[tuple[npt.NDArray[Any], Any]]:
    for number, position in enumerate(np.asarray(layer.data)):
        sign = BACKGROUND if _is_negative(layer, number) else FOREGROUND
        yield position[None], lambda yx, sign=sign: PlanePrompts(yx, [sign])


def _shape_prompts(layer: Shapes) -> Iterator[tuple[npt.NDArray[Any], Any]]:
    for kind, vertices in zip(layer.shape_type, layer.data, strict=True):
        yield np.asarray(vertices), lambda yx, kind=str(kind): _region_prompts(kind, yx)


def _region_prompts(kind: str, vertices_yx: npt.NDArray[np.floating]) -> PlanePrompts | None:
    boxes, outlines = read_region(kind, vertices_yx)
    if not boxes and not outlines:
        return None
    return PlanePrompts(boxes_yxyx=boxes, polygons_yx=tuple(outlines))


def _is_negative(layer: Points, number: int) -> bool:
    if "label" not in layer.features:
        return False
    return str(layer.features["label"].iloc[number]).strip().lower() in _NEGATIVES


def _object_id(layer: Layer, number: int) -> int | None:
    if "object_id" not in layer.features:
        return None
    try:
        object_id = int(layer.features["object_id"].iloc[number])
    except (TypeError, ValueError):  # NaN, None or text
        return None
    return object_id if object_id > 0 else None


def _to_image(
    layer: Layer, positions: npt.NDArray[Any], image: Image, dims: Dims
) -> npt.NDArray[np.floating[Any]]:
    """Turn positions on a layer into image pixels, through world coordinates."""
    missing = tuple(dims.point)[dims.ndim - image.ndim : dims.ndim - layer.ndim]
    worlds = (np.asarray(layer.data_to_world(position)) for position in positions)
    return np.array(
        [image.world_to_data((*missing, *world)[-image.ndim :]) for world in worlds]
    )


def _is_inside(positions_yx: npt.NDArray[np.floating], planes: PlaneAxes) -> bool:
    """Whether a point, or the centre of a shape, is on the plane."""
    centre = np.rint((positions_yx.min(axis=0) + positions_yx.max(axis=0)) / 2)
    return bool(((centre >= 0) & (centre < planes.plane_shape)).all())
