"""Fields of view: parts of a plane that a model is shown instead of the whole (numpy only).

A field is a plane of its own. Its pixels are encoded, its prompts are given in its pixels, and
its masks are placed on the plane. A field with a *step* is seen at reduced resolution: one of
its pixels stands for step × step pixels of the plane.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_promptable.errors import PromptError
from napari_promptable.masks import BoolArray, PackedMask, mask_region

FloatArray = npt.NDArray[np.floating[Any]]

INPUT_SIDE = 1024
"""Longer side of the input of SAM's networks in pixels."""

_MIN_SIDE = 256  # pixels; more magnification shows nothing new
_POSITIONS = 8  # of a field along its own side: views nearby share one
_MARGIN = 0.1  # of the extent of prompts, on each side


@dataclass(frozen=True)
class Field:
    """A rectangle of a plane, perhaps at reduced resolution.

    Attributes
    ----------
    top, left : int
        First row and column, in pixels of the plane; multiples of `step`.
    height, width : int
        Rows and columns of the plane.
    step : int
        Pixels of the plane per pixel of the field.
    """

    top: int
    left: int
    height: int
    width: int
    step: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels of the field."""
        return math.ceil(self.height / self.step), math.ceil(self.width / self.step)

    @property
    def extent(self) -> tuple[slice, slice]:
        """Rows and columns of the plane."""
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )

    def holds(self, box_yxyx: FloatArray) -> bool:
        """Whether a box of the plane, (top, left, bottom, right), lies inside."""
        top, left, bottom, right = box_yxyx
        rows, columns = self.extent
        return bool(
            rows.start <= top
            and left >= columns.start
            and bottom < rows.stop
            and right < columns.stop
        )

    def to_field(self, positions_yx: FloatArray) -> FloatArray:
        """Take positions, (..., 2), from pixels of the plane to pixels of the field."""
        edges = np.asarray(positions_yx, np.float64) - [self.top, self.left] + 0.5
        moved: FloatArray = edges / self.step - 0.5
        return moved

    def to_plane(self, positions_yx: FloatArray) -> FloatArray:
        """Undo `to_field`."""
        edges = (np.asarray(positions_yx, np.float64) + 0.5) * self.step
        moved: FloatArray = edges - 0.5 + np.array([self.top, self.left])
        return moved

    def place(self, mask: BoolArray, plane_shape: tuple[int, int]) -> PackedMask:
        """Take a mask, ndarray of bool in pixels of the field, to its plane.

        A mask at reduced resolution is enlarged with smooth outlines, in its bounding box.
        """
        region = mask_region(mask)
        if region is None:
            return PackedMask.empty(plane_shape)
        crop, start = mask[region], [part.start for part in region]
        if self.step > 1:
            crop, start = _enlarge(crop, self.step), [n - 1 for n in start]
        top, left = self.top + self.step * start[0], self.left + self.step * start[1]
        first_row, first_column = max(0, self.top - top), max(0, self.left - left)
        inside = crop[
            first_row : self.top + self.height - top,
            first_column : self.left + self.width - left,
        ]
        corner = top + first_row, left + first_column
        return PackedMask.pack_crop(inside, corner, plane_shape)

    def cut(self, mask: PackedMask) -> BoolArray:
        """Take a mask of the plane to the field. What lies outside is cut off."""
        if mask.region is None:
            return np.zeros(self.shape, bool)
        rows, columns = (
            slice(min(part.start, outer.start), max(part.stop, outer.stop))
            for part, outer in zip(mask.region, self.extent, strict=True)
        )
        drawn = mask.within((rows, columns))
        top, left = self.top - rows.start, self.left - columns.start
        rows_seen, columns_seen = (
            start + np.minimum(np.arange(count) * self.step + self.step // 2, length - 1)
            for start, count, length in zip(
                (top, left), self.shape, (self.height, self.width), strict=True
            )
        )
        sampled: BoolArray = drawn[np.ix_(rows_seen, columns_seen)]
        return sampled

    def to_plain(self) -> dict[str, list[int] | int]:
        """Make plain data for JSON."""
        return {
            "corner": [self.top, self.left],
            "size": [self.height, self.width],
            "step": self.step,
        }


def draw_in(mask: PackedMask, field: Field | None) -> BoolArray:
    """Draw a mask of the plane in a field. None is the whole plane."""
    return mask.unpack() if field is None else field.cut(mask)


def _enlarge(crop: BoolArray, step: int) -> BoolArray:
    """Enlarge a mask, with one pixel of background around it."""
    padded = np.pad(crop, 1).astype(np.uint8) * 255
    size = padded.shape[1] * step, padded.shape[0] * step
    enlarged = Image.fromarray(padded).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(enlarged) > 127


@dataclass(frozen=True)
class FieldRule:
    """How a model and an image choose fields.

    Attributes
    ----------
    plane_shape : (int, int)
        Height and width of a plane.
    input_side : int
        Longer side of the network's input in pixels.
    steps : tuple of int
        Steps at which the plane can be read without reading all its pixels, 1 first.
    least_side : int
        A plane whose longer side is not above this is always shown whole.
    """

    plane_shape: tuple[int, int]
    input_side: int
    steps: tuple[int, ...] = (1,)
    least_side: int = _MIN_SIDE

    def whole(self) -> Field | None:
        """Return the field of the whole plane, or None if all its pixels are to be read."""
        step = self._step_for(max(self.plane_shape))
        return None if step == 1 else Field(0, 0, *self.plane_shape, step)

    def choose(self, box_yxyx: FloatArray) -> Field | None:
        """Choose the field for a part of the plane.

        Parameters
        ----------
        box_yxyx : ndarray of float, shape (4,)
            What is in view, or what prompts need: (top, left, bottom, right).

        Returns
        -------
        Field or None
            It holds the part with a margin, as far as the plane does. `whole` if the part has
            half of the plane's longer side or more.
        """
        box = np.asarray(box_yxyx, float)
        longest = float(np.max(box[2:] - box[:2]))
        side = _round_up(longest * _POSITIONS / (_POSITIONS - 2))
        is_wide = 2 * longest >= max(self.plane_shape) or side >= max(self.plane_shape)
        if is_wide or max(self.plane_shape) <= self.least_side:
            return self.whole()
        step = self._step_for(side)
        grid = max(step, side // _POSITIONS // step * step)
        starts, lengths = [], []
        for middle, length in zip((box[:2] + box[2:]) / 2, self.plane_shape, strict=True):
            last = max(0, length - side) // step * step
            starts.append(int(np.clip(round((middle - side / 2) / grid) * grid, 0, last)))
            lengths.append(min(side, length - starts[-1]))
        return Field(starts[0], starts[1], lengths[0], lengths[1], step)

    def _step_for(self, side: int) -> int:
        """Largest step at which a part still fills the network's input."""
        return max((step for step in self.steps if side / step >= self.input_side), default=1)


