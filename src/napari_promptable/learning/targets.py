"""Geometry of simulated prompts, and targets of the maps of all objects."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_promptable.masks import interior_point_yx, mask_to_box_yxyx

BOX_JITTER = 0.1  # standard deviation of a box side, relative to its length (SAM, appendix A)
MAX_JITTER_PX = 20.0  # its limit (SAM, appendix A)
MAX_OFFSET = 2.0  # in radii, to an object's centre
KNOWN_BACKGROUND = 2  # pixels around the objects of an incompletely labelled image

BoolArray = npt.NDArray[np.bool_]


def mask_box_xyxy(mask: BoolArray) -> npt.NDArray[np.float32]:
    """First and last column and row of a mask: (x0, y0, x1, y1), pixel centres."""
    return mask_to_box_yxyx(mask)[[1, 0, 3, 2]]


def jitter_box(
    box_xyxy: npt.NDArray[np.float32], limit: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Move each side by a tenth of the box's length, at most 20 pixels, within 0..limit."""
    width, height = box_xyxy[2:] - box_xyxy[:2] + 1
    noise = BOX_JITTER * np.array([width, height] * 2) * rng.standard_normal(4)
    jittered = np.clip(box_xyxy + np.clip(noise, -MAX_JITTER_PX, MAX_JITTER_PX), 0, limit)
    low, high = np.minimum(jittered[:2], jittered[2:]), np.maximum(jittered[:2], jittered[2:])
    return np.concatenate([low, np.maximum(high, low + 1)]).astype(np.float32)


def random_point_xy(region: BoolArray, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw a uniformly random pixel of a region."""
    rows, columns = np.nonzero(region)
    pick = rng.integers(len(rows))
    return np.array([columns[pick], rows[pick]], np.float32)


def interior_point_xy(mask: BoolArray) -> npt.NDArray[np.float32]:
    """Find the pixel farthest from the mask's border, (x, y)."""
    return interior_point_yx(mask)[::-1].copy()


def known_region(
    labels: npt.NDArray[np.int32], is_complete: bool, hidden: BoolArray | None = None
) -> BoolArray:
    """Find the pixels whose label can be trusted.

    Parameters
    ----------
    labels : ndarray of int32, shape (H, W)
        0 where nothing is labelled.
    is_complete : bool
        Whether every visible object has a label; if not, only objects and their immediate
        surroundings are known.
    hidden : ndarray of bool, shape (H, W), optional
        Held-out objects.

    Returns
    -------
    ndarray of bool, shape (H, W)
        True where the label can be trusted.
    """
    known = np.ones(labels.shape, bool) if is_complete else _grow(labels > 0)
    if hidden is not None:
        known &= ~(_grow(hidden) & (labels == 0))
    return known


def _grow(mask: BoolArray) -> BoolArray:
    grown: BoolArray = ndimage.binary_dilation(mask, iterations=KNOWN_BACKGROUND)
    return grown


def dense_targets(labels: npt.NDArray[np.int32], known: BoolArray) -> npt.NDArray[np.float32]:
    """Compute the targets of instance head and size head, at half resolution.

    Parameters
    ----------
    labels : ndarray of int32, shape (H, W)
        Instance labels.
    known : ndarray of bool, shape (H, W)
        Where the labels can be trusted.

    Returns
    -------
    ndarray of float32, shape (6, H / 2, W / 2)
        Foreground 0/1, border 0/1, row and column offset to the centroid in object radii
        (zero on the background), binary logarithm of the diameter in pixels (zero on the
        background and on objects that reach the border, whose size is not known), known 0/1.
    """
    sizes = _log2_diameters(labels)
    labels = labels[::2, ::2]
    flat = labels.ravel()
    rows, columns = (grid.ravel() for grid in np.indices(labels.shape, np.float32))
    area = np.maximum(np.bincount(flat), 1)
    radius = np.sqrt(area / np.pi)
    is_object = flat > 0
    offsets = [
        np.clip((np.bincount(flat, position) / area)[flat] - position, -400, 400) / radius[flat]
        for position in (rows, columns)
    ]
    padded = np.pad(labels, 1, mode="edge")
    border = np.zeros(labels.shape, bool)
    for shifted in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        border |= shifted != labels
    maps = [
        is_object,
        border.ravel(),
        *(np.clip(o, -MAX_OFFSET, MAX_OFFSET) * is_object for o in offsets),
    ]
    maps += [sizes[flat], known[::2, ::2].ravel()]
    return np.stack(maps).reshape(len(maps), *labels.shape).astype(np.float32)


def _log2_diameters(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Logarithm of each label's diameter, 0 where it is not known."""
    areas = np.bincount(labels.ravel())
    sizes = np.log2(np.sqrt(4 * np.maximum(areas, 1) / np.pi))
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        sizes[edge] = 0
    sizes[0] = 0
    return np.maximum(sizes, 0)
