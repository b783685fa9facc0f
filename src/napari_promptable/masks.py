"""Measuring and converting masks (numpy only).

scipy and scikit-image are imported where they are used: a dock widget opens without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import PromptError

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

_ELLIPSE_CORNERS = 48  # of the polygon
_SMALL_HOLE = 0.01  # of the object's area with all holes filled
_CERTAIN_LOGIT = 6.0  # logits of a drawn mask: + inside, − outside


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A mask that needs little memory: the bits of its bounding box.

    Attributes
    ----------
    shape : (int, int)
        Height and width of the plane.
    region : (slice, slice) or None
        Rows and columns of the bounding box; None for an empty mask.
    bits : ndarray of uint8
        Eight pixels per byte.
    """

    shape: tuple[int, int]
    region: tuple[slice, slice] | None
    bits: npt.NDArray[np.uint8]

    @classmethod
    def pack(cls, mask: BoolArray) -> PackedMask:
        """Pack a mask, ndarray of bool, shape (H, W)."""
        return cls.pack_crop(mask, (0, 0), (mask.shape[0], mask.shape[1]))

    @classmethod
    def pack_crop(
        cls, crop: BoolArray, corner: tuple[int, int], shape: tuple[int, int]
    ) -> PackedMask:
        """Pack a mask that is given as a part of its plane.

        Parameters
        ----------
        crop : ndarray of bool, shape (h, w)
            Part of the mask; the rest is empty.
        corner : (int, int)
            First row and column of the part.
        shape : (int, int)
            Height and width of the plane.
        """
        inner = mask_region(crop)
        if inner is None:
            return cls.empty(shape)
        rows, columns = (
            slice(part.start + start, part.stop + start)
            for part, start in zip(inner, corner, strict=True)
        )
        return cls(shape, (rows, columns), np.packbits(crop[inner]))

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> PackedMask:
        """Make a mask without any pixel."""
        return cls(shape, None, np.empty(0, np.uint8))

    @classmethod
    def unite(cls, masks: Sequence[PackedMask]) -> PackedMask:
        """Unite masks of one plane, of which there is at least one."""
        regions = [mask.region for mask in masks if mask.region is not None]
        if not regions:
            return masks[0]
        rows, columns = (
            slice(min(part.start for part in parts), max(part.stop for part in parts))
            for parts in zip(*regions, strict=True)
        )
        crop = np.logical_or.reduce([mask.within((rows, columns)) for mask in masks])
        return cls.pack_crop(crop, (rows.start, columns.start), masks[0].shape)

    def unpack(self) -> BoolArray:
        """Draw the mask, ndarray of bool, shape (H, W)."""
        mask = np.zeros(self.shape, bool)
        if self.region is not None:
            mask[self.region] = self.crop()
        return mask

    def crop(self) -> BoolArray:
        """Draw the bounding box only, ndarray of bool, shape (h, w)."""
        if self.region is None:
            return np.zeros((0, 0), bool)
        height, width = (part.stop - part.start for part in self.region)
        bits = np.unpackbits(self.bits, count=height * width)
        return bits.astype(bool).reshape(height, width)

    def within(self, extent: tuple[slice, slice]) -> BoolArray:
        """Draw some rows and columns that hold the bounding box, ndarray of bool."""
        height, width = (part.stop - part.start for part in extent)
        drawn = np.zeros((height, width), bool)
        if self.region is not None:
            rows, columns = (
                slice(part.start - outer.start, part.stop - outer.start)
                for part, outer in zip(self.region, extent, strict=True)
            )
            drawn[rows, columns] = self.crop()
        return drawn

    def moved(self, by: tuple[int, int], shape: tuple[int, int]) -> PackedMask:
        """Take the mask to a plane (H, W) that holds this one from some row and column on."""
        if self.region is None:
            return PackedMask.empty(shape)
        rows, columns = (
            slice(part.start + start, part.stop + start)
            for part, start in zip(self.region, by, strict=True)
        )
        return PackedMask(shape, (rows, columns), self.bits)

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is set."""
        return self.region is None

    @property
    def num_pixels(self) -> int:
        """Number of pixels that are set."""
        return int(np.unpackbits(self.bits).sum())

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.bits.nbytes


def mask_iou(first: BoolArray, second: BoolArray) -> float:
    """Intersection over union of two masks of one shape, or 1 if both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def mask_region(mask: BoolArray) -> tuple[slice, slice] | None:
    """Rows and columns of a mask's bounding box, or None if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def mask_to_box_yxyx(mask: BoolArray) -> FloatArray:
    """Find the exact bounding box of a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        Not empty.

    Returns
    -------
    ndarray of float32, shape (4,)
        Rows and columns of the first and last pixel: (top, left, bottom, right).

    Raises
    ------
    PromptError
        If the mask is empty.
    """
    region = mask_region(mask)
    if region is None:
        raise PromptError("an empty mask has no box; give a mask with at least one pixel")
    rows, columns = region
    return np.array([rows.start, columns.start, rows.stop - 1, columns.stop - 1], np.float32)


def interior_point_yx(mask: BoolArray) -> FloatArray:
    """Find the pixel of a mask farthest from its border.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        Not empty; the edge of the image counts as border.

    Returns
    -------
    ndarray of float32, shape (2,)
        (row, col).

    Raises
    ------
    PromptError
        If the mask is empty.
    """
    from scipy import ndimage

    top, left, bottom, right = mask_to_box_yxyx(mask).astype(int)
    inside = np.pad(mask[top : bottom + 1, left : right + 1], 1)
    distance = ndimage.distance_transform_edt(inside)
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    return np.array([top + row - 1, left + column - 1], np.float32)


def keep_clicked_part(
    mask: BoolArray,
    inside_yx: npt.NDArray[np.floating],
    outside_yx: npt.NDArray[np.floating],
    core: BoolArray | None = None,
) -> BoolArray:
    """Remove the specks of a mask and fill its small holes.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        Parts that only touch at a corner are separate.
    inside_yx : ndarray of float, shape (P, 2)
        Clicks inside the object. The parts that hold one are kept; the largest if none does.
    outside_yx : ndarray of float, shape (Q, 2)
        Clicks outside it; a hole that holds one stays open.
    core : ndarray of bool, shape (H, W), optional
        The object so far; parts that overlap it are kept too.

    Returns
    -------
    ndarray of bool, shape (H, W)
        Without holes smaller than 1 % of the object.
    """
    from scipy import ndimage

    region = mask_region(mask)
    if region is None:
        return mask
    crop = mask[region]
    numbers, count = ndimage.label(crop)
    if count > 1:
        kept = _numbers_at(numbers, region, inside_yx)
        if core is not None:
            kept |= set(np.unique(numbers[core[region]]).tolist()) - {0}
        areas = np.bincount(numbers.ravel())
        crop = np.isin(numbers, list(kept) or [1 + int(areas[1:].argmax())])
    tidy = np.zeros_like(mask)
    tidy[region] = _fill_small_holes(crop, region, outside_yx)
    return tidy


def _fill_small_holes(
    crop: BoolArray, region: tuple[slice, slice], open_yx: npt.NDArray[np.floating]
) -> BoolArray:
    """Fill the holes of a cropped mask that are small and hold none of the points."""
    from scipy import ndimage

    holes = ndimage.binary_fill_holes(crop)
    limit = _SMALL_HOLE * np.count_nonzero(holes)
    holes &= ~crop
    if not holes.any():
        return crop
    numbers, _ = ndimage.label(holes)
    is_filled = np.bincount(numbers.ravel()) < limit
    is_filled[[0, *_numbers_at(numbers, region, open_yx)]] = False
    filled: BoolArray = crop | is_filled[numbers]
    return filled


def _numbers_at(
    numbers: npt.NDArray[np.integer],
    region: tuple[slice, slice],
    points_yx: npt.NDArray[np.floating],
) -> set[int]:
    """Numbers, 0 left out, at the pixels of those points that lie in the region."""
    pixels = np.rint(points_yx).astype(int) - [region[0].start, region[1].start]
    pixels = pixels[((pixels >= 0) & (pixels < numbers.shape)).all(axis=1)]
    return set(numbers[tuple(pixels.T)].tolist()) - {0}


def blend_masks(first: BoolArray, second: BoolArray, share: float) -> BoolArray:
    """Find the outline between two masks of one object.

    Parameters
    ----------
    first, second : ndarray of bool, shape (H, W)
        Neither is empty.
    share : float, 0 to 1
        Weight of the second mask; 0 gives the first.

    Returns
    -------
    ndarray of bool, shape (H, W)
        True where the weighted mean of the signed distances to the two outlines is positive;
        empty for masks that lie far apart.
    """
    region = mask_region(first | second)
    if region is None:
        return first
    distance = (1 - share) * _signed_distance(first[region])
    distance += share * _signed_distance(second[region])
    blend = np.zeros_like(first)
    blend[region] = distance > 0
    return blend


def _signed_distance(mask: BoolArray) -> npt.NDArray[np.floating]:
    """Distance in pixels to the outline, positive inside. The image ends at its border."""
    from scipy import ndimage

    padded = np.pad(mask, 1)
    inside = ndimage.distance_transform_edt(padded)
    outside = ndimage.distance_transform_edt(~padded)
    distance: npt.NDArray[np.floating] = (inside - outside)[1:-1, 1:-1]
    return distance


def polygon_to_mask(vertices_yx: npt.ArrayLike, shape: tuple[int, int]) -> BoolArray:
    """Fill a polygon, clipped to the image.

    Parameters
    ----------
    vertices_yx : array_like of float, shape (V, 2)
        Corners, (row, col) in image pixels.
    shape : (int, int)
        Height and width of the image.

    Returns
    -------
    ndarray of bool, shape (H, W)
        True inside.
    """
    from skimage.draw import polygon2mask

    mask: BoolArray = polygon2mask(shape, np.asarray(vertices_yx, float))
    return mask


def ellipse_to_polygon(corners_yx: npt.NDArray[np.floating]) -> FloatArray:
    """Approximate an ellipse by a polygon.

    Parameters
    ----------
    corners_yx : ndarray of float, shape (4, 2)
        Corners, in turn, of the rectangle or parallelogram around the ellipse.

    Returns
    -------
    ndarray of float32, shape (V, 2)
        Points on the ellipse.
    """
    half_axes = (corners_yx[1] - corners_yx[0]) / 2, (corners_yx[3] - corners_yx[0]) / 2
    angles = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)[:, None]
    outline = np.cos(angles) * half_axes[0] + np.sin(angles) * half_axes[1]
    polygon: FloatArray = (corners_yx.mean(axis=0) + outline).astype(np.float32)
    return polygon


def mask_to_logits(
    mask: BoolArray, valid_size: tuple[int, int], low_res_size: tuple[int, int]
) -> FloatArray:
    """Turn a mask into low-res logits for a mask prompt.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        In image pixels.
    valid_size : (int, int)
        Rows and columns of the logits that the image covers.
    low_res_size : (int, int)
        Rows and columns of the logits, padding included.

    Returns
    -------
    ndarray of float32, shape `low_res_size`
        +6 inside, −6 outside and on the padding, in between where the mask covers part of a
        cell.
    """
    from skimage.transform import resize

    share = resize(mask.astype(np.float32), valid_size, order=1, anti_aliasing=True)
    logits = np.full(low_res_size, -_CERTAIN_LOGIT, np.float32)
    logits[: valid_size[0], : valid_size[1]] = _CERTAIN_LOGIT * (2 * share - 1)
    return logits
