"""What a change of the labels changed: pixels, records, and what others kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from napari_promptable.annotation.patches import LabelPatch
from napari_promptable.annotation.records import Records

_MOSTLY = 0.9


@dataclass(frozen=True, eq=False)
class Written:
    """What one call of `ObjectLabels` changed.

    Attributes
    ----------
    patches : tuple of LabelPatch
        The pixels.
    num_pixels, num_slices : int
        How many pixels and slices that are, see `count_changes`.
    records_before, records_after : dict of (object id, Index) to ObjectOnSlice or None
        Records of the objects.
    num_asked : int
        Pixels of the masks that were to be written.
    covered : Counter of int
        Pixels of these masks that other objects kept, by the others' ids.
    """

    patches: tuple[LabelPatch, ...]
    num_pixels: int
    num_slices: int
    records_before: Records
    records_after: Records
    num_asked: int = 0
    covered: Counter[int] = field(default_factory=Counter)


def is_mostly(part: int, whole: int) -> bool:
    """Whether a part is nine tenths of a whole or more, but never for no pixels."""
    return part > 0 and part >= _MOSTLY * whole
