"""Masks carried from a neighbouring slice, as `learning.carried` makes them for one crop.

All masks have half of the crops' resolution.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_promptable.learning.carried import (
    GROWTH,
    LOGIT_SCALE,
    LOGIT_WIDTH,
    MAX_COVERED,
    NOISE_GRID,
    RAGGEDNESS,
    RARE_GROWTH,
    RARE_SHARE,
    SHIFT,
)
from training.on_device.chance import Chance
from training.on_device.depth import depth_inside

PLACES = 8  # that are tried for an absent object's mask
MAX_DISTANCE = 32  # pixels from the border of a mask that is deformed
SURE_DISTANCE = 10  # above which logits say nothing more


def deform_masks(masks: Tensor, chance: Chance) -> Tensor:
    """Shift, grow or shrink masks and make their borders ragged.

    Parameters
    ----------
    masks : Tensor of bool, shape (N, S, S)
        Objects.
    chance : Chance
        Source of random numbers.

    Returns
    -------
    Tensor of bool, shape (N, S / 2, S / 2)
        At half resolution.
    """
    count, side = len(masks), masks.shape[-1] // 2
    halved = masks[:, ::2, ::2]
    diameters = (4 * halved.sum((1, 2)) / torch.pi).sqrt()[:, None, None]
    is_rare = chance.happens(RARE_SHARE, count, 1, 1)
    limits = GROWTH + (RARE_GROWTH - GROWTH) * is_rare
    grid = chance.normal(count, 1, NOISE_GRID, NOISE_GRID)
    noise = F.interpolate(grid, size=side, mode="bilinear")[:, 0]
    growth = limits * chance.uniform(count, 1, 1, low=-1)
    ragged = chance.uniform(count, 1, 1, high=RAGGEDNESS)
    distances = _signed_depth(halved, MAX_DISTANCE) + diameters * (ragged * noise + growth)
    shifts = SHIFT * diameters[:, 0] * chance.normal(count, 2)
    moved = _shift(distances, shifts) > 0
    return torch.where(moved.any(dim=(1, 2), keepdim=True), moved, halved)


def _signed_depth(masks: Tensor, limit: int) -> Tensor:
    """Distance to the border in pixels, at most `limit`, positive inside, (N, h, w)."""
    inside, outside = depth_inside(torch.cat([masks, ~masks]), limit).chunk(2)
    return inside - outside


def _shift(values: Tensor, shifts: Tensor) -> Tensor:
    """Move maps (N, h, w) by (N, 2) columns and rows; their edges are repeated."""
    theta = torch.eye(2, 3, device=values.device).repeat(len(values), 1, 1)
    theta[:, :, 2] = -2 * shifts / values.shape[-1]
    grid = F.affine_grid(theta, [len(values), 1, *values.shape[1:]], align_corners=False)
    return F.grid_sample(values[:, None], grid, padding_mode="border", align_corners=False)[
        :, 0
    ]


def to_logits(masks: Tensor, chance: Chance) -> Tensor:
    """Logits (N, 1, h, w) of a network that answers with masks (N, h, w)."""
    sizes, widths = (
        chance.uniform(len(masks), 1, 1, low=low, high=high)
        for low, high in (LOGIT_SCALE, LOGIT_WIDTH)
    )
    return (sizes * torch.tanh(2 * _signed_depth(masks, SURE_DISTANCE) / widths))[:, None]


def move_to_background(masks: Tensor, is_free: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """Move masks to where they cover hardly anything that is not free.

    Parameters
    ----------
    masks : Tensor of bool, shape (N, h, w)
        Masks.
    is_free : Tensor of bool, shape (N, h, w)
        Background.
    chance : Chance
        Source of random numbers.

    Returns
    -------
    moved : Tensor of bool, shape (N, h, w)
        The masks at other places, as they were where there is no such place.
    is_moved : Tensor of bool, shape (N,)
        Which have been moved.
    """
    side = masks.shape[-1]
    result, is_moved = masks, torch.zeros(len(masks), dtype=torch.bool, device=masks.device)
    areas = masks.sum((1, 2))
    for _ in range(PLACES):
        shifts = (chance.uniform(len(masks), 2, low=-1) * side).round()
        moved = _shift(masks.float(), shifts) > 0.5
        is_whole = moved.sum((1, 2)) == areas
        covered = (moved & ~is_free).sum((1, 2)) / areas.clamp(min=1)
        is_found = is_whole & (covered <= MAX_COVERED) & ~is_moved
        result = torch.where(is_found[:, None, None], moved, result)
        is_moved = is_moved | is_found
    return result, is_moved
