"""Objects that were found without a prompt, and the choice among them (numpy only)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_promptable.instances.settings import AutomaticSettings
from napari_promptable.masks import BoolArray, PackedMask

IntArray = npt.NDArray[np.int32]
Region = tuple[slice, slice]

TAKEN = -1
"""Label of pixels that stay empty."""

_MIN_FREE = 0.5  # of an object's pixels that are its own in the end


@dataclass(frozen=True, eq=False)
class FoundObject:
    """One answer of the decoder to a prompt that no user gave.

    Attributes
    ----------
    mask : PackedMask
        In pixels of the plane, one piece without holes.
    area : int
        Its pixels.
    predicted_iou : float
        The model's own estimate of the mask's IoU with the object.
    agreement : float, 0 to 1
        IoU with the region that the instance maps give to the object; 1 for answers to a grid
        of clicks, which no maps can confirm.
    stability : float, 0 to 1
        IoU of the masks at a higher and at a lower threshold.
    """

    mask: PackedMask
    area: int
    predicted_iou: float
    agreement: float = 1.0
    stability: float = 1.0

    @property
    def confidence(self) -> float:
        """How far the model trusts the mask, 0 to 1."""
        return min(max(self.predicted_iou * self.agreement, 0.0), 1.0)

    def covers(self, row: int, column: int) -> bool:
        """Whether a pixel belongs to the mask."""
        if self.mask.region is None:
            return False
        rows, columns = self.mask.region
        if not (rows.start <= row < rows.stop and columns.start <= column < columns.stop):
            return False
        return bool(self.mask.crop()[row - rows.start, column - columns.start])


def tidy_mask(crop: BoolArray) -> BoolArray:
    """Keep the largest piece of a mask and fill its holes.

    Parameters
    ----------
    crop : ndarray of bool, shape (h, w)
        A mask, or its bounding box.

    Returns
    -------
    ndarray of bool, shape (h, w)
        One piece; empty only if `crop` is.
    """
    pieces, count = ndimage.label(crop)
    if count > 1:
        crop = pieces == 1 + int(np.bincount(pieces.ravel())[1:].argmax())
    filled: BoolArray = ndimage.binary_fill_holes(crop)
    return filled


def choose_objects(
    objects: Iterable[FoundObject],
    settings: AutomaticSettings,
    taken: BoolArray,
) -> tuple[IntArray, list[FoundObject]]:
    """Choose the objects that are sure enough and do not repeat surer ones.

    Parameters
    ----------
    objects : iterable of FoundObject
        Of one plane; several may show the same object.
    settings : AutomaticSettings
        Thresholds.
    taken : ndarray of bool, shape (H, W)
        Pixels that stay empty: existing labels, and what lies outside the region.

    Returns
    -------
    labels : ndarray of int32, shape (H, W)
        Object k of the list is k + 1; a pixel of two objects belongs to the surer one.
    chosen : list of FoundObject
        The surest first.
    """
    canvas = _PlaneCanvas(np.where(taken, np.int32(TAKEN), np.int32(0)))
    chosen = choose_on(canvas, objects, settings)
    canvas.labels[canvas.labels == TAKEN] = 0
    return canvas.labels, chosen


class Canvas(Protocol):
    """Shows which chosen objects lie where."""

    def under(self, region: Region) -> IntArray:
        """Labels of some rows and columns: object k is k + 1, `TAKEN` stays empty."""
        ...

    def add(self, found: FoundObject, label: int) -> None:
        """Draw an object, which is not empty, on free pixels."""
        ...


def choose_on(
    canvas: Canvas, objects: Iterable[FoundObject], settings: AutomaticSettings
) -> list[FoundObject]:
    """Choose objects as `choose_objects` does, and draw them on a canvas.

    Returns
    -------
    list of FoundObject
        The surest first.
    """
    chosen: list[FoundObject] = []
    for found in sorted(objects, key=lambda found: -found.confidence):
        if not _is_sure(found, settings) or found.mask.region is None:
            continue
        under = canvas.under(found.mask.region)[found.mask.crop()]
        if _is_new(under, found.area, chosen, settings):
            chosen.append(found)
            canvas.add(found, len(chosen))
    return chosen


class _PlaneCanvas:
    """A canvas that holds all pixels of a plane.

    Parameters
    ----------
    labels : ndarray of int32, shape (H, W)
        Free pixels are 0; objects are drawn here.
    """

    def __init__(self, labels: IntArray) -> None:
        self.labels = labels

    def under(self, region: Region) -> IntArray:
        """Return a view. See `Canvas.under`."""
        return self.labels[region]

    def add(self, found: FoundObject, label: int) -> None:
        """See `Canvas.add`."""
        assert found.mask.region is not None
        draw_on(self.labels[found.mask.region], found.mask.crop(), label)


def draw_on(labels: IntArray, mask: BoolArray, label: int) -> None:
    """Give the free pixels of a mask a label, in place."""
    labels[mask & (labels == 0)] = label


def _is_sure(found: FoundObject, settings: AutomaticSettings) -> bool:
    """Whether an object passes all thresholds that concern it alone."""
    return (
        found.confidence >= settings.min_confidence
        and found.stability >= settings.min_stability
        and settings.min_area <= found.area <= settings.max_area
    )


def _is_new(
    under: IntArray, area: int, chosen: Sequence[FoundObject], settings: AutomaticSettings
) -> bool:
    """Whether a mask with these labels under it shows something that is not there yet."""
    free = np.count_nonzero(under == 0)
    if free < max(settings.min_area, _MIN_FREE * area):
        return False
    ids, shared = np.unique(under[under > 0], return_counts=True)
    others = np.array([chosen[number - 1].area for number in ids], int)
    iou = shared / np.maximum(others + area - shared, 1)
    contained = shared / np.maximum(np.minimum(others, area), 1)
    return bool(
        (iou <= settings.max_overlap).all() and (contained <= settings.max_containment).all()
    )
