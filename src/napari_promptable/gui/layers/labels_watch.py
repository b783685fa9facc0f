"""Finds the planes of a labels layer that changed, by comparing them with what they were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import xxhash
from napari.components import Dims
from napari.layers import Labels
from psygnal import Signal

from napari_promptable.annotation.patches import Extent, LabelsArray, find_extents
from napari_promptable.errors import LabelError
from napari_promptable.gui.layers.layer_labels import is_in_memory
from napari_promptable.planes import Index, PlaneAxes

Digests = dict[Index, int]

_SEEN: WeakKeyDictionary[Labels, dict[tuple[int, int], Digests]] = WeakKeyDictionary()
"""Digests by labels layer and plane axes, so that a reopened widget finds what changed."""


@dataclass(frozen=True)
class PlaneLook:
    """A plane whose pixels differ from the last look.

    Attributes
    ----------
    digest : int
        Of its pixels.
    extents : dict of int to (slice, slice)
        Rows and columns of each object on it, by id.
    """

    digest: int
    extents: Mapping[int, Extent]


@dataclass(frozen=True)
class Looks:
    """Planes that differ from the last look, and the error of planes that cannot be read."""

    planes: Mapping[Index, PlaneLook]
    error: LabelError | None = None


def look_at(
    labels: LabelsArray, planes: PlaneAxes, indices: Iterable[Index], seen: Mapping[Index, int]
) -> Looks:
    """Compare planes with the last look. Safe to call in a thread.

    Parameters
    ----------
    labels : LabelsArray
        Of shape ``planes.shape``.
    planes : PlaneAxes
        Its planes.
    indices : iterable of Index
        The planes to look at.
    seen : dict of Index to int
        Digests of the last look.

    Returns
    -------
    Looks
        The planes that differ.
    """
    found: dict[Index, PlaneLook] = {}
    error = None
    for index in indices:
        try:
            plane = np.ascontiguousarray(labels[planes.region(index)])
        except LabelError as failure:
            error = failure
            continue
        digest = xxhash.xxh3_64_intdigest(plane.data)
        if digest != seen.get(index):
            found[index] = PlaneLook(digest, find_extents(plane))
    return Looks(found, error)


class LabelsWatch:
    """Knows which planes of a labels layer to look at, and what they were at the last look.

    Whatever reports a change of labels in memory has all their planes compared: a brush in 3D,
    another plugin or new data reach planes that are not in view. Labels on disk are read once;
    later only planes in view are, because others would have to be read again.

    Parameters
    ----------
    layer : Labels
        The labels layer.
    planes : PlaneAxes
        Its planes.
    dims : Dims
        Of the viewer.
    is_new : bool
        Whether the layer is known to be empty.

    Attributes
    ----------
    due : psygnal.Signal
        Emitted when there are planes to look at.
    changed : psygnal.Signal
        Emits the index of a plane whose pixels were changed by something else than the session.
    visible : Index or None
        The plane in view.
    """

    due = Signal()
    changed = Signal(tuple)

    def __init__(self, layer: Labels, planes: PlaneAxes, dims: Dims, *, is_new: bool) -> None:
        self._layer, self._planes, self._dims = layer, planes, dims
        self.visible: Index | None = None
        self.seen: Digests = _SEEN.setdefault(layer, {}).setdefault(planes.axes, {})
        self._first: dict[Index, None] = {}
        self._rest: Iterator[Index] = iter(())
        self._num_rest = 0
        self._own: set[Index] = set()
        self._is_own_redraw = False
        self._view = self._view_now()
        if not is_new:
            self.look_everywhere()
        for event, callback in self._callbacks():
            event.connect(callback)

    def _callbacks(self) -> tuple[tuple[Any, Any], ...]:
        events = self._layer.events
        return (
            (events.data, self.look_everywhere),
            (events.paint, self._look_for_changes),
            (events.labels_update, self._look_here),  # at each step of a stroke
            (events.set_data, self._follow_redraw),  # by a refresh, or a change of the slice
        )

    def close(self) -> None:
        """Disconnect from the layer."""
        for event, callback in self._callbacks():
            event.disconnect(callback)

    # what to look at

    def _view_now(self) -> tuple[Any, ...]:
        return tuple(self._dims.point), tuple(self._dims.order), self._dims.ndisplay

    def look_everywhere(self, _event: Any = None) -> None:
        """Look at all planes, at the next ones first."""
        if self._layer.multiscale:  # napari edits no pyramids
            return
        self._own.clear()
        if not self._num_rest:
            self._rest = self._planes.indices()
        self._num_rest = prod(self._planes.shape[axis] for axis in self._planes.other_axes)
        self.due.emit()

    def _look_for_changes(self, _event: Any = None) -> None:
        self._look_here()
        if is_in_memory(self._layer):
            self.look_everywhere()

    def _look_here(self, _event: Any = None) -> None:
        if self.visible is not None:
            self._own.discard(self.visible)
            self._first[self.visible] = None
            self.due.emit()

    def _follow_redraw(self, _event: Any = None) -> None:
        view = self._view_now()
        if self._is_own_redraw:
            return
        if view == self._view:
            self._look_for_changes()
        else:
            self._view = view
            self._look_here()

    def redraw(self, indices: Iterable[Index]) -> None:
        """Redraw the layer after the session wrote to these planes."""
        self._is_own_redraw = True
        try:
            self._layer.refresh()
        finally:
            self._is_own_redraw = False
        written = dict.fromkeys(indices)
        self._own.update(written)
        self._first |= written
        self.due.emit()

    @property
    def num_unseen(self) -> int:
        """Number of planes to look at, without the ones to look at first."""
        return self._num_rest

    def take(self, count: int) -> list[Index]:
        """Return the planes to look at next, at most `count` of them."""
        taken: list[Index] = []
        if self._layer.multiscale:
            self._first.clear()
        while len(taken) < count and (self._first or self._num_rest):
            if self._first:
                index = next(iter(self._first))
                del self._first[index]
            else:
                self._num_rest -= 1
                index = self._next_of_rest()
            taken.append(index)
        return taken

    def _next_of_rest(self) -> Index:
        """Return the next plane. After the last one comes the first one."""
        for index in self._rest:
            return index
        self._rest = self._planes.indices()
        return next(self._rest)

    # what was found

    def accept(self, index: Index, look: PlaneLook) -> bool:
        """Note a plane that differs. Returns whether something else than the session did it."""
        is_first = index not in self.seen
        self.seen[index] = look.digest
        is_own = index in self._own
        self._own.discard(index)
        return not is_own and (not is_first or bool(look.extents))
