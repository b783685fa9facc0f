"""Masks at several resolutions for a layer on a pyramid, drawn when napari reads them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.gui.layers.outlines import outline_values
from napari_promptable.masks import PackedMask
from napari_promptable.planes import Index, PlaneAxes

_LINE_WIDTH = 1  # pixels of the level; napari shows a level near one pixel of the screen

Values = npt.NDArray[np.uint8]


class MaskLevel:
    """The masks at one resolution, as an array of outlines.

    Parameters
    ----------
    planes : PlaneAxes
        Full resolution.
    step : int
        Pixels of the plane per pixel of the level.
    masks : dict of Index to PackedMask
        Shared by all levels; at most one mask on a plane.

    Attributes
    ----------
    shape, dtype, ndim, size
        As of an ndarray of uint8.
    """

    def __init__(self, planes: PlaneAxes, step: int, masks: dict[Index, PackedMask]) -> None:
        self._planes, self._step, self._masks = planes, step, masks
        self.shape = tuple(
            -(-n // step) if axis in planes.axes else n for axis, n in enumerate(planes.shape)
        )
        self.dtype, self.ndim, self.size = np.dtype(np.uint8), len(self.shape), prod(self.shape)

    def __getitem__(self, region: Any) -> Values:
        """Draw a region, given as a position or a slice for each axis or the first ones."""
        given = region if isinstance(region, tuple) else (region,)
        given += (slice(None),) * (self.ndim - len(given))
        parts = [
            slice(*part.indices(n)) if isinstance(part, slice) else slice(part, part + 1)
            for part, n in zip(given, self.shape, strict=True)
        ]
        values = np.zeros([part.stop - part.start for part in parts], np.uint8)
        for index, mask in self._masks.items():
            self._draw(index, mask, parts, values)
        dropped = tuple(axis for axis, part in enumerate(given) if not isinstance(part, slice))
        return values.squeeze(dropped)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Draw everything."""
        whole = self[()]
        return whole if dtype is None else whole.astype(dtype)

    def _draw(self, index: Index, mask: PackedMask, parts: list[slice], values: Values) -> None:
        """Draw what lies in a region of one mask."""
        if mask.region is None:
            return
        place: list[Any] = [slice(None)] * self.ndim
        for axis, position in zip(self._planes.other_axes, index, strict=True):
            if not parts[axis].start <= position < parts[axis].stop:
                return
            place[axis] = position - parts[axis].start
        first = [-(-part.start // self._step) for part in mask.region]
        skipped = tuple(
            slice(n * self._step - part.start, None, self._step)
            for n, part in zip(first, mask.region, strict=True)
        )
        crop = mask.crop()[skipped]
        chosen = []
        for axis, start, length in zip(self._planes.axes, first, crop.shape, strict=True):
            low = max(start, parts[axis].start)
            high = max(low, min(start + length, parts[axis].stop))
            place[axis] = slice(low - parts[axis].start, high - parts[axis].start)
            chosen.append(slice(low - start, high - start))
        values[tuple(place)] = outline_values(crop, _LINE_WIDTH)[tuple(chosen)]


class MaskPyramid:
    """Masks on planes of a pyramid, of which only bounding boxes are held.

    Parameters
    ----------
    planes : PlaneAxes
        Full resolution.
    steps : sequence of int
        Of the levels, 1 first.

    Attributes
    ----------
    levels : list of MaskLevel
        The data of the layer.
    """

    def __init__(self, planes: PlaneAxes, steps: tuple[int, ...]) -> None:
        self._masks: dict[Index, PackedMask] = {}
        self.levels = [MaskLevel(planes, step, self._masks) for step in steps]

    def put(self, index: Index, mask: PackedMask | None) -> None:
        """Show a mask on a plane, or none."""
        if mask is None or mask.is_empty:
            self._masks.pop(index, None)
        else:
            self._masks[index] = mask
