"""Learning of networks that see the whole plane at once, on embeddings that are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from napari_promptable.errors import LearningError
from napari_promptable.learning.batches import Batch, Prompted, draw_prompts, no_prompts
from napari_promptable.learning.crops import Crop
from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.learning.sampling import MIN_OBJECT_AREA, hide
from napari_promptable.models.prompt_encoder import PADDING
from napari_promptable.predict.embeddings import EmbeddingCache, ImageEmbedding
from napari_promptable.predict.predictor import PromptableModel

OBJECTS_PER_STEP = 1  # its answers take some hundred megabytes until their gradients

Embed = Callable[[PromptableModel, npt.NDArray[np.uint8]], ImageEmbedding]
"""Gives a model's embedding of an RGB plane."""


@dataclass(frozen=True, eq=False)
class SharedEmbeddings:
    """Embeddings for models that have the image encoder of one parent.

    Attributes
    ----------
    parent : PromptableModel
        Encodes the planes that the cache does not hold.
    cache : EmbeddingCache
        Embeddings of the parent.
    """

    parent: PromptableModel
    cache: EmbeddingCache

    def __call__(self, model: PromptableModel, image: npt.NDArray[np.uint8]) -> ImageEmbedding:
        """Return the parent's embedding of a plane under the name of another model."""
        embedding = self.cache.embed(self.parent, self.parent.model_id, image, (0, 255))
        return replace(embedding, model_id=model.model_id)


class PlaneSource:
    """Objects of whole planes, whose embeddings are made once. The encoder does not learn.

    Parameters
    ----------
    model : PromptableModel
        The model to start from.
    planes : sequence of LabelledImage
        With objects that are not held out.
    embed : callable
        See `Embed`.

    Raises
    ------
    LearningError
        If the network sees all objects too small.
    """

    def __init__(
        self, model: PromptableModel, planes: Sequence[LabelledImage], embed: Embed
    ) -> None:
        self._model, self._embed = model, embed
        side = model.sam.image_size
        crops = (_whole_plane(p, embed(model, p.image).input_size, side) for p in planes)
        self._planes = [
            (plane.image, crop)
            for plane, crop in zip(planes, crops, strict=True)
            if np.bincount(crop.labels.ravel())[1:].max(initial=0) >= MIN_OBJECT_AREA
        ]
        if not self._planes:
            raise LearningError(
                f"{model.name} is shown each image {side} pixels wide, where the labelled "
                f"objects have less than {MIN_OBJECT_AREA} pixels; learn from smaller images"
            )

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Batch]:
        """See `Source.draw`. A batch shows objects of one plane."""
        image, crop = self._planes[rng.integers(len(self._planes))]
        features = self._embed(self._model, image).features
        drawn = draw_prompts([crop], OBJECTS_PER_STEP, rng)
        nothing = torch.empty(0)  # there are no maps to learn
        batch = Batch(
            images=nothing,
            validity=nothing,
            dense=nothing,
            drawn=_pad(drawn) if self._model.sam.pads_boxes else drawn,
            carried=no_prompts(crop.labels.shape[0]),
        )
        return torch.from_numpy(features[None]), batch


def _whole_plane(plane: LabelledImage, size: tuple[int, int], side: int) -> Crop:
    """Bring a plane's labels to the network's input. Held-out objects are marked."""
    labels = np.asarray(
        Image.fromarray(plane.labels).resize(size[::-1], Image.Resampling.NEAREST)
    )
    rest = ((0, side - size[0]), (0, side - size[1]))
    crop = Crop(
        np.empty((0, 0, 3), np.float32),  # embeddings take its place
        np.pad(labels, rest),
        np.pad(np.ones(size, bool), rest),
        plane.is_complete,
    )
    return hide(crop, plane.held_out)


def _pad(prompted: Prompted) -> Prompted:
    """Add a padding point, as SAM 2 does to boxes."""
    points, codes = prompted.points_xy, prompted.point_labels
    return replace(
        prompted,
        points_xy=torch.cat([points, points.new_zeros(len(points), 1, 2)], dim=1),
        point_labels=torch.cat([codes, codes.new_full((len(codes), 1), PADDING)], dim=1),
    )
