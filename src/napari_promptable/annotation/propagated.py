"""Propagated masks as objects on slices, which an annotation job writes."""

from __future__ import annotations

from collections.abc import Mapping

from napari_promptable.annotation.records import Key, ObjectOnSlice, Origin
from napari_promptable.planes import Index, SliceLine
from napari_promptable.prompts import PlanePrompts
from napari_promptable.propagation.chains import PropagatedMask
from napari_promptable.propagation.volume import VolumeMasks


def prompts_on(
    line: SliceLine, prompts: Mapping[Index, PlanePrompts]
) -> dict[int, PlanePrompts]:
    """Map slices of a line to their prompts, also where these say that an object is absent."""
    return {
        position: asked
        for index, asked in prompts.items()
        if not asked.is_empty and (position := line.position_of(index)) is not None
    }


def to_object_on_slice(value: PropagatedMask) -> ObjectOnSlice:
    """Describe a propagated mask as an annotation job does."""
    return ObjectOnSlice.of_mask(
        value.packed,
        Origin.PROMPTS if value.is_anchor else Origin.PROPAGATED,
        value.confidence,
        str(value.stop or ""),
    )


def to_objects(masks: VolumeMasks, line: SliceLine) -> dict[Key, ObjectOnSlice]:
    """Describe all propagated masks in the order of writing: the most confident first."""
    return {
        (value.object_id, line.at(value.position)): to_object_on_slice(value)
        for position in masks.positions
        for value in reversed(masks.ranked(position))
    }
