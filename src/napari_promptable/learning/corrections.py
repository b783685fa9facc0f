"""Clicks and strokes that correct answers, for all objects of a batch at once.

They are chosen on the device that the answers are on. Taking the answers to the CPU and
searching each error there would take longer than everything else in a training step.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_promptable.models.prompt_encoder import BACKGROUND, FOREGROUND, PADDING

MAX_DEPTH = 24  # pixels from an error's border, above which depths are alike


def choose_corrections(
    target: Tensor, answer: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Choose a click or a stroke in the error of each answer.

    Half of the clicks lie where a person would click, as deep inside an error as possible; the
    others, and strokes, start anywhere in it.

    Parameters
    ----------
    target, answer : Tensor of bool, shape (N, h, w)
        Objects and answers.
    count : int
        1 for a click, more for a stroke of so many.
    generator : torch.Generator
        Source of chance, on the tensors' device.

    Returns
    -------
    columns_rows : Tensor of float32, shape (N, count, 2)
        Column and row of each.
    codes : Tensor of int64, shape (N, count)
        Foreground or background; padding where there is no error, and where a stroke would
        leave it.
    """
    error = target != answer

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=target.device)

    chance = draw(*error.shape)
    score = error * (1 + chance)
    if count == 1:
        is_deep = draw(len(error), 1, 1) < 0.5
        score = torch.where(is_deep, depth_inside(error) + chance * error, score)
    width = error.shape[-1]
    start = score.flatten(1).argmax(dim=1)
    sign = target.flatten(1).gather(1, start[:, None])
    error = error & (target == sign[:, :, None])
    end = (error * (1 + draw(*error.shape))).flatten(1).argmax(dim=1)
    ends = torch.stack([start, start if count == 1 else end], dim=1)
    ends_xy = torch.stack([ends % width, ends // width], dim=2).float()
    points, is_inside = draw_lines(ends_xy, count, error)
    codes = torch.full_like(is_inside, BACKGROUND, dtype=torch.long).masked_fill(
        sign, FOREGROUND
    )
    return points, codes.masked_fill(~is_inside, PADDING)


def draw_lines(ends_xy: Tensor, count: int, region: Tensor) -> tuple[Tensor, Tensor]:
    """Draw `count` points (N, count, 2) from starts to ends (N, 2, 2); which lie in regions."""
    share = torch.linspace(0, 1, count, device=region.device)[:, None]
    points = torch.lerp(ends_xy[:, :1], ends_xy[:, 1:], share).round()
    index = (points[..., 1] * region.shape[-1] + points[..., 0]).long()
    return points, region.flatten(1).gather(1, index)


def depth_inside(region: Tensor) -> Tensor:
    """Steps from each pixel of regions (N, h, w) to their border, at most `MAX_DEPTH`."""
    eroded = region.to(torch.float32)
    depth = eroded.clone()
    for _ in range(MAX_DEPTH - 1):
        eroded = -F.max_pool2d(-eroded, 3, stride=1, padding=1)
        depth += eroded
    return depth
