"""Boxes, clicks and strokes of a batch, as `learning.prompts` draws them for one object."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_promptable.learning.corrections import draw_lines
from napari_promptable.learning.prompts import BOX_SHARE, CENTRAL_SHARE, JITTERED_SHARE
from napari_promptable.learning.targets import BOX_JITTER, MAX_JITTER_PX
from napari_promptable.models.prompt_encoder import (
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    FOREGROUND,
    PADDING,
)
from training.on_device.chance import Chance
from training.on_device.depth import depth_inside

FINE_DEPTHS = 6  # that are told apart near the border in looking for it, at half resolution
DEPTHS, DEPTH_REACH = 16, 3  # and everywhere, in steps of three pixels


def draw_prompts(masks: Tensor, stroke_points: int, chance: Chance) -> tuple[Tensor, Tensor]:
    """Draw a box, a click or a stroke for each object.

    Parameters
    ----------
    masks : Tensor of bool, shape (N, S, S)
        Objects.
    stroke_points : int
        1 for clicks, more for strokes of so many.
    chance : Chance
        Source of random numbers.

    Returns
    -------
    points_xy : Tensor of float32, shape (N, 1 + stroke_points, 2)
        Clicks and corners in crop pixels.
    codes : Tensor of int64, shape (N, 1 + stroke_points)
        What they are; unused ones are padding.
    """
    count = len(masks)
    is_box = chance.happens(BOX_SHARE, count)
    if stroke_points > 1:
        clicks, codes = _draw_strokes(masks, stroke_points, chance)
    else:
        clicks, codes = _draw_clicks(masks, chance)
    points, codes = F.pad(clicks, (0, 0, 0, 1)), F.pad(codes, (0, 1), value=PADDING)
    boxes, box_codes = torch.zeros_like(points), torch.full_like(codes, PADDING)
    boxes[:, :2] = _draw_boxes(masks, chance).unflatten(1, (2, 2))
    box_codes[:, 0], box_codes[:, 1] = BOX_TOP_LEFT, BOX_BOTTOM_RIGHT
    return (
        torch.where(is_box[:, None, None], boxes, points),
        torch.where(is_box[:, None], box_codes, codes),
    )


def _draw_boxes(masks: Tensor, chance: Chance) -> Tensor:
    """Boxes (N, 4) as x0, y0, x1, y1, most of them jittered."""
    boxes = mask_boxes_xyxy(masks)
    sizes = (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)
    noise = (BOX_JITTER * sizes * chance.normal(*boxes.shape)).clamp(
        -MAX_JITTER_PX, MAX_JITTER_PX
    )
    moved = (boxes + noise * chance.happens(JITTERED_SHARE, len(boxes), 1)).clamp(
        0, masks.shape[-1] - 1
    )
    low, high = (
        moved[:, :2].minimum(moved[:, 2:]),
        moved[:, :2].maximum(moved[:, 2:]),
    )
    return torch.cat([low, high.maximum(low + 1)], dim=1)


def mask_boxes_xyxy(masks: Tensor) -> Tensor:
    """First and last column and row of masks (N, S, S): (N, 4) as x0, y0, x1, y1."""
    last = masks.shape[-1] - 1
    columns, rows = masks.any(dim=1).byte(), masks.any(dim=2).byte()
    first = [each.argmax(dim=1) for each in (columns, rows)]
    end = [last - each.flip(1).argmax(dim=1) for each in (columns, rows)]
    return torch.stack([*first, *end], dim=1).float()


def _draw_clicks(masks: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
    """One click in each object, half of them as deep inside as possible."""
    anywhere = random_points_xy(masks, chance)
    is_deep = chance.happens(CENTRAL_SHARE, len(masks), 1)
    points = torch.where(is_deep, deepest_points_xy(masks), anywhere)[:, None]
    return points, torch.full(points.shape[:2], FOREGROUND, device=points.device)


def _draw_strokes(masks: Tensor, count: int, chance: Chance) -> tuple[Tensor, Tensor]:
    """Lines between two pixels of each object; points that leave it are padding."""
    ends_xy = torch.stack([random_points_xy(masks, chance) for _ in range(2)], dim=1)
    points, is_inside = draw_lines(ends_xy, count, masks)
    codes = torch.full(is_inside.shape, PADDING, device=masks.device)
    return points, codes.masked_fill(is_inside, FOREGROUND)


def random_points_xy(masks: Tensor, chance: Chance) -> Tensor:
    """A pixel of each mask (N, S, S), (N, 2)."""
    return _to_xy((masks * (1 + chance.uniform(*masks.shape))).flatten(1).argmax(dim=1), masks)


def deepest_points_xy(masks: Tensor) -> Tensor:
    """The pixel of each mask (N, S, S) that is farthest from its border, about, (N, 2)."""
    halved = masks[:, ::2, ::2]
    # Objects that half of the pixels miss are small: any of their pixels is a deep one.
    halved = halved | (F.max_pool2d(masks[:, None].float(), 2)[:, 0] > 0) & ~halved.any(
        dim=(1, 2), keepdim=True
    )
    padded = F.pad(halved, (1, 1, 1, 1))
    depths = depth_inside(padded, FINE_DEPTHS) + depth_inside(padded, DEPTHS, DEPTH_REACH)
    depths = depths[:, 1:-1, 1:-1]
    # Of pixels of one depth, the one in their middle.
    depths = depths + F.avg_pool2d(depths[:, None], 9, stride=1, padding=4)[:, 0] / 16
    index = depths.flatten(1).argmax(dim=1)
    side = halved.shape[-1]
    block = 2 * torch.stack([index % side, index // side], dim=1)
    return _inside_block(masks, block)


def _inside_block(masks: Tensor, block_xy: Tensor) -> Tensor:
    """The first pixel of a block of 2 × 2 that lies in each mask."""
    width = masks.shape[-1]
    corner = block_xy[:, 1] * width + block_xy[:, 0]
    flat = torch.stack([corner, corner + 1, corner + width, corner + width + 1], dim=1)
    first = masks.flatten(1).gather(1, flat).int().argmax(dim=1, keepdim=True)
    return _to_xy(flat.gather(1, first)[:, 0], masks)


def _to_xy(index: Tensor, masks: Tensor) -> Tensor:
    width = masks.shape[-1]
    return torch.stack([index % width, index // width], dim=1).float()
