"""A fingerprint of an image's pixels: tells whether a saved session belongs to an image."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import xxhash

from napari_promptable.planes import PlaneAxes, Region

_MAX_BYTES = 2**28  # in memory, that much is hashed whole, in about 0.1 s
_BLOCK = 64  # px, side of a block of a larger or lazy image


def fingerprint_of(data: Any, planes: PlaneAxes) -> str:
    """Compute the fingerprint of an image.

    Of images that are large or not in memory, it covers nine blocks of each of three planes:
    corners, edges and centre, so that a file of any size is read in a moment.

    Parameters
    ----------
    data : array of any kind
        The image at full resolution; an RGB axis may follow the axes of `planes`.
    planes : PlaneAxes
        How it is cut into planes.

    Returns
    -------
    str
        Equal for equal pixels of the same dtype and shape; empty for Python objects.
    """
    if np.dtype(data.dtype).hasobject:
        return ""
    digest = xxhash.xxh3_128(f"{np.dtype(data.dtype).str}|{tuple(data.shape)}".encode())
    is_in_memory = isinstance(data, np.ndarray) and not isinstance(data, np.memmap)
    if is_in_memory and data.nbytes <= _MAX_BYTES:
        digest.update(np.ascontiguousarray(data).view(np.uint8).data)
    else:
        for region in _sample(planes):
            block = np.ascontiguousarray(np.asarray(data[region]))
            digest.update(block.view(np.uint8).data)
    return digest.hexdigest()


def _sample(planes: PlaneAxes) -> Iterator[Region]:
    """Blocks of the first, the middle and the last plane."""
    others = [planes.shape[axis] for axis in planes.other_axes]
    indices = {tuple(round(part * (n - 1)) for n in others) for part in (0, 0.5, 1)}
    rows, columns = (_starts(length) for length in planes.plane_shape)
    for index, row, column in product(sorted(indices), rows, columns):
        block = slice(row, row + _BLOCK), slice(column, column + _BLOCK)
        yield planes.region(index, *block)


def _starts(length: int) -> list[int]:
    """First rows, or columns, of the blocks along one axis."""
    last = max(0, length - _BLOCK)
    return sorted({0, last // 2, last})
