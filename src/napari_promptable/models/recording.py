"""Copies of a mask decoder that keep what it computes on the way.

A copy shares all weights with the network and runs the same layers; the network itself stays
as it is, so that it costs nothing unless it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import torch
from torch import Tensor, nn

from napari_promptable.models.cpu.decoder import TwoWayTransformerPlan
from napari_promptable.models.mask_decoder import (
    Attention,
    TwoWayAttentionBlock,
    TwoWayTransformer,
)
from napari_promptable.models.sam import Sam

M = TypeVar("M", bound=nn.Module)


class Direction(StrEnum):
    """What attends to what in a step of the decoder."""

    TOKENS = "tokens → tokens"
    TOKENS_TO_IMAGE = "tokens → image"
    IMAGE_TO_TOKENS = "image → tokens"


class RecordingAttention(nn.Module):
    """Attention that keeps its weights.

    Parameters
    ----------
    attention : Attention
        Computes the answer, as without the recording.

    Attributes
    ----------
    weights : Tensor, shape (N, heads, T, K)
        Weights of the latest forward pass.
    """

    weights: Tensor

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Attention.forward`."""
        self.weights = self.attention.weights(q, k)
        return self.attention(q, k, v)  # type: ignore[no-any-return]


class RecordingUpscaling(nn.Module):
    """Upscaling that keeps the features, the masks' weights and their dot products.

    Parameters
    ----------
    upscaling : Module
        `MaskUpscaling`, or the same prepared for a CPU.

    Attributes
    ----------
    upscaled : Tensor, shape (N, F, 4 * rows, 4 * columns)
        Features of each pixel in the latest forward pass.
    token_weights : Tensor, shape (N, F, M)
        Weights of each mask.
    logits : Tensor, shape (N, M, 4 * rows, 4 * columns)
        Their dot products.
    """

    upscaled: Tensor
    token_weights: Tensor
    logits: Tensor

    def __init__(self, upscaling: nn.Module) -> None:
        super().__init__()
        self.upscaling = upscaling

    def forward(self, image: Tensor, details: Sequence[Tensor], weights: Tensor) -> Tensor:
        """See `MaskUpscaling.forward`."""
        each_feature = torch.eye(weights.shape[1], dtype=weights.dtype, device=weights.device)
        self.upscaled = self.upscaling(image, details, each_feature.expand(len(image), -1, -1))
        self.token_weights = weights
        self.logits = self.upscaling(image, details, weights)
        return self.logits


@dataclass(frozen=True, eq=False)
class RecordedStep:
    """An attention of the decoder.

    Attributes
    ----------
    block : int
        Number of the two-way block, from 0; the number of blocks for the final attention.
    direction : Direction
        What attends to what.
    attention : RecordingAttention
        Holds the weights after a forward pass.
    """

    block: int
    direction: Direction
    attention: RecordingAttention


@dataclass(frozen=True, eq=False)
class RecordedSam:
    """A network that keeps what its decoder computes.

    Attributes
    ----------
    sam : Sam
        Shares its weights with the network that it was made of.
    steps : tuple of RecordedStep
        In the order in which they are computed.
    upscaling : RecordingUpscaling
        Keeps how the masks are drawn.
    """

    sam: Sam
    steps: tuple[RecordedStep, ...]
    upscaling: RecordingUpscaling


def record_decoder(sam: Sam, num_blocks: int | None = None) -> RecordedSam:
    """Make a copy of a network whose decoder is recorded.

    Parameters
    ----------
    sam : Sam
        Plain, or prepared for a CPU; it is not changed.
    num_blocks : int, optional
        Run only so many two-way blocks before the final attention; all by default.

    Returns
    -------
    RecordedSam
        For one forward pass at a time.
    """
    transformer, steps = _record_transformer(_plain_transformer(sam), num_blocks)
    decoder = _copy_of(sam.mask_decoder)
    upscaling = RecordingUpscaling(decoder.output_upscaling)
    decoder.transformer, decoder.output_upscaling = transformer, upscaling
    recorded = _copy_of(sam)
    recorded.mask_decoder = decoder
    return RecordedSam(recorded, tuple(steps), upscaling)


def count_blocks(sam: Sam) -> int:
    """Count the two-way blocks of a network's decoder."""
    return len(_plain_transformer(sam).layers)


def _plain_transformer(sam: Sam) -> TwoWayTransformer:
    transformer = sam.mask_decoder.transformer
    if isinstance(transformer, TwoWayTransformerPlan):
        transformer = transformer.plain
    assert isinstance(transformer, TwoWayTransformer)
    return transformer


def _record_transformer(
    transformer: TwoWayTransformer, num_blocks: int | None
) -> tuple[TwoWayTransformer, list[RecordedStep]]:
    recorded, steps = _copy_of(transformer), []
    recorded.layers = nn.ModuleList(
        _copy_of(layer) for layer in list(transformer.layers)[:num_blocks]
    )
    for number, block in enumerate(recorded.layers):
        assert isinstance(block, TwoWayAttentionBlock)
        for name, direction in (
            ("self_attn", Direction.TOKENS),
            ("cross_attn_token_to_image", Direction.TOKENS_TO_IMAGE),
            ("cross_attn_image_to_token", Direction.IMAGE_TO_TOKENS),
        ):
            steps.append(_record(block, name, number, direction))
    last = len(recorded.layers)
    name = "final_attn_token_to_image"
    return recorded, [*steps, _record(recorded, name, last, Direction.TOKENS_TO_IMAGE)]


def _record(owner: nn.Module, name: str, block: int, direction: Direction) -> RecordedStep:
    """Put a recording in the place of one of a copy's attentions."""
    attention = RecordingAttention(getattr(owner, name))
    setattr(owner, name, attention)
    return RecordedStep(block, direction, attention)


def _copy_of(module: M) -> M:
    """Copy a module so that its parts can be exchanged. The parts are shared."""
    copied = copy(module)
    copied._modules = dict(module._modules)
    return copied
