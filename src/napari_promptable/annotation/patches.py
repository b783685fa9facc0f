"""Writing objects into a labels array so that nothing is lost, and taking it back exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import LabelError
from napari_promptable.masks import BoolArray, mask_region
from napari_promptable.planes import Index, PlaneAxes, Region


class OverlapPolicy(StrEnum):
    """What happens where a new object meets others."""

    KEEP = "keep"  #: other objects keep every pixel; the mask replaces the object's former one
    REPLACE = "replace"  #: the new object takes the pixels over
    ADD = "add"  #: as keep, and the object keeps its own pixels too: it can only grow


class LabelsArray(Protocol):
    """An integer array of any kind that can be read and written by region."""

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
class LabelPatch:
    """A change of one region of a labels array.

    Attributes
    ----------
    region : Region
        Where.
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

    def apply(self, labels: LabelsArray) -> None:
        """Make the change, but where somebody else has written since it was planned."""
        self._write(labels, self.before, self.after)

    def revert(self, labels: LabelsArray) -> None:
        """Take the change back, but where somebody else has written since."""
        self._write(labels, self.after, self.before)

    def _write(
        self,
        labels: LabelsArray,
        expected: npt.NDArray[np.integer],
        values: npt.NDArray[np.integer],
    ) -> None:
        """Write those pixels that hold what is expected of them."""
        current = np.array(labels[self.region])
        labels[self.region] = np.where(current == expected, values, current)


def plan_commit(
    labels: LabelsArray,
    planes: PlaneAxes,
    index: Index,
    mask: BoolArray,
    object_id: int,
    policy: OverlapPolicy = OverlapPolicy.KEEP,
    former: Extent | None = None,
) -> LabelPatch | None:
    """Prepare writing one object on one plane; nothing is written yet.

    Parameters
    ----------
    labels : LabelsArray
        Where the object goes; only the region that changes is read.
    planes : PlaneAxes
        How `labels` is cut into planes.
    index : Index
        Which plane.
    mask : ndarray of bool, shape (H, W)
        The object.
    object_id : int
        Its label, at least 1.
    policy : OverlapPolicy, default KEEP
        What happens to other objects' pixels.
    former : (slice, slice), optional
        Rows and columns that this object had on this plane after its last commit; its pixels
        in there that are not in `mask` become background, but under ADD.

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
    extent = join_extents(mask_region(mask), former)
    if extent is None:
        return None
    region = planes.region(index, *extent)
    before = np.array(labels[region])
    new = mask[extent]
    after = before.copy()
    if former is not None and policy is not OverlapPolicy.ADD:
        after[before == object_id] = 0
    if policy is not OverlapPolicy.REPLACE:
        new = new & ((before == 0) | (before == object_id))
    after[new] = object_id
    if np.array_equal(before, after):
        return None
    return LabelPatch(region, before, after)


def plan_relabel(
    labels: LabelsArray, region: Region, object_id: int, new_id: int
) -> LabelPatch | None:
    """Prepare giving an object's pixels another id; nothing is written yet.

    Parameters
    ----------
    labels : LabelsArray
        What holds the object.
    region : Region
        Where it lies.
    object_id : int
        Which object.
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
    """Smallest extent that holds both; None is nothing."""
    if first is None or second is None:
        return first or second
    rows, columns = (
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(first, second, strict=True)
    )
    return rows, columns


def apply_all(labels: LabelsArray, patches: Sequence[LabelPatch]) -> None:
    """Write patches in order."""
    for patch in patches:
        patch.apply(labels)


def revert_all(labels: LabelsArray, patches: Sequence[LabelPatch]) -> None:
    """Take patches back, the last one first."""
    for patch in reversed(patches):
        patch.revert(labels)
