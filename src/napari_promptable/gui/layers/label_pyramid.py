"""Labels at several resolutions, written as one array: napari reads the one that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class LabelPyramid:
    """The full resolution of some label arrays. Lower ones follow what is written to it.

    Pixel k of a lower resolution of step s is pixel k × s of the full one, so that nothing has
    to be read again.

    Parameters
    ----------
    levels : sequence of array
        The full resolution first; the shapes of the others are whole fractions of its shape,
        rounded up.

    Attributes
    ----------
    shape, dtype, ndim
        Of the full resolution.
    """

    def __init__(self, levels: Sequence[Any]) -> None:
        self._full, *self._reduced = levels
        self.shape, self.ndim = tuple(self._full.shape), len(self._full.shape)
        self.dtype = np.dtype(self._full.dtype)

    def __getitem__(self, region: Any) -> npt.NDArray[np.integer[Any]]:
        """Read a region at full resolution."""
        return np.asarray(self._full[region])

    def __setitem__(self, region: tuple[int | slice, ...], values: npt.ArrayLike) -> None:
        """Write a region, given as a position or a slice for each axis, at all resolutions."""
        parts = [
            slice(*part.indices(length)) if isinstance(part, slice) else part
            for part, length in zip(region, self.shape, strict=True)
        ]
        size = [part.stop - part.start for part in parts if isinstance(part, slice)]
        pixels = np.broadcast_to(np.asarray(values, self.dtype), size)
        self._full[tuple(parts)] = pixels
        for level in self._reduced:
            target, chosen = _reduced(parts, self.shape, level.shape)
            if pixels[chosen].size:
                level[target] = pixels[chosen]


def _reduced(
    parts: Sequence[int | slice], full: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[int | slice, ...], tuple[slice, ...]]:
    """Region of a lower resolution, and which of the written pixels belong there."""
    target: list[int | slice] = []
    chosen = []
    for part, length, reduced in zip(parts, full, shape, strict=True):
        if not isinstance(part, slice):
            target.append(part)
            continue
        step = -(-length // reduced)
        first, last = -(-part.start // step), -(-part.stop // step)
        target.append(slice(first, last))
        chosen.append(slice(first * step - part.start, None, step))
    return tuple(target), tuple(chosen)
