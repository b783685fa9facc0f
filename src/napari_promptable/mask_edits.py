"""Small corrections of a mask: fill, smooth, clean, grow, shrink and split.

Each takes and returns an ndarray of bool, shape (H, W), and leaves at least one pixel of an
object that has any. Parts of a mask may touch at a corner.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.masks import BoolArray

REACH = 2
"""Pixels around an object's bounding box that its edits depend on."""

_SMOOTH_SIGMA = 1.0  # px; a line of two pixels stays
_SPECK = 0.05  # of the area of the largest part
_MIN_PIECE = 5  # px; a wobbling line leaves crumbs, which are no objects


def fill_holes(mask: BoolArray) -> BoolArray:
    """Fill all holes of an object.

    Examples
    --------
    >>> ring = np.ones((3, 3), bool)
    >>> ring[1, 1] = False
    >>> bool(fill_holes(ring).all())
    True
    """
    from scipy import ndimage

    filled: BoolArray = ndimage.binary_fill_holes(mask)
    return filled


def smooth(mask: BoolArray) -> BoolArray:
    """Round an object's outline. Ends and corners recede, narrow bays close.

    Areas hardly change, and lines of two pixels or more stay. A mask that would vanish is
    returned as it is.
    """
    from skimage.filters import gaussian

    weights = gaussian(mask.astype(np.float32), _SMOOTH_SIGMA, mode="nearest")
    return _unless_empty(weights > 0.5, mask)


def remove_specks(mask: BoolArray) -> BoolArray:
    """Remove parts smaller than a twentieth of the largest part."""
    from skimage.measure import label

    numbers = label(mask, connectivity=2)
    areas = np.bincount(numbers.ravel())
    areas[0] = 0
    kept: BoolArray = (areas >= _SPECK * areas.max(initial=1))[numbers] & mask
    return kept


def grow(mask: BoolArray) -> BoolArray:
    """Add the pixels that share an edge with an object."""
    from skimage.morphology import diamond, dilation

    grown: BoolArray = dilation(mask, diamond(1)).astype(bool)
    return grown


def shrink(mask: BoolArray) -> BoolArray:
    """Remove the pixels that share an edge with the background.

    The border of the image is no background. A mask that would vanish is returned as it is.
    """
    from skimage.morphology import diamond, erosion

    return _unless_empty(erosion(mask, diamond(1)).astype(bool), mask)


def _unless_empty(edited: BoolArray, mask: BoolArray) -> BoolArray:
    return edited if edited.any() else mask


def split_by_line(mask: BoolArray, line_yx: npt.ArrayLike) -> npt.NDArray[np.integer[Any]]:
    """Split an object along a line, without losing a pixel.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        The object.
    line_yx : array_like of float, shape (N, 2)
        Corners of the line, (row, col), at least two; they may lie outside the image.

    Returns
    -------
    ndarray of int, shape (H, W)
        0 outside the object. 1 where it keeps its id: the largest piece, of each part if it has
        several. The other pieces from 2, by size. Pixels under the line belong to the nearest
        piece, and so do pieces of fewer than five pixels.

    Examples
    --------
    >>> pieces = split_by_line(np.ones((4, 9), bool), [[-1, 3], [4, 3]])
    >>> pieces[0].tolist()
    [2, 2, 2, 2, 1, 1, 1, 1, 1]
    """
    from scipy import ndimage
    from skimage.measure import label

    numbers = label(mask & ~_draw_line(line_yx, mask.shape), connectivity=2)
    areas = np.bincount(numbers.ravel())
    by_size = [int(number) for number in np.argsort(-areas[1:], kind="stable") + 1]
    if not by_size:
        return mask.astype(int)
    part_of = ndimage.maximum(label(mask, connectivity=2), numbers, np.arange(len(areas)))
    pieces, seen = np.zeros(len(areas), int), set()
    for number in by_size:
        if part_of[number] not in seen:
            pieces[number] = 1
        elif areas[number] >= _MIN_PIECE:
            pieces[number] = pieces.max() + 1
        seen.add(part_of[number])
    return np.where(mask, nearest_piece(pieces[numbers]), 0)


def ids_under_line(labels: npt.NDArray[np.integer[Any]], line_yx: npt.ArrayLike) -> list[int]:
    """Ids of the objects under a line, on labels (H, W), the one with most pixels first."""
    found = labels[_draw_line(line_yx, labels.shape)]
    ids, counts = np.unique(found[found > 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [int(object_id) for object_id in ids[order]]


def nearest_piece(pieces: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.integer[Any]]:
    """Give each pixel, (H, W), the number of the nearest pixel that has one."""
    from scipy import ndimage

    _, (rows, columns) = ndimage.distance_transform_edt(pieces == 0, return_indices=True)
    nearest: npt.NDArray[np.integer[Any]] = pieces[rows, columns]
    return nearest


def _draw_line(line_yx: npt.ArrayLike, shape: tuple[int, ...]) -> BoolArray:
    """Draw a line so thick that pixels on its two sides do not even touch at a corner."""
    from skimage.draw import line

    corners = np.rint(np.asarray(line_yx, float)).astype(int)
    drawn = np.zeros(shape, bool)
    for start, stop in pairwise(corners):
        rows, columns = line(*start, *stop)
        for r, c in ((rows, columns), (rows[1:], columns[:-1])):
            is_inside = (r >= 0) & (r < shape[0]) & (c >= 0) & (c < shape[1])
            drawn[r[is_inside], c[is_inside]] = True
    return drawn
