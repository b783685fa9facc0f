"""From low-res logits of the whole image to masks in image pixels, where there is any mask.

SAM resizes logits twice, bilinearly: to the network's padded input, and from its part that
holds image to the image. Both steps together are a matrix for the rows and one for the columns.
A value that comes out is a weighted mean of a few neighbours. So the image is made block by
block, each from the few cells that reach it, and a block is left out where none of these is
positive.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_promptable.models.cpu.packed import can_pack, multiply
from napari_promptable.models.cpu.parallel import one_thread, share_out

_BLOCK = 256  # rows and columns of a block of pixels
_BLOCKS_AT_ONCE = 4  # side by side, 1 MB; threads with small products wait for each other
_AXES_KEPT = 16  # an axis of 4,096 pixels has about 0.3 MB of weights

AxisBlock = tuple[slice, slice, Tensor]
"""Pixels of a block along one axis, cells that reach them, and weights (pixels, cells)."""


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
    rows, columns = (
        split_axis(*sizes)
        for sizes in zip(logits.shape[1:], padded_size, input_size, original_size, strict=True)
    )
    return upsample_blocks(logits, rows, columns, original_size, threshold)


@one_thread()
@torch.inference_mode()
def upsample_blocks(
    logits: Tensor,
    rows_in_blocks: list[AxisBlock],
    columns_in_blocks: list[AxisBlock],
    size: tuple[int, int],
    threshold: float,
) -> npt.NDArray[np.bool_]:
    """Bring logits to pixels and threshold them, block by block.

    Parameters
    ----------
    logits : Tensor of float32, shape (M, h, w)
        Unthresholded masks.
    rows_in_blocks, columns_in_blocks : list of AxisBlock
        Which pixels, from which cells.
    size : (int, int)
        Height and width of the image; pixels in no block are background.
    threshold : float
        Above it is foreground.

    Returns
    -------
    ndarray of bool, shape (M, H, W)
        Masks.
    """
    masks = np.zeros((len(logits), *size), bool)
    logits = logits.float().cpu()
    is_positive = logits.numpy() > threshold
    packed = can_pack()

    def fill(part: tuple[int, AxisBlock, list[AxisBlock]]) -> None:
        k, (rows, from_rows, by_row), blocks = part
        widened = [
            multiply(by_column, logits[k, from_rows, from_columns], packed)
            for _, from_columns, by_column in blocks
        ]
        values = multiply(by_row, torch.cat(widened), packed)
        columns = slice(blocks[0][0].start, blocks[-1][0].stop)
        np.greater(values.numpy(), threshold, out=masks[k, rows, columns])

    share_out(
        fill,
        [
            (k, rows, blocks)
            for k, is_foreground in enumerate(is_positive)
            for rows, blocks in _find_reached(is_foreground, rows_in_blocks, columns_in_blocks)
        ],
    )
    return masks


def _find_reached(
    is_positive: npt.NDArray[np.bool_],
    rows_in_blocks: list[AxisBlock],
    columns_in_blocks: list[AxisBlock],
) -> Iterator[tuple[AxisBlock, list[AxisBlock]]]:
    """Find the pixels that positive cells (h, w) reach: some rows, and blocks side by side."""
    firsts = range(0, len(columns_in_blocks), _BLOCKS_AT_ONCE)
    for rows, first in product(rows_in_blocks, firsts):
        blocks = columns_in_blocks[first : first + _BLOCKS_AT_ONCE]
        reached = [
            i for i, (_, cells, _) in enumerate(blocks) if is_positive[rows[1], cells].any()
        ]
        if reached:
            yield rows, blocks[reached[0] : reached[-1] + 1]


@lru_cache(_AXES_KEPT)
def split_axis(low_res: int, padded: int, valid: int, original: int) -> list[AxisBlock]:
    """Split an axis of the image into blocks.

    Parameters
    ----------
    low_res, padded, valid, original : int
        Lengths of the axis: logits, input with padding, input without, image.

    Returns
    -------
    list of AxisBlock
        From the first pixel to the last; the weights of a pixel add up to 1.
    """
    cells = torch.eye(low_res)[None]
    pixels = F.interpolate(cells, padded, mode="linear")[..., :valid]
    weights = F.interpolate(pixels, original, mode="linear")[0].T
    return _split(weights, 0)


def split_positions(
    first: int, positions: npt.NDArray[np.floating], count: int
) -> list[AxisBlock]:
    """Split a run of pixels into blocks, given where each lies among the cells of an axis.

    Parameters
    ----------
    first : int
        Pixel of the first position.
    positions : ndarray, shape (P,)
        Of consecutive pixels' centres; cell k reaches from k to k + 1. Beyond the outer cells'
        centres, pixels get the outer values.
    count : int
        Number of cells.

    Returns
    -------
    list of AxisBlock
        From the first pixel to the last, with weights of linear interpolation.
    """
    centred = np.clip(positions - 0.5, 0, count - 1)
    distances = np.abs(centred[:, None] - np.arange(count))
    return _split(torch.from_numpy(np.maximum(0, 1 - distances).astype(np.float32)), first)


def _split(weights: Tensor, first: int) -> list[AxisBlock]:
    """Cut weights (pixels, cells) into blocks of pixels and the cells that reach them."""
    blocks = []
    for part in weights.split(_BLOCK):
        reached = part.any(dim=0).nonzero()
        cells = slice(int(reached[0]), int(reached[-1]) + 1)
        blocks.append((slice(first, first + len(part)), cells, part[:, cells].contiguous()))
        first += len(part)
    return blocks
