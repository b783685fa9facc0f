"""Distance to the border of regions, counted in steps: a GPU has no exact transform at hand."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def depth_inside(region: Tensor, steps: int, reach: int = 1) -> Tensor:
    """Steps of `reach` pixels from each pixel of regions (N, h, w) to their border.

    Where single pixels are counted, octagons are equally deep, otherwise squares.
    """
    outside = 1 - region[:, None].float()
    depth = 1 - outside
    for step in range(steps - 1):
        is_cross = reach == 1 and step % 2 == 0
        outside = (grow_cross if is_cross else _grow_square)(outside, reach)
        depth += 1 - outside
    return depth[:, 0]


def _grow_square(region: Tensor, reach: int) -> Tensor:
    return _grow_rows(_grow_columns(region, reach), reach)


def grow_cross(region: Tensor, reach: int) -> Tensor:
    """Grow regions (N, 1, h, w) by so many pixels along rows and columns."""
    return _grow_rows(region, reach).maximum(_grow_columns(region, reach))


def _grow_rows(region: Tensor, reach: int) -> Tensor:
    return F.max_pool2d(region, (2 * reach + 1, 1), stride=1, padding=(reach, 0))


def _grow_columns(region: Tensor, reach: int) -> Tensor:
    return F.max_pool2d(region, (1, 2 * reach + 1), stride=1, padding=(0, reach))
