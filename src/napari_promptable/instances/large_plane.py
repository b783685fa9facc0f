"""All objects of a plane of any size: it is read view by view and written square by square.

Objects are the same as if the plane were read as a whole: a view is responsible for the seeds
in its core, and the choice among objects looks only at their neighbours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import PromptError
from napari_promptable.files.label_images import highest_id
from napari_promptable.instances.found import (
    TAKEN,
    FoundObject,
    IntArray,
    Region,
    draw_on,
)
from napari_promptable.instances.place import MAX_PIXELS, cut_with_margin, rows_and_columns
from napari_promptable.masks import BoolArray
from napari_promptable.transforms import contrast_limits_of, sampling_step, to_rgb8

_SQUARE = 1024  # pixels along the side of what is read and written at once


class LazyRgb:
    """A plane, or a part of it, as 8-bit RGB. Pixels are read when an array is made of it.

    Parameters
    ----------
    data : array of any kind, shape (H, W), (H, W, 3) or (H, W, 4)
        Takes two slices as index.
    limits : (float, float), optional
        Contrast limits; by default those of the whole plane, as `to_rgb8` finds them.
    region : (slice, slice), optional
        Rows and columns of the part; everything by default.
    """

    def __init__(
        self,
        data: Any,
        limits: tuple[float, float] | None = None,
        region: Region | None = None,
    ) -> None:
        self._data = data
        self.limits = _limits_of(data) if limits is None else limits
        height, width = data.shape[:2]
        self._region = (slice(0, height), slice(0, width)) if region is None else region

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, 3."""
        rows, columns = self._region
        return rows.stop - rows.start, columns.stop - columns.start, 3

    def __getitem__(self, region: Region) -> LazyRgb:
        """Take some rows and columns. Reads nothing."""
        rows, columns = (
            slice(outer.start + min(inner.start, length), outer.start + min(inner.stop, length))
            for outer, inner, length in zip(self._region, region, self.shape, strict=False)
        )
        return LazyRgb(self._data, self.limits, (rows, columns))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[np.uint8]:
        """Read the pixels, ndarray of uint8, shape (h, w, 3)."""
        return to_rgb8(np.asarray(self._data[self._region]), self.limits)


def _limits_of(data: Any) -> tuple[float, float]:
    """Contrast limits from the pixels that `contrast_limits_of` looks at."""
    height, width, *colours = data.shape
    num_colours = min(3, *colours) if colours else 1
    step = sampling_step(height * width * num_colours)
    sample = np.asarray(data[::step, ::step])
    return contrast_limits_of(sample[..., :num_colours] if colours else sample)


@dataclass(frozen=True, eq=False)
class LargePlace:
    """Where new objects may lie on a plane of any size.

    Attributes
    ----------
    shape : (int, int)
        Height and width of the plane.
    box : (slice, slice)
        Rows and columns in which to look.
    existing : array of int of any kind, shape (H, W), or None
        Labels that stay as they are.
    """

    shape: tuple[int, int]
    box: Region
    existing: Any = None

    def is_free(self, point_yx: npt.NDArray[np.floating]) -> bool:
        """Whether an object may lie at a position (row, col)."""
        row, column = np.clip(np.rint(point_yx), 0, np.array(self.shape) - 1).astype(int)
        return not self.taken((slice(row, row + 1), slice(column, column + 1))).any()

    def taken(self, region: Region) -> BoolArray:
        """Where no object may lie in some rows and columns, ndarray of bool."""
        is_inside = [
            (positions >= part.start) & (positions < part.stop)
            for positions, part in zip(map(_positions, region), self.box, strict=True)
        ]
        taken: BoolArray = ~np.logical_and.outer(*is_inside)
        return taken if self.existing is None else taken | (self.read(region) != 0)

    def read(self, region: Region) -> npt.NDArray[np.integer[Any]]:
        """Read existing labels, or 0 if there are none."""
        if self.existing is None:
            return np.zeros(tuple(map(len, map(_positions, region))), np.uint8)
        return np.asarray(self.existing[region])

    def cut(self, image: Any) -> tuple[Any, tuple[int, int]]:
        """Cut the box with some surroundings out of an image. See `SearchPlace.cut`."""
        return cut_with_margin(image, self.box)

    def squares(self) -> Iterator[Region]:
        """Yield squares that cover the plane."""
        starts = (range(0, length, _SQUARE) for length in self.shape)
        for top, left in product(*starts):
            bottom, right = np.minimum((top + _SQUARE, left + _SQUARE), self.shape).tolist()
            yield slice(top, bottom), slice(left, right)


