"""Values of the preview layer: a light fill between two lines along the border."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_promptable.masks import BoolArray

FILL, LIGHT, DARK = 1, 2, 3
"""What is drawn of an object; 0 is outside."""


def outline_values(mask: BoolArray, width: int) -> npt.NDArray[np.uint8]:
    """Draw a mask with a light line along its border and a dark one inside it.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        What lies beyond the array is outside.
    width : int
        Of each line, in pixels.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        `LIGHT`, `DARK` or `FILL` in the mask, 0 outside.
    """
    inner = shrink_mask(mask, width)
    innermost = shrink_mask(inner, width)
    values = mask.astype(np.uint8) * LIGHT
    values[inner] = DARK
    values[innermost] = FILL
    return values


def shrink_mask(mask: BoolArray, width: int) -> BoolArray:
    """Remove the pixels of a mask that are less than some pixels away from its border."""
    inner = mask.copy()
    for axis in (0, 1):
        line = np.moveaxis(inner, axis, 0)
        before = line.copy()
        line[:width] = line[-width:] = False
        for step in range(1, width + 1):
            line[step:] &= before[:-step]
            line[:-step] &= before[step:]
    return inner
