"""Prompts of a plane in the pixels of a field of view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from napari_promptable.fields import Field, draw_in
from napari_promptable.masks import PackedMask
from napari_promptable.prompts import PlanePrompts


def in_field(prompts: PlanePrompts) -> PlanePrompts:
    """Return prompts in pixels of their field, or themselves if they have none."""
    if prompts.field is None:
        return prompts
    move, size = prompts.field.to_field, prompts.expected_size
    if size is not None:
        size = replace(size, diameter=size.diameter / prompts.field.step)
    return replace(
        prompts,
        expected_size=size,
        points_yx=move(prompts.points_yx),
        boxes_yxyx=move(prompts.boxes_yxyx.reshape(-1, 2, 2)).reshape(-1, 4),
        polygons_yx=tuple(map(move, prompts.polygons_yx)),
        strokes_yx=tuple(map(move, prompts.strokes_yx)),
    )


def extent_of(prompts: PlanePrompts) -> npt.NDArray[np.floating] | None:
    """Find the box (top, left, bottom, right) around prompts, or None without positions."""
    boxes = list(prompts.boxes_yxyx.reshape(-1, 2, 2))
    groups = [prompts.points_yx, *boxes, *prompts.polygons_yx, *prompts.strokes_yx]
    positions = np.concatenate(groups)
    if len(positions) == 0:
        return None
    return np.concatenate([positions.min(axis=0), positions.max(axis=0)])


def with_field(
    prompts: PlanePrompts, field: Field | None, plane_shape: tuple[int, int]
) -> PlanePrompts:
    """Return the same prompts for another field, with their mask taken there.

    Parameters
    ----------
    prompts : PlanePrompts
        Positions in pixels of the plane.
    field : Field or None
        None is the whole plane.
    plane_shape : (int, int)
        Height and width of the plane.

    Returns
    -------
    PlanePrompts
        Without the mask if none of it lies in the field.
    """
    mask = prompts.mask
    if prompts.field == field or mask is None:
        return replace(prompts, field=field)
    if prompts.field is None:
        placed = PackedMask.pack(mask)
    else:
        placed = prompts.field.place(mask, plane_shape)
    moved = draw_in(placed, field)
    return replace(prompts, field=field, mask=moved if moved.any() else None)
