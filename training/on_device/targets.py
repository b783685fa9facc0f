"""Targets of the maps of all objects, as `learning.targets` computes them for one crop."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_promptable.learning.targets import KNOWN_BACKGROUND, MAX_OFFSET
from training.on_device.depth import grow_cross
from training.on_device.images import Cut
from training.on_device.objects import Objects


def dense_targets(cut: Cut, objects: Objects, num_labels: int) -> Tensor:
    """Targets of a batch.

    Parameters
    ----------
    cut : Cut
        Crops.
    objects : Objects
        Of their labels.
    num_labels : int
        Above all labels.

    Returns
    -------
    Tensor of float32, shape (B, 6, S / 2, S / 2)
        As `napari_promptable.learning.targets.dense_targets`.
    """
    labels = cut.labels[:, ::2, ::2]
    halved = Objects.of(labels, num_labels)
    is_object = (labels > 0).float()
    radius = (halved.areas.clamp(min=1) / torch.pi).sqrt()
    steps = torch.arange(labels.shape[-1], device=labels.device).float()
    maps = [is_object, _borders(labels)]
    for position in (steps[:, None], steps):
        grid = position.expand(labels.shape)
        offset = (halved.mean(grid)[halved.index] - grid) / radius[halved.index]
        maps.append(offset.clamp(-MAX_OFFSET, MAX_OFFSET) * is_object)
    maps.append(_log2_diameters(objects)[objects.index[:, ::2, ::2]] * is_object)
    return torch.stack([*maps, _known(cut)[:, ::2, ::2].float()], dim=1)


def _borders(labels: Tensor) -> Tensor:
    """One where one of four neighbours has another label."""
    padded = F.pad(labels[:, None].float(), (1, 1, 1, 1), mode="replicate")[:, 0]
    neighbours = (
        padded[:, :-2, 1:-1],
        padded[:, 2:, 1:-1],
        padded[:, 1:-1, :-2],
        padded[:, 1:-1, 2:],
    )
    border = torch.zeros_like(labels, dtype=torch.bool)
    for neighbour in neighbours:
        border |= neighbour != labels
    return border.float()


def _log2_diameters(objects: Objects) -> Tensor:
    """Binary logarithm of each object's diameter, 0 where it leaves the crop."""
    sizes = (4 * objects.areas.clamp(min=1) / torch.pi).sqrt().log2().clamp(min=0)
    index = objects.index
    for edge in (index[:, 0], index[:, -1], index[:, :, 0], index[:, :, -1]):
        sizes.index_fill_(0, edge.flatten(), 0)
    return sizes


def _known(cut: Cut) -> Tensor:
    """Pixels whose label can be trusted: of incomplete images, objects and what is near."""
    near = (cut.labels > 0).float()[:, None]
    for _ in range(KNOWN_BACKGROUND):
        near = grow_cross(near, 1)
    return cut.valid & (cut.is_complete[:, None, None] | (near[:, 0] > 0))
