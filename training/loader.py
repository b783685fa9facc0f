"""Batches drawn ahead by processes, so that the network does not wait for them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from napari_promptable.learning.batches import Batch, make_batch
from napari_promptable.learning.sampling import CropSampler

MANY = 10**9  # batches that are never all drawn


@dataclass(frozen=True)
class Stage:
    """Size of the batches from some share of the run on."""

    start: float
    window: int
    num_images: int
    objects_per_image: int


@dataclass(frozen=True, eq=False)
class Batches(Dataset[Batch]):
    """The batch of each iteration; it follows from the seed and the iteration.

    Attributes
    ----------
    sampler : CropSampler
        Training data.
    stages : sequence of Stage
        Sizes of the batches, in the order of their starts.
    seed : int
        Of the random numbers.
    carried_per_image : int
        Carried masks of each crop.
    scale : int
        Images of a batch, relative to its stage.
    has_fixed_shapes : bool
        Whether objects are repeated until their number depends on the stage only: a GPU's
        convolutions are planned for each shape, for longer than a step takes.
    share : multiprocessing.Value
        Share of the run that is done; all processes see it.
    """

    sampler: CropSampler
    stages: Sequence[Stage]
    seed: int
    carried_per_image: int
    scale: int = 1
    has_fixed_shapes: bool = False
    share: Synchronized[float] = field(default_factory=lambda: multiprocessing.Value("d", 0.0))

    def __getitem__(self, iteration: int) -> Batch:
        """Draw the batch of an iteration."""
        stage = [stage for stage in self.stages if stage.start <= self.share.value][-1]
        num_images = self.scale * stage.num_images
        batch = make_batch(
            self.sampler,
            stage.window,
            num_images,
            stage.objects_per_image,
            np.random.default_rng([self.seed, iteration]),
            self.carried_per_image,
        )
        if self.has_fixed_shapes:
            return batch.repeated(
                num_images * stage.objects_per_image, num_images * self.carried_per_image
            )
        return batch


def load_batches(
    batches: Batches, first: int, workers: int, device: torch.device
) -> Iterator[Batch]:
    """Draw batches one after the other.

    Parameters
    ----------
    batches : Batches
        What is drawn.
    first : int
        Iteration of the first one.
    workers : int
        Processes that draw ahead; 0 draws each batch when it is asked for.
    device : torch.device
        Where the batches go; if it is a GPU, they wait in memory that it reads directly.

    Yields
    ------
    Batch
        On the device.
    """
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(first, first + MANY),
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
        pin_memory=device.type == "cuda",
    )
    for batch in loader:
        yield batch.to(device)
