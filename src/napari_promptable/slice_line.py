"""The planes of an n-D image along one axis, and what a propagation found on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from napari_promptable.history import Key, Origin
from napari_promptable.object_labels import SliceMask
from napari_promptable.planes import Index, PlaneAxes
from napari_promptable.prompts import PlanePrompts
from napari_promptable.volumes import VolumeMasks


@dataclass(frozen=True)
class SliceLine:
    """Planes of an image along one axis.

    Attributes
    ----------
    place : int
        Which of the axes that are not in the planes is gone along.
    index : Index
        Any of the planes.
    length : int
        How many there are.

    Examples
    --------
    >>> line = SliceLine(place=1, index=(4, 0), length=30)
    >>> line.at(7), line.position_of((4, 9)), line.position_of((5, 9))
    ((4, 7), 9, None)
    """

    place: int
    index: Index
    length: int

    @classmethod
    def through(cls, planes: PlaneAxes, place: int, index: Index) -> SliceLine:
        """Line through a plane; equal for all planes on it."""
        line = cls(place, index, planes.shape[planes.other_axes[place]])
        return replace(line, index=line.at(0))

    @property
    def others(self) -> Index:
        """Position on the axes that are not gone along."""
        return (*self.index[: self.place], *self.index[self.place + 1 :])

    def at(self, position: int) -> Index:
        """Index of a slice."""
        return (*self.index[: self.place], position, *self.index[self.place + 1 :])

    def position_of(self, index: Index) -> int | None:
        """Which slice a plane is; None if it is on another line."""
        return index[self.place] if self.at(index[self.place]) == index else None

    def prompts_on(self, prompts: Mapping[Index, PlanePrompts]) -> dict[int, PlanePrompts]:
        """Prompts by slice, of the planes on this line that say where an object is."""
        return {
            position: asked
            for index, asked in prompts.items()
            if asked.is_answerable and (position := self.position_of(index)) is not None
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


def to_ranges(positions: Iterable[int]) -> list[list[int]]:
    """Write positions as first and last of each run, such as [[3, 7], [9, 9]]."""
    ranges: list[list[int]] = []
    for position in sorted(positions):
        if ranges and position == ranges[-1][1] + 1:
            ranges[-1][1] = position
        else:
            ranges.append([position, position])
    return ranges


def from_ranges(ranges: Iterable[Sequence[int]]) -> set[int]:
    """Undo `to_ranges`."""
    return {position for first, last in ranges for position in range(first, last + 1)}
