"""Changes of a labels array that lose nothing and can be reverted exactly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import LabelError
from napari_promptable.fields import Field
from napari_promptable.masks import BoolArray, PackedMask, mask_region
from napari_promptable.planes import Index, PlaneAxes, Region


class OverlapPolicy(StrEnum):
    """What happens where a new object meets others."""

    KEEP = "keep"  #: other objects keep every pixel; the mask replaces the object's former one
    REPLACE = "replace"  #: the new object takes over their pixels
    ADD = "add"  #: as keep, and the object keeps its own pixels too: it can only grow

    def free_pixels(self, pixels: npt.NDArray[np.integer], object_id: int) -> BoolArray:
        """Pixels of some labels that an object may take."""
        if self is OverlapPolicy.REPLACE:
            return np.ones(pixels.shape, bool)
        free: BoolArray = (pixels == 0) | (pixels == object_id)
        return free


class LabelsArray(Protocol):
    """Any integer array that can be read and written by region."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Integer dtype."""
        ...

    def __getitem__(self, region: Any) -> Any:
        """Read a region."""
        ...

    def __setitem__(self, region: Any, values: Any) -> None:
        """Write a region."""
        ...


Extent = tuple[slice, slice]
"""Rows and columns of a plane."""


@dataclass(frozen=True, eq=False)
class PlacedIds:
    """Ids of new objects in a part of a plane.

    Attributes
    ----------
    ids : ndarray of int, shape (h, w)
        0 is none.
    corner : (int, int)
        First row and column of the part.
    """

    ids: npt.NDArray[np.integer[Any]]
    corner: tuple[int, int] = (0, 0)

    @property
    def extent(self) -> Extent:
        """Rows and columns of the part."""
        rows, columns = (
            slice(start, start + length)
            for start, length in zip(self.corner, self.ids.shape, strict=True)
        )
        return rows, columns

    def trimmed(self) -> PlacedIds | None:
        """Leave out rows and columns around all objects. None if there is no object."""
        region = mask_region(self.ids > 0)
        if region is None:
            return None
        rows, columns = region
        corner = self.corner[0] + rows.start, self.corner[1] + columns.start
        return PlacedIds(self.ids[region], corner)

    def free_of(self, mask: PackedMask) -> BoolArray:
        """Pixels of a mask that no new object has, ndarray of bool, shape (h, w)."""
        within = Field(*self.corner, *self.ids.shape).cut(mask)
        free: BoolArray = within & (self.ids == 0)
        return free


@dataclass(frozen=True, eq=False)
class LabelPatch:
    """A change of one region of a labels array.

    Attributes
    ----------
    region : Region
        The part of the array.
    before, after : ndarray of int
        Pixels of the region.
    """

    region: Region
    before: npt.NDArray[np.integer]
    after: npt.NDArray[np.integer]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.before.nbytes + self.after.nbytes

    def apply(self, labels: LabelsArray) -> LabelPatch:
        """Make the change, except where the labels have changed since it was planned.

        Returns
        -------
        LabelPatch
            The actual change.
        """
        return self._write(labels, self.before, self.after)

    def revert(self, labels: LabelsArray) -> LabelPatch:
        """Undo the change, except where the labels have changed since. See `apply`."""
        return self._write(labels, self.after, self.before)

    def _write(
        self,
        labels: LabelsArray,
        expected: npt.NDArray[np.integer],
        values: npt.NDArray[np.integer],
    ) -> LabelPatch:
        """Write the pixels that hold the expected values."""
        current = np.array(labels[self.region])
        written = np.where(current == expected, values, current)
        labels[self.region] = written
        return LabelPatch(self.region, current, written)


def plan_commit(
    labels: LabelsArray,
    planes: PlaneAxes,
    index: Index,
    mask: PackedMask,
    object_id: int,
    policy: OverlapPolicy = OverlapPolicy.KEEP,
    former: Extent | None = None,
) -> LabelPatch | None:
    """Prepare writing one object on one plane. Nothing is written yet.

    Parameters
    ----------
    labels : LabelsArray
        The labels to write to; only the region that changes is read.
    planes : PlaneAxes
        How `labels` is cut into planes.
    index : Index
        The plane.
    mask : PackedMask
        The object.
    object_id : int
        Its label, at least 1.
    policy : OverlapPolicy, default KEEP
        What happens to pixels of other objects.
    former : (slice, slice), optional
        Rows and columns that this object had on this plane after its last commit. Its pixels
        there that are not in `mask` become background, except under ADD.

    Returns
    -------
    LabelPatch or None
        None if nothing would change.

    Raises
    ------
    LabelError
        If the id is not positive or does not fit the labels' dtype.
    """
    check_id(object_id, labels.dtype)
    extent = join_extents(mask.region, former)
    if extent is None:
        return None
    region = planes.region(index, *extent)
    before = np.array(labels[region])
    after = before.copy()
    if former is not None and policy is not OverlapPolicy.ADD:
        after[before == object_id] = 0
    after[mask.within(extent) & policy.free_pixels(before, object_id)] = object_id
    if np.array_equal(before, after):
        return None
    return LabelPatch(region, before, after)


