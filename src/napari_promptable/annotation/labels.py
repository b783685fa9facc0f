"""Objects in a labels array: writing, relabelling and reverting them, with their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from psygnal import Signal

from napari_promptable.annotation.history import Change
from napari_promptable.annotation.patches import (
    Extent,
    LabelPatch,
    LabelsArray,
    OverlapPolicy,
    PlacedIds,
    apply_all,
    check_id,
    count_changes,
    find_extents,
    join_extents,
    plan_commit,
    plan_relabel,
    revert_all,
    shift_extent,
)
from napari_promptable.annotation.records import (
    Key,
    ObjectOnSlice,
    ObjectRecords,
    Origin,
    Records,
)
from napari_promptable.annotation.write_order import order_writes
from napari_promptable.annotation.written import Written, is_mostly
from napari_promptable.fields import Field
from napari_promptable.masks import PackedMask, mask_region
from napari_promptable.planes import Index, PlaneAxes


class ObjectLabels:
    """Writes objects into a labels array and keeps their records in step.

    Parameters
    ----------
    planes : PlaneAxes
        How the labels are cut into planes.
    array : LabelsArray
        The labels, of shape ``planes.shape``.

    Attributes
    ----------
    policy : OverlapPolicy
        What happens where a new object meets others.
    records : ObjectRecords
        Facts about the objects in the array.
    changed : psygnal.Signal
        Emits the patches that were written.
    """

    changed = Signal(tuple)

    def __init__(self, planes: PlaneAxes, array: LabelsArray) -> None:
        self.planes = planes
        self.array = array
        self.policy = OverlapPolicy.KEEP
        self.records = ObjectRecords()

    def find(self, object_id: int, index: Index, field: Field | None = None) -> PackedMask:
        """Pixels of an object on a plane, or in a field of it only."""
        shape = self.planes.plane_shape
        extent = (slice(0, shape[0]), slice(0, shape[1])) if field is None else field.extent
        pixels = np.asarray(self.array[self.planes.region(index, *extent)])
        corner = extent[0].start, extent[1].start
        return PackedMask.pack_crop(pixels == object_id, corner, shape)

    def clip(self, object_id: int, index: Index, mask: PackedMask) -> PackedMask:
        """Leave of a mask the pixels that `write` would write."""
        return self._split(object_id, index, mask)[0]

    def _split(
        self, object_id: int, index: Index, mask: PackedMask
    ) -> tuple[PackedMask, Counter[int]]:
        """Split a mask into pixels to write and pixels that other objects keep.

        Where the others keep nine tenths or more, write nothing: the rest would be specks along
        their borders.

        Returns
        -------
        free : PackedMask
            The pixels to write.
        covered : Counter of int
            The pixels that others keep, by their ids.
        """
        if mask.region is None:
            return mask, Counter()
        pixels = np.asarray(self.array[self.planes.region(index, *mask.region)])
        part = mask.crop()
        part_free = part & self.policy.free_pixels(pixels, object_id)
        ids, counts = np.unique(pixels[part & ~part_free], return_counts=True)
        covered = Counter(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
        if is_mostly(covered.total(), mask.num_pixels):
            return PackedMask.empty(mask.shape), covered
        corner = mask.region[0].start, mask.region[1].start
        return PackedMask.pack_crop(part_free, corner, mask.shape), covered

    def write(
        self, objects: Mapping[Key, ObjectOnSlice], moved: Collection[Key] = ()
    ) -> Written:
        """Write masks. The objects' former pixels on these planes go.

        They are written in their order, but objects that change make way for each other. An
        object keeps its former pixels if others keep all of its mask, unless it was moved.

        Parameters
        ----------
        objects : dict of (object id, Index) to ObjectOnSlice
            With masks.
        moved : collection of (object id, Index), optional
            Objects that leave planes before any mask is written.

        Returns
        -------
        Written
            What changed.

        Raises
        ------
        LabelError
            If an id does not fit the labels; nothing is written.
        """
        for object_id, _ in objects:
            check_id(object_id, self.array.dtype)
        after: dict[Key, ObjectOnSlice | None] = {}
        num_asked, covered = 0, Counter[int]()
        with self._all_or_nothing() as patches:
            after |= {key: self._leave(*key, patches) for key in moved}
            for object_id, index in order_writes(self._find_blockers(objects)):
                found = objects[object_id, index]
                assert found.mask is not None
                num_asked += found.mask.num_pixels
                num_before = len(patches)
                free, kept = self._split(object_id, index, found.mask)
                covered += kept
                if kept and free.is_empty:
                    after.setdefault((object_id, index), self.records.get(object_id, index))
                    continue
                extent = self._write_one(object_id, index, free, patches)
                after[object_id, index] = replace(found, extent=extent, mask=None)
                for patch in patches[num_before:]:
                    after |= self._overwritten(object_id, index, patch, after)
        return self._finish(patches, after, num_asked, covered)

    def _find_blockers(self, objects: Mapping[Key, ObjectOnSlice]) -> dict[Key, list[Key]]:
        """Find the objects on whose former pixels each mask lies."""
        counts = Counter(index for _, index in objects)
        blockers: dict[Key, list[Key]] = {key: [] for key in objects}
        for (object_id, index), found in objects.items():
            if counts[index] > 1 and found.mask is not None:
                covered = self._split(object_id, index, found.mask)[1]
                blockers[object_id, index] = [(other, index) for other in covered]
        return blockers

    def _write_one(
        self, object_id: int, index: Index, mask: PackedMask, patches: list[LabelPatch]
    ) -> Extent | None:
        """Write one mask. Returns the extent of the object's pixels afterwards."""
        record = self.records.get(object_id, index)
        former = None if record is None else record.extent
        extent = join_extents(mask.region, former)
        if extent is None:
            return None
        patch = plan_commit(
            self.array, self.planes, index, mask, object_id, self.policy, former
        )
        if patch is None:
            after = np.asarray(self.array[self.planes.region(index, *extent)])
        else:
            after = patch.after
            self._apply(patch, patches)
        return shift_extent(mask_region(after == object_id), extent)

    def _leave(
        self, object_id: int, index: Index, patches: list[LabelPatch]
    ) -> ObjectOnSlice | None:
        """Remove an object from a plane. Returns its record afterwards."""
        nothing = PackedMask.empty(self.planes.plane_shape)
        extent = self._write_one(object_id, index, nothing, patches)
        record = self.records.get(object_id, index)
        return None if record is None else replace(record, extent=extent)

    def _overwritten(
        self, object_id: int, index: Index, patch: LabelPatch, after: Records
    ) -> dict[Key, ObjectOnSlice | None]:
        """Records of the other objects that lost pixels to an object."""
        lost = np.unique(patch.before[patch.before != patch.after]).tolist()
        records: dict[Key, ObjectOnSlice | None] = {}
        for other in set(lost) - {0, object_id}:
            record = after.get((other, index)) or self.records.get(other, index)
            if record is not None and record.extent is not None:
                region = self.planes.region(index, *record.extent)
                left = mask_region(np.asarray(self.array[region]) == other)
                records[other, index] = replace(
                    record, extent=shift_extent(left, record.extent)
                )
        return records

    def add(
        self,
        planes: Mapping[Index, PlacedIds],
        confidence: Mapping[Key, float],
    ) -> Written:
        """Write new objects where the labels are empty, whatever the policy.

        Parameters
        ----------
        planes : dict of Index to PlacedIds
            The new objects.
        confidence : dict of (object id, Index) to float
            Of each of them.

        Returns
        -------
        Written
            What changed.

        Raises
        ------
        LabelError
            If an id does not fit the labels; nothing is written.
        """
        for object_id, _ in confidence:
            check_id(object_id, self.array.dtype)
        after: dict[Key, ObjectOnSlice | None] = dict.fromkeys(confidence)
        num_asked = 0
        with self._all_or_nothing() as patches:
            for index, placed in planes.items():
                part = placed.trimmed()
                if part is None:
                    continue
                num_asked += int(np.count_nonzero(part.ids))
                region = self.planes.region(index, *part.extent)
                before = np.array(self.array[region])
                added = np.where(before == 0, part.ids, 0).astype(before.dtype)
                self._apply(LabelPatch(region, before, before + added), patches)
                for object_id, place in find_extents(added).items():
                    key = object_id, index
                    after[key] = ObjectOnSlice(
                        shift_extent(place, part.extent), Origin.AUTOMATIC, confidence[key]
                    )
        return self._finish(patches, after, num_asked)

    def relabel(self, object_ids: Iterable[int], new_id: int) -> Written:
        """Give all pixels of some objects another id, or make them background (0).

        Raises
        ------
        LabelError
            If the new id does not fit the labels; nothing is written.
        """
        if new_id:
            check_id(new_id, self.array.dtype)
        after: dict[Key, ObjectOnSlice | None] = {}
        is_merge = bool(self.records.of(new_id))
        with self._all_or_nothing() as patches:
            for object_id in object_ids:
                for index, record in sorted(self.records.of(object_id).items()):
                    assert record.extent is not None  # records without one are not kept
                    region = self.planes.region(index, *record.extent)
                    self._apply(plan_relabel(self.array, region, object_id, new_id), patches)
                    after[object_id, index] = None
                    if is_merge and record.is_anchor:  # the prompts do not come along
                        record = replace(record, origin=Origin.FOUND)
                    if new_id:
                        after[new_id, index] = self._joined(record, (new_id, index), after)
        return self._finish(patches, after)

    def _joined(self, record: ObjectOnSlice, key: Key, after: Records) -> ObjectOnSlice:
        """Record of two objects on a plane that become one."""
        other = after.get(key) or self.records.get(*key)
        if other is None:
            return record
        extent = join_extents(record.extent, other.extent)
        confidence = min(record.confidence, other.confidence)
        return replace(other, extent=extent, confidence=confidence)

    def apply(self, edits: Iterable[tuple[LabelPatch, Records]]) -> Written:
        """Make planned changes, given with the records that then hold.

        Each may be planned when the former ones are made.
        """
        after: dict[Key, ObjectOnSlice | None] = {}
        with self._all_or_nothing() as patches:
            for patch, records in edits:
                self._apply(patch, patches)
                after |= records
        return self._finish(patches, after)

    def revert(self, change: Change) -> Written:
        """Undo a change."""
        patches = revert_all(self.array, change.patches)
        return self._finish(patches, self._as_found(change.records_before))

    def repeat(self, change: Change) -> Written:
        """Redo a change."""
        patches = apply_all(self.array, change.patches)
        return self._finish(patches, self._as_found(change.records_after))

    def _as_found(self, records: Records) -> Records:
        """Give records the extents in the labels, which may have been painted on since."""
        found: dict[Key, ObjectOnSlice | None] = {}
        for (object_id, index), record in records.items():
            current = self.records.get(object_id, index)
            known = record or current
            extent = join_extents(_extent_of(record), _extent_of(current))
            if known is not None and extent is not None:
                pixels = np.asarray(self.array[self.planes.region(index, *extent)])
                part = mask_region(pixels == object_id)
                known = replace(known, extent=shift_extent(part, extent))
            found[object_id, index] = known
        return found

    @contextmanager
    def _all_or_nothing(self) -> Iterator[list[LabelPatch]]:
        """Give a list for the patches that are applied. Revert them if one fails."""
        patches: list[LabelPatch] = []
        try:
            yield patches
        except BaseException:
            revert_all(self.array, patches)
            raise

    def _apply(self, patch: LabelPatch | None, patches: list[LabelPatch]) -> None:
        """Apply a patch and list it."""
        if patch is not None:
            patches.append(patch)  # first, so that a failure halfway is reverted
            patch.apply(self.array)

    def _finish(
        self,
        patches: Sequence[LabelPatch],
        after: Records,
        num_asked: int = 0,
        covered: Counter[int] | None = None,
    ) -> Written:
        """Update the records, and report the changes."""
        before = {key: self.records.get(*key) for key in after}
        num_pixels, num_slices = count_changes(self.planes, patches)
        if patches:
            self.changed.emit(tuple(patches))
        self.records.update(after)
        return Written(
            tuple(patches),
            num_pixels,
            num_slices,
            before,
            after,
            num_asked,
            covered or Counter(),
        )


def _extent_of(record: ObjectOnSlice | None) -> Extent | None:
    return None if record is None else record.extent
