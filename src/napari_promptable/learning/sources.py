"""Where a learning step gets its embeddings and prompts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_promptable.learning.batches import Batch, prompt_crops
from napari_promptable.learning.crops import Crop
from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.learning.sampling import CropSampler
from napari_promptable.models.sam import Sam

CROP_SIDE = 192  # input pixels
CROPS_AT_ONCE, OBJECTS_PER_CROP, CARRIED_PER_CROP = 4, 4, 1
VIEWS_AT_LEAST, VIEWS_PER_OBJECT = 64, 8


class Source(Protocol):
    """Gives each learning step its images and prompts."""

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Batch]:
        """Draw a batch.

        Returns
        -------
        embedding : Tensor, shape (B, C, rows, columns)
            Embedding of the batch's images, with gradients if the encoder learns.
        batch : Batch
            Prompts and targets.
        """
        ...


def draw_crops(
    own: CropSampler, replay: CropSampler | None, share: float, rng: np.random.Generator
) -> list[Crop]:
    """Draw the crops of a step, each with a chance of coming from the replayed images."""
    samplers = [
        own if replay is None or rng.random() >= share else replay for _ in range(CROPS_AT_ONCE)
    ]
    return [sampler.sample(CROP_SIDE, rng) for sampler in samplers]


def encode_crops(network: Sam, images: Tensor, validity: Tensor) -> Tensor:
    """Encode crops (B, 3, S, S). Padding, where the validity (B, 1, S, S) is 0, is zero."""
    pixels = network.normalise(images) * validity
    embedding: Tensor = network.image_encoder(
        pixels.contiguous(memory_format=torch.channels_last)
    )
    return embedding.float()


@dataclass(frozen=True, eq=False)
class CropSource:
    """New crops for each step, encoded with gradients: the encoder learns, too.

    Attributes
    ----------
    network : Sam
        The network that learns.
    own : CropSampler
        The user's labelled images.
    replay : CropSampler or None
        Images on which the network was trained before.
    replay_share : float
        Share of crops from the latter.
    """

    network: Sam
    own: CropSampler
    replay: CropSampler | None
    replay_share: float

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Batch]:
        """See `Source.draw`."""
        crops = draw_crops(self.own, self.replay, self.replay_share, rng)
        batch = prompt_crops(crops, OBJECTS_PER_CROP, rng, CARRIED_PER_CROP)
        return encode_crops(self.network, batch.images, batch.validity), batch


class ViewSource:
    """Views of the labelled objects that were encoded once. The encoder stays as it is.

    Parameters
    ----------
    source : CropSource
        Gives the crops that become views, and has the network that encodes them.
    num_objects : int
        Number of objects; there are `VIEWS_PER_OBJECT` views of each.
    rng : numpy.random.Generator
        Source of the views.
    check : callable, optional
        Called after each encoding; may raise CancelledError.
    """

    def __init__(
        self,
        source: CropSource,
        num_objects: int,
        rng: np.random.Generator,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._views: list[tuple[Crop, Tensor]] = []
        while len(self._views) < max(VIEWS_AT_LEAST, VIEWS_PER_OBJECT * num_objects):
            crops = draw_crops(source.own, source.replay, source.replay_share, rng)
            with torch.no_grad():
                embedding = encode_crops(source.network, *_stack(crops))
            self._views += list(zip(crops, embedding, strict=True))
            check()

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Batch]:
        """See `Source.draw`."""
        chosen = rng.choice(len(self._views), CROPS_AT_ONCE, replace=False)
        crops, embeddings = zip(*(self._views[n] for n in chosen), strict=True)
        batch = prompt_crops(list(crops), OBJECTS_PER_CROP, rng, CARRIED_PER_CROP)
        return torch.stack(embeddings), batch


def _stack(crops: Sequence[Crop]) -> tuple[Tensor, Tensor]:
    """Images and validity of crops, as in `Batch`."""
    images = np.stack([crop.image for crop in crops]).transpose(0, 3, 1, 2)
    valid: npt.NDArray[np.float32] = np.stack([crop.valid for crop in crops])[:, None].astype(
        np.float32
    )
    return torch.from_numpy(images), torch.from_numpy(valid)


def make_sampler(images: Sequence[LabelledImage]) -> CropSampler:
    """Sampler of some images, balanced by dataset."""
    groups: dict[str, list[LabelledImage]] = {}
    for image in images:
        groups.setdefault(image.dataset, []).append(image)
    return CropSampler(groups)
