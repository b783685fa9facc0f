"""Augmentation of a batch of crops, as `learning.augmentation` changes one."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.on_device.chance import Chance


def augment(images: Tensor, chance: Chance, rng: np.random.Generator) -> Tensor:
    """Change intensities and quality at random.

    Parameters
    ----------
    images : Tensor of float32, shape (B, 3, S, S)
        0 to 1.
    chance : Chance
        What differs from crop to crop.
    rng : numpy.random.Generator
        What differs from batch to batch: the resolution and the width of the blur that some
        crops get.

    Returns
    -------
    Tensor of float32, shape (B, 3, S, S)
        0 to 255.
    """
    changed = _change_quality(_change_colour(images, chance), chance, rng)
    return 255 * changed.clamp(0, 1)


def _change_colour(images: Tensor, chance: Chance) -> Tensor:
    """Inversion, channel shuffles, grey, tint, gamma, brightness and contrast."""
    count = len(images)

    def sometimes(share: float, changed: Tensor, images: Tensor) -> Tensor:
        return torch.where(chance.happens(share, count, 1, 1, 1), changed, images)

    def number(low: float, high: float, channels: int = 1) -> Tensor:
        return chance.uniform(count, channels, 1, 1, low=low, high=high)

    images = sometimes(0.25, 1 - images, images)
    order = chance.uniform(count, 3).argsort(dim=1)[:, :, None, None].expand_as(images)
    images = sometimes(0.25, images.gather(1, order), images)
    weights = -number(0, 1, 3).clamp(min=1e-6).log()  # exponential: a flat Dirichlet's
    grey = (images * weights / weights.sum(dim=1, keepdim=True)).sum(dim=1, keepdim=True)
    images = sometimes(0.25, grey.expand_as(images), images)
    images = sometimes(0.15, images * number(0.2, 1, 3), images)
    images = sometimes(0.5, images.clamp(min=1e-4) ** number(-0.7, 0.7).exp(), images)
    contrasted = (images - 0.5) * number(0.4, 1.3) + 0.5 + number(-0.2, 0.2)
    return sometimes(0.5, contrasted, images)


def _change_quality(images: Tensor, chance: Chance, rng: np.random.Generator) -> Tensor:
    """Loss of resolution, blur, noise and uneven illumination."""
    count, side = len(images), images.shape[-1]
    # The crops of a batch are in no order, so a part of them is as good as a choice.
    coarse, blurred, sharp = images.tensor_split([round(0.2 * count), round(0.3 * count)])
    smaller = int(side * rng.uniform(0.3, 0.9))
    coarse = F.interpolate(coarse, size=smaller, mode="bilinear", antialias=True)
    coarse = F.interpolate(coarse, size=side, mode="bilinear")
    images = torch.cat([coarse, _blur(blurred, *rng.integers(1, 5, 2)), sharp])
    strength = chance.uniform(count, 1, 1, 1, high=0.12) * chance.happens(0.3, count, 1, 1, 1)
    images = images + strength * chance.normal(count, 1, side, side)
    ramp = torch.linspace(-0.5, 0.5, side, device=images.device)
    y, x = chance.normal(2, count, 1, 1)
    shading = torch.tanh(y * ramp[:, None] + x * ramp)[:, None]
    return images * (1 + 0.5 * shading * chance.happens(0.2, count, 1, 1, 1))


def _blur(images: Tensor, rows: int, columns: int) -> Tensor:
    """Mean over so many rows and columns."""
    padding = ((columns - 1) // 2, columns // 2, (rows - 1) // 2, rows // 2)
    padded = F.pad(images, padding, mode="replicate")
    return F.avg_pool2d(padded, (int(rows), int(columns)), stride=1)
