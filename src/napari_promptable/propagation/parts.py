"""Connected parts of a mask: which of them are the object when it splits (numpy only)."""

from __future__ import annotations

import numpy as np

from napari_promptable.masks import BoolArray, mask_region
from napari_promptable.propagation.settings import SplitPolicy

_SPECK = 0.05  # share of a mask below which a part of it is noise
_CORNERS_TOO = np.ones((3, 3), bool)


def split_mask(mask: BoolArray) -> list[BoolArray]:
    """Split a mask into connected parts.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        Pixels that touch at a corner are connected.

    Returns
    -------
    list of ndarray of bool, shape (H, W)
        The parts, the largest first, without specks; the mask itself if it is empty.
    """
    from scipy import ndimage  # a dock widget opens without it

    region = mask_region(mask)
    if region is None:
        return [mask]
    numbers, count = ndimage.label(mask[region], _CORNERS_TOO)
    if count == 1:
        return [mask]
    areas = np.bincount(numbers.ravel())[1:]
    order = np.argsort(-areas, kind="stable")
    parts = []
    for number in order[areas[order] >= _SPECK * areas.sum()]:
        part = np.zeros_like(mask)
        part[region] = numbers == number + 1
        parts.append(part)
    return parts


def keep_parts(mask: BoolArray, previous: BoolArray, split: SplitPolicy) -> BoolArray:
    """Keep the parts of a mask that belong to the object.

    Parameters
    ----------
    mask, previous : ndarray of bool, shape (H, W)
        On this slice and on the one before.
    split : SplitPolicy
        Which parts belong to it.

    Returns
    -------
    ndarray of bool, shape (H, W)
        These parts.
    """
    parts = split_mask(mask)
    if split is SplitPolicy.ALL:
        return np.asarray(np.logical_or.reduce(parts))
    if split is SplitPolicy.OVERLAPPING:
        return max(parts, key=lambda part: np.count_nonzero(part & previous))
    return parts[0]