def plan_relabel(
    labels: LabelsArray, region: Region, object_id: int, new_id: int
) -> LabelPatch | None:
    """Prepare changing the id of an object's pixels. Nothing is written yet.

    Parameters
    ----------
    labels : LabelsArray
        Array that holds the object.
    region : Region
        The part of the array to search.
    object_id : int
        The object.
    new_id : int
        Its new id; 0 makes its pixels background.

    Returns
    -------
    LabelPatch or None
        None if the object has no pixel there.

    Raises
    ------
    LabelError
        If the new id does not fit the labels' dtype.
    """
    if new_id != 0:
        check_id(new_id, labels.dtype)
    before = np.array(labels[region])
    is_object = before == object_id
    if not is_object.any():
        return None
    return LabelPatch(region, before, np.where(is_object, new_id, before).astype(before.dtype))


def check_id(object_id: int, dtype: np.dtype[Any]) -> None:
    """Raise LabelError for an id that labels of a dtype cannot hold."""
    limit = np.iinfo(dtype).max
    if not 1 <= object_id <= limit:
        raise LabelError(
            f"object id {object_id} does not fit labels of dtype {dtype}, which hold 1 to "
            f"{limit}; choose another id or a labels layer of a wider dtype"
        )


def join_extents(first: Extent | None, second: Extent | None) -> Extent | None:
    """Smallest extent that holds both. None is an empty extent."""
    if first is None or second is None:
        return first or second
    rows, columns = (
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(first, second, strict=True)
    )
    return rows, columns


def shift_extent(part: Extent | None, extent: Extent) -> Extent | None:
    """Turn an extent within another one into an extent of the plane."""
    if part is None:
        return None
    rows, columns = (
        slice(inner.start + outer.start, inner.stop + outer.start)
        for inner, outer in zip(part, extent, strict=True)
    )
    return rows, columns


def apply_all(labels: LabelsArray, patches: Sequence[LabelPatch]) -> list[LabelPatch]:
    """Apply patches in order. Returns what they really changed."""
    return [patch.apply(labels) for patch in patches]


def revert_all(labels: LabelsArray, patches: Sequence[LabelPatch]) -> list[LabelPatch]:
    """Revert patches, the last one first. Returns what that really changed."""
    return [patch.revert(labels) for patch in reversed(patches)]


def count_changes(planes: PlaneAxes, patches: Iterable[LabelPatch]) -> tuple[int, int]:
    """Count pixels and slices that differ after some patches.

    Parameters
    ----------
    planes : PlaneAxes
        How the labels are cut into planes.
    patches : iterable of LabelPatch
        In the order in which they were written. They may overlap: a pixel counts once, and not
        at all if its first value came back.

    Returns
    -------
    num_pixels, num_slices : int
        Pixels, and slices that hold at least one of them.
    """
    by_plane: dict[Index, list[LabelPatch]] = {}
    for patch in patches:
        by_plane.setdefault(planes.index_of(patch.region), []).append(patch)
    counts = [_count_on_plane(planes, on_plane) for on_plane in by_plane.values()]
    return sum(counts), sum(count > 0 for count in counts)


def _count_on_plane(planes: PlaneAxes, patches: Sequence[LabelPatch]) -> int:
    """Count pixels of one plane that differ after some patches."""
    if len(patches) == 1:
        return int(np.count_nonzero(patches[0].before != patches[0].after))
    places, before, after = [], [], []
    for patch in patches:
        is_changed = patch.before != patch.after
        rows, columns = np.nonzero(is_changed)
        top, left = planes.corner_of(patch.region)
        places.append((rows + top) * planes.plane_shape[1] + columns + left)
        before.append(patch.before[is_changed])
        after.append(patch.after[is_changed])
    place = np.concatenate(places)
    _, first = np.unique(place, return_index=True)
    _, last = np.unique(place[::-1], return_index=True)
    return int(
        np.count_nonzero(np.concatenate(before)[first] != np.concatenate(after)[::-1][last])
    )


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
    pixels = np.asarray(plane)
    if not pixels.any():
        return {}
    from scipy import ndimage  # a dock widget opens without it

    ids, numbers = np.unique(pixels, return_inverse=True)
    places = ndimage.find_objects(numbers.reshape(pixels.shape) + 1)
    return {
        int(object_id): place
        for object_id, place in zip(ids.tolist(), places, strict=True)
        if object_id > 0
    }
