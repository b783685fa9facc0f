"""Masks as run lengths for JSON, as COCO writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from napari_promptable.errors import PromptError
from napari_promptable.masks import BoolArray


def encode_mask(mask: BoolArray) -> dict[str, list[int]]:
    """Encode a mask as plain numbers for JSON.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        The mask.

    Returns
    -------
    dict
        ``size``, [H, W], and ``counts``: lengths of the runs of False and True in turn, False
        first, down the columns.

    Notes
    -----
    The uncompressed run-length encoding of COCO (https://cocodataset.org/#format-data).
    """
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [pixels.size]])).tolist()
    starts_true = pixels.size > 0 and bool(pixels[0])
    return {"size": list(mask.shape), "counts": [0, *counts] if starts_true else counts}


def decode_mask(encoded: Mapping[str, Sequence[int]]) -> BoolArray:
    """Undo `encode_mask`. Raises PromptError if the numbers do not make a mask of the size."""
    try:
        height, width = encoded["size"]
        counts = np.asarray(encoded["counts"], int)
        if counts.min(initial=0) < 0 or counts.sum() != height * width:
            raise ValueError(f"{counts.sum()} pixels for {height} × {width}")
        pixels: BoolArray = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        return pixels.reshape((height, width), order="F")
    except (KeyError, TypeError, ValueError) as error:
        raise PromptError(
            f"a mask must have a size and counts that add up to it ({error}); save it again"
        ) from error
