"""What a propagation found, turned into masks that an annotation job writes."""

from __future__ import annotations

from collections.abc import Mapping

from napari_promptable.annotation.history import Key, Origin
from napari_promptable.annotation.labels import SliceMask
from napari_promptable.planes import Index, SliceLine
from napari_promptable.prompts import PlanePrompts
from napari_promptable.propagation.volume import VolumeMasks


def prompts_on(
    line: SliceLine, prompts: Mapping[Index, PlanePrompts]
) -> dict[int, PlanePrompts]:
    """Map slices of a line to their prompts, if these say where an object is."""
    return {
        position: asked
        for index, asked in prompts.items()
        if asked.is_answerable and (position := line.position_of(index)) is not None
    }


def to_slice_masks(masks: VolumeMasks, line: SliceLine) -> dict[Key, SliceMask]:
    """Turn what was found into what is written: on each slice, the most confident first."""
    return {
        (value.object_id, line.at(value.position)): SliceMask(
            value.packed.unpack,
            Origin.PROMPTS if value.is_anchor else Origin.PROPAGATED,
            value.confidence,
            str(value.stop or ""),
        )
        for position in masks.positions
        for value in reversed(masks.ranked(position))
    }