def _positions(part: slice) -> npt.NDArray[np.intp]:
    return np.arange(part.start, part.stop)


def is_large(shape: Sequence[int]) -> bool:
    """Whether a plane (H, W) has too many pixels to be read as a whole."""
    return shape[0] * shape[1] > MAX_PIXELS


def check_large_place(
    shape: tuple[int, int], region: npt.ArrayLike | None, labels: Any
) -> LargePlace:
    """Check what a user gives, as `check_place` does.

    Raises
    ------
    PromptError
        If the region is not a box, or holds no pixel of the image.
    """
    height, width = shape
    if region is None:
        return LargePlace(shape, (slice(0, height), slice(0, width)), labels)
    if np.shape(region) != (4,):
        raise PromptError(
            f"a region of shape {np.shape(region)} was given; a plane of {height:,} × "
            f"{width:,} pixels that is searched in parts needs a box (top, left, bottom, right)"
        )
    rows, columns = (
        slice(part.start, min(part.stop, length))
        for part, length in zip(rows_and_columns(region), shape, strict=True)
    )
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise PromptError(
            f"the region holds no pixel of the image of {height:,} × {width:,} pixels; draw it "
            "over the image, or leave it out"
        )
    return LargePlace(shape, (rows, columns), labels)


class SparseCanvas:
    """A `Canvas` for a plane of any size: it holds the objects, not the pixels.

    Parameters
    ----------
    place : LargePlace
        Where objects may lie.
    """

    def __init__(self, place: LargePlace) -> None:
        self._place = place
        self._objects: dict[int, FoundObject] = {}
        self._near: defaultdict[tuple[int, int], list[int]] = defaultdict(list)

    def under(self, region: Region) -> IntArray:
        """See `Canvas.under`."""
        labels = np.where(self._place.taken(region), np.int32(TAKEN), np.int32(0))
        near = {label for square in _squares_of(region) for label in self._near.get(square, ())}
        for label in sorted(near):
            mask = self._objects[label].mask
            assert mask.region is not None
            shared = [
                slice(max(one.start, other.start), min(one.stop, other.stop))
                for one, other in zip(region, mask.region, strict=True)
            ]
            if all(part.start < part.stop for part in shared):
                draw_on(
                    labels[_within(shared, region)],
                    mask.crop()[_within(shared, mask.region)],
                    label,
                )
        return labels

    def add(self, found: FoundObject, label: int) -> None:
        """See `Canvas.add`."""
        assert found.mask.region is not None
        self._objects[label] = found
        for square in _squares_of(found.mask.region):
            self._near[square].append(label)

    def write_to(self, target: Any) -> None:
        """Write existing labels and the objects, numbered after them, to an array."""
        existing = self._place.existing
        highest = 0 if existing is None else highest_id(existing)
        for square in self._place.squares():
            number = (square[0].start // _SQUARE, square[1].start // _SQUARE)
            if existing is None and number not in self._near:
                continue
            new = self.under(square).astype(np.int64)
            target[square] = np.where(new > 0, new + highest, self._place.read(square))


def _squares_of(region: Region) -> Iterator[tuple[int, int]]:
    """Numbers of the squares that some rows and columns touch."""
    rows, columns = (
        range(part.start // _SQUARE, (part.stop - 1) // _SQUARE + 1) for part in region
    )
    return product(rows, columns)


def _within(part: Sequence[slice], outer: Region) -> Region:
    """Rows and columns counted from the first ones of others."""
    rows, columns = (
        slice(one.start - other.start, one.stop - other.start)
        for one, other in zip(part, outer, strict=True)
    )
    return rows, columns
