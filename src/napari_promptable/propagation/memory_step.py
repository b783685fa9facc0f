"""Stepping by memory: the model remembers the object on the slices that it has passed.

Source: "SAM 2: Segment Anything in Images and Videos", arXiv 2408.00714, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.segmenter import MemorySegmenter
from napari_promptable.propagation.parts import keep_parts
from napari_promptable.propagation.settings import (
    DEFAULT_SETTINGS,
    PropagationSettings,
    SplitPolicy,
)
from napari_promptable.propagation.step import Sighting, stability_of


class MemoryStep:
    """A `Step` that lets a model with a memory find the object again.

    The memory holds the prompted slices at both ends of the gap and the slices just passed. It
    is part of each `Sighting`, so that chains do not meet, and does not grow with their length.

    Parameters
    ----------
    model : MemorySegmenter
        With the weights of SAM 2.1.
    length : int
        Number of slices.
    settings : PropagationSettings, optional
        Which parts to follow when an object splits.
    """

    def __init__(
        self,
        model: MemorySegmenter,
        length: int,
        settings: PropagationSettings = DEFAULT_SETTINGS,
    ) -> None:
        self._model, self._length, self._settings = model, length, settings

    def begin(
        self, embedding: ImageEmbedding, prediction: Prediction, candidate: int
    ) -> Sighting:
        """Remember the mask that the user accepted. See `Step`."""
        mask = prediction.mask(candidate)
        sighting = _sight(prediction, candidate)
        return replace(sighting, memory=self._model.remember(embedding, mask))

    def depart(self, anchor: Sighting, other: Sighting | None, distance: int) -> Sighting:
        """Add the other end of the gap to the memory. See `Step`."""
        if other is None:
            return anchor
        return replace(anchor, memory=anchor.memory.expect(distance, other.memory))

    def advance(
        self, embedding: ImageEmbedding, previous: Sequence[Sighting]
    ) -> list[Sighting]:
        """Find each object by its memory. See `Step`.

        Raises
        ------
        EmbeddingMismatchError
            If another model made the embedding.
        """
        trails = [sighting.memory for sighting in previous]
        found = []
        for (prediction, trail), before in zip(
            self._model.follow(embedding, trails, self._length), previous, strict=True
        ):
            sighting = replace(_sight(prediction, 0), memory=trail)
            if self._settings.split is not SplitPolicy.ALL:
                kept = keep_parts(sighting.mask, before.mask, self._settings.split)
                sighting = replace(sighting, mask=kept)
            found.append(sighting)
        return found


def _sight(prediction: Prediction, candidate: int) -> Sighting:
    """Describe one candidate."""
    return Sighting(
        prediction.mask(candidate),
        float(prediction.predicted_iou[candidate]),
        stability_of(prediction.low_res_logits[candidate]),
    )