def with_margin(box_yxyx: FloatArray, plane_shape: tuple[int, int]) -> FloatArray:
    """Grow a box to what a model should see around it, within the plane."""
    low, high = np.asarray(box_yxyx, float).reshape(2, 2)
    margin = _MARGIN * (high - low + 1)
    limit = np.array(plane_shape) - 1.0
    return np.concatenate([np.clip(low - margin, 0, limit), np.clip(high + margin, 0, limit)])


def unite_fields(fields: Sequence[Field | None]) -> Field | None:
    """Find the field that holds all of some. None, the whole plane, if one of them is that."""
    known = [field for field in fields if field is not None]
    if len(known) < len(fields) or not known:
        return None
    step = max(field.step for field in known)
    top, left = (
        min(starts) // step * step
        for starts in zip(*((field.top, field.left) for field in known), strict=True)
    )
    bottom = max(field.top + field.height for field in known)
    right = max(field.left + field.width for field in known)
    return Field(top, left, bottom - top, right - left, step)


def _round_up(length: float) -> int:
    """Smallest 2ⁿ or 1.5 × 2ⁿ that is not below a length, at least `_MIN_SIDE`."""
    side = _MIN_SIDE
    while side < length:
        side = side * 3 // 2 if side.bit_count() == 1 else side * 4 // 3
    return side


def parse_field(corner: Sequence[int], size: Sequence[int], step: int) -> Field:
    """Undo `Field.to_plain`. Raises PromptError if there is no such field."""
    if any(n % step for n in corner):
        raise PromptError(
            f"a field's corner {list(corner)} must be a multiple of its step {step}"
        )
    return Field(corner[0], corner[1], size[0], size[1], step)
