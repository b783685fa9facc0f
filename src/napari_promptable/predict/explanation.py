"""What mask decoder and image encoder computed on the way to an answer (numpy only)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class AttentionStep:
    """Attention weights of one step of the decoder.

    Attributes
    ----------
    block : int
        Number of the two-way block, from 0; the number of blocks for the final attention.
    direction : str
        "tokens → tokens", "tokens → image" or "image → tokens".
    weights : ndarray of float32, shape (heads, queries, keys)
        Of what attends (queries) to what (keys): tokens in the order of `Explanation.tokens`,
        cells of the image embedding row by row. 0 to 1, the sum over the keys is 1.
    """

    block: int
    direction: str
    weights: FloatArray

    @property
    def has_map(self) -> bool:
        """Whether cells of the image take part."""
        return self.direction != "tokens → tokens"


@dataclass(frozen=True, eq=False)
class Explanation:
    """A forward pass of the mask decoder for one object.

    Attributes
    ----------
    tokens : tuple of str
        Names of the T tokens: "IoU" and "mask 0" to "mask 3" (in SAM 2 after "object score"),
        then the prompts: "click 1 +", "click 2 −", …, "box top left", "box bottom right",
        "padding".
    num_blocks : int
        Number of two-way blocks.
    steps : tuple of AttentionStep
        In the order in which they are computed: in each block tokens → tokens, tokens → image
        and image → tokens; finally tokens → image.
    grid : (int, int)
        Rows and columns of the image embedding that the decoder saw.
    upscaled : ndarray of float32, shape (F, 4 * rows, 4 * columns)
        Features of each pixel of the masks.
    token_weights : ndarray of float32, shape (4, F)
        Weights that each mask token became.
    logits : ndarray of float32, shape (4, 4 * rows, 4 * columns)
        Their dot products with `upscaled`, which are the masks before they are resized; above 0
        is inside.
    predicted_iou : ndarray of float32, shape (4,)
        Predicted IoU of each mask.
    logits_by_block : ndarray of float32, shape (num_blocks + 1, 4, 4 * rows, 4 * columns)
        The masks if the final attention came after no block, after the first, …; the last are
        `logits`.
    cell_origin_yx, cell_size_yx : ndarray of float64, shape (2,)
        The centre of cell (row, column) lies at origin + size * (row, column) in pixels of the
        plane.
    """

    tokens: tuple[str, ...]
    num_blocks: int
    steps: tuple[AttentionStep, ...]
    grid: tuple[int, int]
    upscaled: FloatArray
    token_weights: FloatArray
    logits: FloatArray
    predicted_iou: FloatArray
    logits_by_block: FloatArray
    cell_origin_yx: FloatArray
    cell_size_yx: FloatArray

    def token_maps(self, step: AttentionStep, head: int | None = None) -> FloatArray:
        """Attention between each token and the cells of the image.

        Parameters
        ----------
        step : AttentionStep
            One whose `has_map` is true.
        head : int, optional
            One head; by default the mean of all.

        Returns
        -------
        ndarray of float32, shape (T, rows, columns)
            Weights that each token gives to the cells, or that the cells give to each token.
        """
        weights = mean_over_heads(step, head)
        by_token = weights if step.direction == "tokens → image" else weights.T
        return by_token.reshape(-1, *self.grid)

    def cell_at(self, position_yx: npt.ArrayLike) -> tuple[int, int] | None:
        """Row and column of the cell at a position of the plane, or None outside the grid."""
        cell = (np.asarray(position_yx, float) - self.cell_origin_yx) / self.cell_size_yx
        row, column = np.floor(cell + 0.5).astype(int).tolist()
        rows, columns = self.grid
        return (row, column) if 0 <= row < rows and 0 <= column < columns else None


@dataclass(frozen=True, eq=False)
class EncoderAttention:
    """What one cell attends to in the blocks that see the whole image.

    Attributes
    ----------
    cell : (int, int)
        Row and column of the cell.
    blocks : tuple of int
        Numbers of the blocks, from 0; the blocks between them attend inside windows.
    weights : ndarray of float32, shape (blocks, heads, rows, columns)
        Weight that the cell gives to each cell, 0 to 1; the sum over all cells is 1. The image
        lies at the top left; the rest of the square is padding.
    cell_origin_yx, cell_size_yx : ndarray of float64, shape (2,)
        The centre of cell (row, column) lies at origin + size * (row, column) in pixels of the
        image.
    """

    cell: tuple[int, int]
    blocks: tuple[int, ...]
    weights: FloatArray
    cell_origin_yx: FloatArray
    cell_size_yx: FloatArray


def mean_over_heads(step: AttentionStep, head: int | None = None) -> FloatArray:
    """Weights (queries, keys) of one head, or the mean of all."""
    weights: FloatArray = step.weights.mean(axis=0) if head is None else step.weights[head]
    return weights
