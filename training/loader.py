"""The batch of each iteration: drawn by the processor, or by the GPU that learns from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from napari_promptable.learning.batches import Batch, make_batch
from napari_promptable.learning.sampling import CropSampler
from training.on_device import batches as on_device
from training.on_device.images import DeviceImages


@dataclass(frozen=True)
class Stage:
    """Size of the batches from some share of the run on."""

    start: float
    window: int
    num_images: int
    objects_per_image: int


class Source(Protocol):
    """What draws a batch of crops; it follows from the seed and the iteration."""

    def draw(self, stage: Stage, seed: int, iteration: int, carried_per_image: int) -> Batch:
        """Draw the batch of an iteration."""


@dataclass(frozen=True)
class CropSource:
    """Crops cut by the processor one by one."""

    sampler: CropSampler

    def draw(self, stage: Stage, seed: int, iteration: int, carried_per_image: int) -> Batch:
        """Draw the batch of an iteration, in the processor's memory."""
        return make_batch(
            self.sampler,
            stage.window,
            stage.num_images,
            stage.objects_per_image,
            np.random.default_rng([seed, iteration]),
            carried_per_image,
        )


@dataclass(frozen=True)
class DeviceSource:
    """Crops cut by a GPU, all of a batch at once."""

    images: DeviceImages

    def draw(self, stage: Stage, seed: int, iteration: int, carried_per_image: int) -> Batch:
        """Draw the batch of an iteration, in the GPU's memory."""
        return on_device.make_batch(
            self.images,
            stage.window,
            stage.num_images,
            stage.objects_per_image,
            int(np.random.SeedSequence([seed, iteration]).generate_state(1)[0]),
            carried_per_image,
        )


def make_source(sampler: CropSampler, device: torch.device) -> Source:
    """Choose where crops are cut: where the network is."""
    if device.type == "cpu":
        return CropSource(sampler)
    return DeviceSource(DeviceImages(sampler, device))
