"""Gaps: the slices of an object to fill, and the prompted slices around them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from napari_promptable.errors import PromptError
from napari_promptable.propagation.settings import (
    DEFAULT_SETTINGS,
    Direction,
    PropagationSettings,
)


@dataclass(frozen=True)
class Gap:
    """Slices of one object between two anchors, or beyond an outer one.

    Attributes
    ----------
    object_id : int
        The object.
    before, after : int or None
        The anchors around it; None if there is none on this side.
    slices : range
        The slices to fill, in ascending order.
    """

    object_id: int
    before: int | None
    after: int | None
    slices: range

    def share_of_after(self, position: int) -> float:
        """Weight of the later anchor on a slice: 1 there, 0 at the earlier anchor."""
        assert self.before is not None and self.after is not None
        return (position - self.before) / (self.after - self.before)


def find_gaps(
    anchors: Mapping[int, Collection[int]],
    length: int,
    settings: PropagationSettings = DEFAULT_SETTINGS,
    changed: Mapping[int, Collection[int]] | None = None,
) -> list[Gap]:
    """Find the gaps to fill.

    Parameters
    ----------
    anchors : dict of int to collection of int
        Prompted slices by object id.
    length : int
        Number of slices.
    settings : PropagationSettings, optional
        Range and direction.
    changed : dict of int to collection of int, optional
        Slices by object id whose anchor came, changed or went. Only gaps that depend on one of
        them are returned; by default, all are.

    Returns
    -------
    list of Gap
        Gaps with at least one slice.

    Raises
    ------
    PromptError
        If the range lies outside the volume.
    """
    slices = slices_in_range(length, settings)
    if settings.max_overlap < 1:
        changed = None  # each object may depend on all others
    gaps = []
    for object_id, positions in anchors.items():
        inner = sorted(position for position in positions if position in slices)
        for gap in _gaps_of(object_id, inner, slices, settings):
            low = slices.start if gap.before is None else gap.before
            high = slices.stop if gap.after is None else gap.after
            touched = () if changed is None else changed.get(object_id, ())
            if changed is None or any(low <= position <= high for position in touched):
                gaps.append(gap)
    return gaps


def _gaps_of(
    object_id: int, anchors: Sequence[int], slices: range, settings: PropagationSettings
) -> Iterator[Gap]:
    """Gaps of one object that its direction reaches."""
    if not anchors:
        return
    for before, after in zip([None, *anchors], [*anchors, None], strict=True):
        if before is None and settings.direction == Direction.FORWARD:
            continue
        if after is None and settings.direction == Direction.BACKWARD:
            continue
        start = slices.start if before is None else before + 1
        stop = slices.stop if after is None else after
        if start < stop:
            yield Gap(object_id, before, after, range(start, stop))


def slices_in_range(length: int, settings: PropagationSettings) -> range:
    """Slices that propagation may fill. Raises PromptError for ranges outside the volume."""
    first = 0 if settings.first is None else settings.first
    last = length - 1 if settings.last is None else settings.last
    if not 0 <= first <= last < length:
        raise PromptError(
            f"slices {first} to {last} were asked for; the volume has slices 0 to {length - 1}"
        )
    return range(first, last + 1)
