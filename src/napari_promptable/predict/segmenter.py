"""The interfaces through which everything above this folder encodes and predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from napari_promptable.masks import BoolArray
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.progress import IsCancelled
from napari_promptable.prompts import PromptSet

if TYPE_CHECKING:  # imports torch
    from napari_promptable.predict.object_memory import Trail


class Segmenter(Protocol):
    """A model on this computer or another: `PromptableModel` or `RemoteSegmenter`."""

    @property
    def carries_masks(self) -> bool:
        """Whether it finds an object better by a neighbouring slice's mask than by a box."""
        ...

    def encode(
        self,
        image: npt.NDArray[np.generic],
        contrast_limits: tuple[float, float] | None = None,
        *,
        is_cancelled: IsCancelled | None = None,
    ) -> ImageEmbedding:
        """Encode one plane, see `napari_promptable.predict.predictor.encode_image`."""
        ...

    def predict_many(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[PromptSet],
        multimask_output: bool | None = True,
    ) -> list[Prediction]:
        """Answer prompts, see `napari_promptable.predict.predictor.predict_many`."""
        ...


@runtime_checkable
class MemorySegmenter(Segmenter, Protocol):
    """A model that may remember objects from plane to plane. `PromptableModel` is one."""

    @property
    def has_memory(self) -> bool:
        """Whether this model does: SAM 2.1 does, SAM does not."""
        ...

    def remember(self, embedding: ImageEmbedding, mask: BoolArray) -> Trail:
        """Begin with a plane. See `napari_promptable.predict.object_memory.remember_mask`."""
        ...

    def follow(
        self, embedding: ImageEmbedding, trails: Sequence[Trail], num_planes: int
    ) -> list[tuple[Prediction, Trail]]:
        """Find objects. See `napari_promptable.predict.object_memory.follow_trails`."""
        ...
