"""What a training step minimises, and the moving average of the weights that it moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import compress

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from napari_promptable.learning.batches import Batch
from napari_promptable.learning.losses import instance_loss, size_loss
from napari_promptable.learning.rounds import (
    Figures,
    answer_carried,
    answer_drawn,
    make_scene,
)
from napari_promptable.models.sam import Sam

CARRIED_WEIGHT = 0.5  # of the loss of carried masks


@dataclass(frozen=True)
class Weights:
    """How much the tasks beside prompts count. A network without the head skips the task.

    Attributes
    ----------
    instances : float
        Weight of the maps of all objects.
    sizes : float
        Weight of the estimated object sizes.
    """

    instances: float = 0.5
    sizes: float = 0.5


def maps_loss(
    model: Sam, embedding: Tensor, batch: Batch, weights: Weights, *, is_detached: bool = False
) -> tuple[Tensor, Figures]:
    """Loss of the maps of all objects and of their sizes, for the heads that there are.

    Parameters
    ----------
    model : Sam
        The network.
    embedding : Tensor, shape (B, C, rows, columns)
        Embedding of the batch's images.
    batch : Batch
        Its targets.
    weights : Weights
        Weight of each task.
    is_detached : bool, default False
        Whether the maps leave the encoder as it is.

    Returns
    -------
    loss : Tensor, scalar
        Weighted sum.
    figures : dict of str to float
        Unweighted losses, for the curve.
    """
    total, figures = embedding.new_zeros(()), Figures()
    if model.instance_head is not None:
        maps = model.instance_head(embedding.detach() if is_detached else embedding)
        instances = instance_loss(maps, batch.dense)
        total = total + weights.instances * instances
        figures["instance_loss"] = instances.detach()
    if model.size_head is not None:
        cell = model.patch_stride // 2  # targets have half of the input's resolution
        target = batch.dense[:, 4, cell // 2 :: cell, cell // 2 :: cell]
        sizes = size_loss(model.size_head(embedding), target)
        total = total + weights.sizes * sizes
        figures["size_error"] = sizes.detach()
    return total, figures


def prompts_loss(
    model: Sam,
    embedding: Tensor,
    batch: Batch,
    rng: np.random.Generator,
    shown_share: float = 0.0,
) -> tuple[Tensor, Figures]:
    """Loss of the answers to all prompts of a batch.

    Parameters
    ----------
    model : Sam
        The network.
    embedding : Tensor, shape (B, C, rows, columns)
        Embedding of the batch's images.
    batch : Batch
        Prompted objects.
    rng : numpy.random.Generator
        Source of the corrections.
    shown_share : float, default 0
        See `prompt_loss`.

    Returns
    -------
    loss : Tensor, scalar
        Sum over drawn prompts and, with `CARRIED_WEIGHT`, carried masks.
    figures : dict of str to float
        IoUs, for the curve.
    """
    scene = make_scene(model, embedding, rng, shown_share)
    is_cpu = embedding.device.type == "cpu"  # where this is faster than torch's own choice
    with sdpa_kernel(SDPBackend.MATH) if is_cpu else nullcontext():
        drawn, drawn_figures = answer_drawn(scene, batch, rng)
        carried, carried_figures = answer_carried(scene, batch, rng)
    return drawn + CARRIED_WEIGHT * carried, drawn_figures | carried_figures


@torch.no_grad()
def update_average(
    average: Mapping[str, Tensor], current: Mapping[str, Tensor], decay: float
) -> None:
    """Move averaged weights towards the current ones, and copy whole numbers.

    Parameters
    ----------
    average, current : mapping of str to Tensor
        Weights with the same names in the same order; the first are changed.
    decay : float
        Share of its weights that the average keeps, 0 to 1.
    """
    kept, new = list(average.values()), list(current.values())
    is_float = [tensor.is_floating_point() for tensor in kept]
    torch._foreach_lerp_(
        list(compress(kept, is_float)), list(compress(new, is_float)), 1 - decay
    )
    for tensor, value in zip(kept, new, strict=True):
        if not tensor.is_floating_point():
            tensor.copy_(value)


def mean_of_weights(several: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Average weights of networks that set out from the same ones, name by name."""
    return {
        name: torch.stack([each[name] for each in several]).mean(dim=0) for name in several[0]
    }
