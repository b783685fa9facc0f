"""From low-res logits of the whole image to masks in image pixels, where there is any mask.

SAM resizes logits twice, bilinearly: to the network's padded input, and from its part that
holds image to the image. A value that comes out is a weighted mean of its neighbours, so that
it is positive only where one of these is; everywhere else nothing is computed. Both steps
together are a matrix for the rows and one for the columns.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

_AXES_KEPT = 16  # matrices; 4 MB each for an image side of 4,096 pixels


def upsample_masks(
    logits: Tensor,
    padded_size: tuple[int, int],
    input_size: tuple[int, int],
    original_size: tuple[int, int],
    threshold: float,
) -> npt.NDArray[np.bool_]:
    """Bring logits to image pixels and threshold them.

    Parameters
    ----------
    logits : Tensor of float32, shape (M, h, w)
        Unthresholded masks of the padded input.
    padded_size, input_size, original_size : (int, int)
        Height and width of the network's input with and without padding, and of the image.
    threshold : float
        Above it is foreground.

    Returns
    -------
    ndarray of bool, shape (M, H, W)
        Masks of the image.
    """
    masks = np.zeros((len(logits), *original_size), bool)
    axes = [
        resizing_matrix(*sizes)
        for sizes in zip(logits.shape[1:], padded_size, input_size, original_size, strict=True)
    ]
    for mask, low_res in zip(masks, logits.float().cpu(), strict=True):
        is_positive = low_res > threshold
        if not is_positive.any():
            continue
        (rows_in, rows_out, by_row), (columns_in, columns_out, by_column) = (
            _reached(axis, is_positive.any(dim=other))
            for axis, other in zip(axes, (1, 0), strict=True)
        )
        values = by_row @ low_res[rows_in, columns_in] @ by_column.T
        mask[rows_out, columns_out] = (values > threshold).numpy()
    return masks


def _reached(axis: Tensor, is_positive: Tensor) -> tuple[slice, slice, Tensor]:
    """Low-res and image range that positive cells reach, and the matrix between the two."""
    has_weight = axis > 0
    out = _extent(has_weight[:, is_positive].any(dim=1))
    into = _extent(has_weight[out].any(dim=0))
    return into, out, axis[out, into]


def _extent(is_set: Tensor) -> slice:
    """Smallest range that holds all that is set; empty if nothing is."""
    indices = is_set.nonzero().flatten()
    return slice(int(indices[0]), int(indices[-1]) + 1) if len(indices) else slice(0)


@lru_cache(_AXES_KEPT)
def resizing_matrix(low_res: int, padded: int, valid: int, original: int) -> Tensor:
    """Weights of low-res cells, along one axis, in the pixels of the image.

    Parameters
    ----------
    low_res, padded, valid, original : int
        Lengths of the axis: logits, input with padding, input without, image.

    Returns
    -------
    Tensor of float32, shape (original, low_res)
        Rows add up to 1.
    """
    cells = torch.eye(low_res)[None]
    pixels = F.interpolate(cells, padded, mode="linear")[..., :valid]
    return F.interpolate(pixels, original, mode="linear")[0].T.contiguous()
