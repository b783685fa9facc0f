"""Objects as they are in a labels array: what is known of them, and what changes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from psygnal import Signal
from scipy import ndimage

from napari_promptable.annotation.history import (
    Change,
    History,
    Key,
    Origin,
    Records,
    SliceRecord,
    Verb,
)
from napari_promptable.annotation.patches import (
    Extent,
    LabelPatch,
    LabelsArray,
    OverlapPolicy,
    apply_all,
    check_id,
    join_extents,
    plan_commit,
    plan_relabel,
    revert_all,
)
from napari_promptable.errors import LabelError
from napari_promptable.masks import BoolArray, mask_region
from napari_promptable.planes import Index, PlaneAxes


@dataclass(frozen=True, eq=False)
class SliceMask:
    """A mask to be written on one plane.

    Attributes
    ----------
    pixels : ndarray of bool, shape (H, W), or callable
        The mask, or what draws it.
    origin : Origin
        Where it comes from.
    confidence : float
        0 to 1; NaN where nothing is known.
    stop : str
        Why a propagation ended here; empty where it did not.
    """

    pixels: BoolArray | Callable[[], BoolArray]
    origin: Origin = Origin.PROMPTS
    confidence: float = float("nan")
    stop: str = ""

    def draw(self) -> BoolArray:
        """Mask in image pixels, (H, W)."""
        return self.pixels() if callable(self.pixels) else self.pixels


class ObjectLabels:
    """Writes objects into a labels array, keeps record of them, and takes it all back.

    Parameters
    ----------
    planes : PlaneAxes
        How the labels are cut into planes.
    labels : LabelsArray
        Where objects are written to, of shape ``planes.shape``.

    Attributes
    ----------
    policy : OverlapPolicy
        What happens where a new object meets others.
    history : History
        What was done.
    labels_changed : psygnal.Signal
        Emits (patches) when labels were written.
    records_changed : psygnal.Signal
        Emits (ids) of the objects of which something else is known.
    history_changed : psygnal.Signal
        Emits when what undo and redo would do has changed.
    """

    labels_changed = Signal(tuple)
    records_changed = Signal(frozenset)
    history_changed = Signal()

    def __init__(self, planes: PlaneAxes, labels: LabelsArray) -> None:
        self.planes = planes
        self.labels = labels
        self.policy = OverlapPolicy.KEEP
        self.history = History()
        self._records: dict[int, dict[Index, SliceRecord]] = {}

    # what is known

    @property
    def object_ids(self) -> list[int]:
        """Ids of the objects that have pixels, in order."""
        return sorted(self._records)

    def records_of(self, object_id: int) -> Mapping[Index, SliceRecord]:
        """What is known of an object, by the planes on which it has pixels."""
        return self._records.get(object_id, {})

    def records_on(self, index: Index) -> dict[int, SliceRecord]:
        """What is known of the objects on a plane, by id."""
        return {i: planes[index] for i, planes in self._records.items() if index in planes}

    def note_plane(self, index: Index, extents: Mapping[int, Extent]) -> bool:
        """Take note of what is on a plane, whoever put it there.

        Parameters
        ----------
        index : Index
            Which plane.
        extents : dict of int to (slice, slice)
            Rows and columns of each object on it.

        Returns
        -------
        bool
            Whether that was news.
        """
        former = self.records_on(index)
        found = {
            i: replace(former.get(i, SliceRecord(None, Origin.FOUND)), extent=extent)
            for i, extent in extents.items()
        }
        changed = [i for i in {**former, **found} if former.get(i) != found.get(i)]
        self.set_records({(i, index): found.get(i) for i in changed})
        return bool(changed)

    def set_records(self, records: Records) -> None:
        """Take over what is known of objects on planes."""
        for (object_id, index), record in records.items():
            planes = self._records.setdefault(object_id, {})
            if record is None or record.extent is None:
                planes.pop(index, None)
            else:
                planes[index] = record
            if not planes:
                del self._records[object_id]
        if records:
            self.records_changed.emit(frozenset(object_id for object_id, _ in records))

    # what changes labels

    def write(
        self, masks: Mapping[Key, SliceMask], verb: Verb = Verb.COMMIT, **about: Any
    ) -> Change:
        """Write masks, in their order; an object's former pixels on these planes go.

        Parameters
        ----------
        masks : dict of (object id, Index) to SliceMask
            What to write.
        verb : Verb, default COMMIT
            What the history calls it.
        **about
            Further attributes of the `Change`.

        Returns
        -------
        Change
            What was done.

        Raises
        ------
        LabelError
            If an id does not fit the labels; nothing is written.
        """
        for object_id, _ in masks:
            check_id(object_id, self.labels.dtype)
        after: dict[Key, SliceRecord | None] = {}
        with self._all_or_nothing() as patches:
            for (object_id, index), mask in masks.items():
                pixels = mask.draw()
                former = self._extent(object_id, index)
                patch = plan_commit(
                    self.labels, self.planes, index, pixels, object_id, self.policy, former
                )
                self._apply(patch, patches)
                extent = mask_region(pixels)
                if self.policy is OverlapPolicy.ADD:
                    extent = join_extents(extent, former)
                after[object_id, index] = SliceRecord(
                    extent, mask.origin, mask.confidence, mask.stop
                )
        ids = tuple(dict.fromkeys(object_id for object_id, _ in masks))
        return self._finish(verb, ids, patches, after, **about)

    def delete(self, object_ids: Sequence[int], **about: Any) -> Change:
        """Make objects background."""
        return self._relabel(Verb.DELETE, object_ids, 0, **about)

    def merge(self, object_ids: Sequence[int], into: int, **about: Any) -> Change:
        """Give objects the id of one of them."""
        others = [object_id for object_id in object_ids if object_id != into]
        return self._relabel(Verb.MERGE, others, into, **about)

    def relabel(self, object_id: int, new_id: int, **about: Any) -> Change:
        """Give an object an id that is free; LabelError if it is not."""
        if new_id == object_id or new_id in self.object_ids:
            raise LabelError(
                f"id {new_id} is in use; choose a free one, or merge the two objects"
            )
        return self._relabel(Verb.RELABEL, [object_id], new_id, **about)

    def _relabel(
        self, verb: Verb, object_ids: Sequence[int], new_id: int, **about: Any
    ) -> Change:
        """Give all pixels of some objects another id, or none (0)."""
        if new_id:
            check_id(new_id, self.labels.dtype)
        after: dict[Key, SliceRecord | None] = {}
        with self._all_or_nothing() as patches:
            for object_id in object_ids:
                for index, record in sorted(self.records_of(object_id).items()):
                    assert record.extent is not None  # others are not kept
                    region = self.planes.region(index, *record.extent)
                    patch = plan_relabel(self.labels, region, object_id, new_id)
                    self._apply(patch, patches)
                    after[object_id, index] = None
                    if new_id:
                        after[new_id, index] = self._joined(record, (new_id, index), after)
        ids = tuple(dict.fromkeys([*([new_id] if new_id else []), *object_ids]))
        return self._finish(verb, ids, patches, after, **about)

    def _joined(
        self, record: SliceRecord, key: Key, after: Mapping[Key, SliceRecord | None]
    ) -> SliceRecord:
        """What is known of two objects on a plane that become one."""
        other = after.get(key) or self._record(*key)
        if other is None:
            return record
        extent = join_extents(record.extent, other.extent)
        confidence = min(record.confidence, other.confidence)
        return replace(other, extent=extent, confidence=confidence)

    def _extent(self, object_id: int, index: Index) -> Extent | None:
        record = self._record(object_id, index)
        return None if record is None else record.extent

    def _record(self, object_id: int, index: Index) -> SliceRecord | None:
        return self.records_of(object_id).get(index)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[list[LabelPatch]]:
        """Give a list of the patches that were written; take them back if one fails."""
        patches: list[LabelPatch] = []
        try:
            yield patches
        except BaseException:
            revert_all(self.labels, patches)
            raise

    def _apply(self, patch: LabelPatch | None, patches: list[LabelPatch]) -> None:
        """Write a patch and take note of it."""
        if patch is not None:
            patches.append(patch)
            patch.apply(self.labels)

    def _finish(
        self,
        verb: Verb,
        object_ids: tuple[int, ...],
        patches: Iterable[LabelPatch],
        after: Records,
        **about: Any,
    ) -> Change:
        """Take note of what was done."""
        before = {key: self._record(*key) for key in after}
        change = Change(verb, object_ids, tuple(patches), before, after, **about)
        self.history.add(change)
        self._report(change, after)
        return change

    # undo and redo

    def undo(self) -> Change | None:
        """Take the last change back; None if there is none."""
        change = self.history.step_back()
        if change is not None:
            revert_all(self.labels, change.patches)
            self._report(change, change.records_before)
        return change

    def redo(self) -> Change | None:
        """Do the change again that was taken back last; None if there is none."""
        change = self.history.step_forward()
        if change is not None:
            apply_all(self.labels, change.patches)
            self._report(change, change.records_after)
        return change

    def _report(self, change: Change, records: Records) -> None:
        self.labels_changed.emit(change.patches)
        self.set_records(records)
        self.history_changed.emit()


def find_extents(plane: Any) -> dict[int, Extent]:
    """Find the rows and columns of each object on a plane.

    Parameters
    ----------
    plane : array_like of int, shape (H, W)
        Labels; 0 is background.

    Returns
    -------
    dict of int to (slice, slice)
        By id.
    """
    ids, numbers = np.unique(np.asarray(plane), return_inverse=True)
    places = ndimage.find_objects(numbers.reshape(np.shape(plane)) + 1)
    return {
        int(object_id): place
        for object_id, place in zip(ids.tolist(), places, strict=True)
        if object_id > 0
    }
