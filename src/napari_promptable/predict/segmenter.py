"""The one interface through which everything above this folder encodes and predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.prompts import PromptSet


class Segmenter(Protocol):
    """A model, here or elsewhere; `PromptableModel` and `RemoteSegmenter` are two."""

    @property
    def carries_masks(self) -> bool:
        """Whether it can find an object by its mask on a neighbouring slice alone."""
        ...

    def encode(
        self,
        image: npt.NDArray[np.generic],
        contrast_limits: tuple[float, float] | None = None,
        *,
        is_cancelled: Callable[[], bool] | None = None,
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
