"""Reads planes, and fields of planes, from the data of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.fields import Field
from napari_promptable.planes import Channel, Index, PlaneAxes, read_plane


@dataclass(frozen=True, eq=False)
class PlaneSource:
    """Reads planes from the data of an image.

    Attributes
    ----------
    data : array of any kind
        At full resolution, with the RGB axis last.
    planes : PlaneAxes
        How the data is cut into planes.
    channel : Channel or None
        The channel that the model sees; None for the displayed one.
    levels : dict of int to array of any kind
        The same data with planes at reduced resolution, by step; see `levels_by_step`.
    """

    data: Any
    planes: PlaneAxes
    channel: Channel | None = None
    levels: Mapping[int, Any] = field(default_factory=dict)

    @property
    def is_lazy(self) -> bool:
        """Whether pixels are loaded or computed at each access, as by zarr and dask."""
        return not isinstance(self.data, np.ndarray)

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps at which planes can be read without reading all pixels, 1 first."""
        return (1, *sorted(self.levels))

    def read(self, index: Index, field: Field | None = None) -> npt.NDArray[np.generic]:
        """Read a plane, or a field of it.

        Parameters
        ----------
        index : Index
            The plane.
        field : Field, optional
            The part to read; without a level of its step, from full resolution: each pixel is
            the mean of those that it stands for.

        Returns
        -------
        ndarray, shape (H, W) or (H, W, 3 or 4)
            Pixels; see `read_plane`.

        Raises
        ------
        ImageFormatError
            If the array has no such plane.
        """
        if field is None:
            return read_plane(self.data, self.planes, index, self.channel)
        if field.step in self.levels:
            level = self.levels[field.step]
            planes = PlaneAxes(tuple(level.shape[: len(self.planes.shape)]), self.planes.axes)
            tops = field.top // field.step, field.left // field.step
            extent = tuple(
                slice(start, start + length)
                for start, length in zip(tops, field.shape, strict=True)
            )
            reduced = read_plane(level, planes, index, self.channel, extent)
            if reduced.size:  # the last pixels of an odd side may have no level
                return _fill(reduced, field.shape)
        pixels = read_plane(self.data, self.planes, index, self.channel, field.extent)
        return _reduce(pixels, field.step)


def _fill(pixels: npt.NDArray[np.generic], shape: tuple[int, int]) -> npt.NDArray[np.generic]:
    """Repeat the last row or column where a level leaves out the rest of an odd side."""
    missing = [length - there for length, there in zip(shape, pixels.shape, strict=False)]
    if not any(missing):
        return pixels
    margins = [(0, count) for count in missing] + [(0, 0)] * (pixels.ndim - 2)
    return np.pad(pixels, margins, mode="edge")


def _reduce(pixels: npt.NDArray[np.generic], step: int) -> npt.NDArray[np.generic]:
    """Take the mean of each step × step pixels, of fewer at the end."""
    if step == 1:
        return pixels
    sums = pixels.astype(np.float64)
    for axis in (0, 1):
        starts = np.arange(0, pixels.shape[axis], step)
        counts = np.diff([*starts, pixels.shape[axis]])
        shape = [1] * pixels.ndim
        shape[axis] = len(counts)
        sums = np.add.reduceat(sums, starts, axis) / counts.reshape(shape)
    is_whole = np.issubdtype(pixels.dtype, np.integer)
    return (np.rint(sums) if is_whole else sums).astype(pixels.dtype)


def levels_by_step(arrays: list[Any], axes: tuple[int, int]) -> dict[int, Any]:
    """Find the levels of a pyramid that are planes at reduced resolution.

    Parameters
    ----------
    arrays : list of array of any kind
        The levels, full resolution first.
    axes : (int, int)
        Rows and columns.

    Returns
    -------
    dict of int to array of any kind
        By step. Levels whose sides are no whole fraction of the full ones, and levels with
        fewer slices, are left out.
    """
    full = tuple(arrays[0].shape)
    levels: dict[int, Any] = {}
    for array in arrays[1:]:
        shape = tuple(array.shape)
        if len(shape) != len(full):
            continue
        step = round(full[axes[1]] / shape[axes[1]])
        others = [n for axis, n in enumerate(shape) if axis not in axes]
        is_plane_wise = others == [n for axis, n in enumerate(full) if axis not in axes]
        fits = all(abs(shape[axis] * step - full[axis]) <= step for axis in axes)
        if is_plane_wise and fits and step > 1:
            levels.setdefault(step, array)
    return levels
