"""Where automatic segmentation may put objects: a region, and nowhere on existing labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import ImageFormatError, LabelError, PromptError
from napari_promptable.masks import BoolArray, mask_region
from napari_promptable.prompts import as_boxes_yxyx

_COLOURS = (3, 4)  # lengths of an axis of RGB or RGBA
MARGIN = 64
"""Pixels around a region that the network sees, too."""

MAX_PIXELS = 2**28
"""Pixels of the largest plane that is read as a whole."""

Labels = npt.NDArray[np.integer[Any]]


class SearchPlace(Protocol):
    """Where to look for objects on a plane."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the plane."""
        ...

    def is_free(self, point_yx: npt.NDArray[np.floating]) -> bool:
        """Whether an object may lie at a position (row, col)."""
        ...

    def cut(self, image: Any) -> tuple[Any, tuple[int, int]]:
        """Cut the part to be seen out of an image. Returns its first row and column, too."""
        ...


@dataclass(frozen=True, eq=False)
class Place:
    """Where new objects may lie on a plane.

    Attributes
    ----------
    region : ndarray of bool, shape (H, W)
        Where to look for objects; at least one pixel.
    existing : ndarray of int, shape (H, W), or None
        Labels that stay as they are.
    """

    region: BoolArray
    existing: Labels | None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the plane."""
        return self.region.shape[0], self.region.shape[1]

    @property
    def taken(self) -> BoolArray:
        """Where no object may lie, ndarray of bool, shape (H, W)."""
        outside = ~self.region
        return outside if self.existing is None else outside | (self.existing != 0)

    @property
    def first_id(self) -> int:
        """Lowest id that a new object may get."""
        return 1 if self.existing is None else int(self.existing.max(initial=0)) + 1

    def is_free(self, point_yx: npt.NDArray[np.floating]) -> bool:
        """Whether an object may lie at a position (row, col)."""
        row, column = np.clip(np.rint(point_yx), 0, np.array(self.shape) - 1).astype(int)
        is_labelled = self.existing is not None and self.existing[row, column] != 0
        return bool(self.region[row, column]) and not is_labelled

    def add(self, new_labels: npt.NDArray[np.int32]) -> Labels:
        """Number new objects after the existing ones. Returns all labels."""
        if self.existing is None:
            return new_labels
        dtype = np.result_type(self.existing.dtype, np.int32)
        added = np.where(new_labels > 0, new_labels + (self.first_id - 1), 0)
        return (self.existing + added).astype(dtype, copy=False)

    def cut(self, image: Any) -> tuple[Any, tuple[int, int]]:
        """Cut the region with some surroundings out of an image. See `SearchPlace.cut`."""
        bounds = mask_region(self.region)
        assert bounds is not None
        return cut_with_margin(image, bounds)


def check_place(
    shape: tuple[int, int], region: npt.ArrayLike | None, labels: npt.ArrayLike | None
) -> Place:
    """Check what a user gives.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the plane.
    region : array_like of bool, shape (H, W), or of float, shape (4,), or None
        A mask, or a box (top, left, bottom, right) of first and last pixels; None is all.
    labels : array_like of int, shape (H, W), or None
        Existing labels.

    Returns
    -------
    Place
        The same, checked.

    Raises
    ------
    PromptError
        If the region is neither, has another shape, or holds no pixel of the image.
    LabelError
        If the labels have another shape or are not whole numbers.
    """
    return Place(_as_mask(shape, region), _as_labels(shape, labels))


def cut_with_margin(image: Any, bounds: tuple[slice, slice]) -> tuple[Any, tuple[int, int]]:
    """Cut rows and columns with a margin out of an image. Returns their start, too."""
    top, left = (max(0, part.start - MARGIN) for part in bounds)
    bottom, right = (part.stop + MARGIN for part in bounds)
    return image[top:bottom, left:right], (top, left)


def is_stack(shape: tuple[int, ...]) -> bool:
    """Whether an image of this shape is a stack. ImageFormatError if it is no plane either.

    Parameters
    ----------
    shape : tuple of int
        Of the image; a last axis of 3 or 4 after two others is colour.
    """
    num_axes = len(shape) - (len(shape) > 2 and shape[-1] in _COLOURS)
    if num_axes not in (2, 3) or 0 in shape:
        raise ImageFormatError(
            f"an image of shape {shape} was given; it must be (H, W) or (Z, H, W), with a last "
            "axis of 3 or 4 for colour, and not empty"
        )
    return num_axes == 3


def check_stack_labels(shape: tuple[int, ...], labels: Any) -> None:
    """Raise LabelError if existing labels of a stack have another shape."""
    if labels is not None and tuple(labels.shape) != shape:
        raise LabelError(
            f"labels of shape {tuple(labels.shape)} were given; they must have the shape "
            f"{shape} of the stack"
        )


def _as_mask(shape: tuple[int, int], region: npt.ArrayLike | None) -> BoolArray:
    """Draw a region."""
    if region is None:
        return np.ones(shape, bool)
    given = np.asarray(region)
    if given.shape == (4,):
        mask = _draw_box(shape, given)
    elif given.shape == shape and given.dtype.kind in "bui":
        mask = given != 0
    else:
        raise PromptError(
            f"a region of shape {given.shape} and type {given.dtype} was given; it must be a "
            f"mask of shape {shape}, or a box (top, left, bottom, right)"
        )
    if not mask.any():
        raise PromptError(
            f"the region holds no pixel of the image of {shape[0]} × {shape[1]} pixels; draw "
            "it over the image, or leave it out"
        )
    return mask


def _draw_box(shape: tuple[int, int], box: npt.NDArray[Any]) -> BoolArray:
    """Draw a box, clipped to the plane."""
    mask = np.zeros(shape, bool)
    mask[rows_and_columns(box)] = True
    return mask


def rows_and_columns(box: npt.ArrayLike) -> tuple[slice, slice]:
    """Rows and columns of a box (top, left, bottom, right) of first and last pixels."""
    top, left, bottom, right = as_boxes_yxyx([box])[0].round().astype(int).tolist()
    return slice(max(top, 0), max(bottom + 1, 0)), slice(max(left, 0), max(right + 1, 0))


def _as_labels(shape: tuple[int, int], labels: npt.ArrayLike | None) -> Labels | None:
    """Check existing labels."""
    if labels is None:
        return None
    given = np.asarray(labels)
    if given.shape != shape or given.dtype.kind not in "bui":
        raise LabelError(
            f"labels of shape {given.shape} and type {given.dtype} were given; they must be "
            f"whole numbers of shape {shape}, like the image"
        )
    return given.astype(np.uint8) if given.dtype == bool else given
