"""Stepping by prompts: each mask becomes the prompt for the next slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from napari_promptable.masks import (
    BoolArray,
    FloatArray,
    interior_point_yx,
    mask_iou,
    mask_to_box_yxyx,
    mask_to_logits,
)
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.prompts import PromptSet
from napari_promptable.propagation.appearance import (
    Appearance,
    appearance_of,
    follow_appearance,
    likeness_of,
)
from napari_promptable.propagation.parts import keep_parts, split_mask
from napari_promptable.propagation.settings import (
    DEFAULT_SETTINGS,
    PropagationSettings,
    SplitPolicy,
    StepPrompt,
)
from napari_promptable.propagation.step import Sighting, stability_of

_OBJECTS_AT_ONCE = 16  # limits the answers held in memory


@dataclass(frozen=True, eq=False)
class PromptMemory:
    """What `PromptStep` keeps of an object from slice to slice.

    Attributes
    ----------
    logits : ndarray of float32, shape (h, w)
        Low-res logits of its last mask.
    appearance : Appearance or None
        How it looked on the prompted slice, if that tells it from its surroundings.
    """

    logits: FloatArray
    appearance: Appearance | None = None


class PromptStep:
    """A `Step` that turns each mask into a box, a point or logits for the next slice.

    Parameters
    ----------
    segmenter : Segmenter
        The model.
    settings : PropagationSettings, optional
        Which prompts to give, and what to follow when an object splits.
    """

    def __init__(
        self, segmenter: Segmenter, settings: PropagationSettings = DEFAULT_SETTINGS
    ) -> None:
        self._segmenter, self._settings = segmenter, settings
        self._kind = _choose_kind(segmenter, settings.step_prompt)

    def begin(
        self, embedding: ImageEmbedding, prediction: Prediction, candidate: int
    ) -> Sighting:
        """Start from a candidate, and learn how the object looks. See `Step`."""
        appearance = appearance_of(embedding, prediction.mask(candidate))
        return _sight(prediction, candidate, appearance)

    def depart(self, anchor: Sighting, other: Sighting | None, distance: int) -> Sighting:
        """Return the anchor unchanged, since only the previous slice counts. See `Step`."""
        return anchor

    def advance(
        self, embedding: ImageEmbedding, previous: Sequence[Sighting]
    ) -> list[Sighting]:
        """Give each object's mask to the model as prompts for the next slice. See `Step`.

        Raises
        ------
        EmbeddingMismatchError, PromptError
            As `predict_masks`.
        """
        found: list[Sighting] = []
        for start in range(0, len(previous), _OBJECTS_AT_ONCE):
            batch = previous[start : start + _OBJECTS_AT_ONCE]
            requests = [self._make_prompts(sighting, embedding) for sighting in batch]
            prompts = [prompt for _, prompt in chain(*requests)]
            answers = iter(self._segmenter.predict_many(embedding, prompts, None))
            for sighting, parts in zip(batch, requests, strict=True):
                chosen = [self._choose(next(answers), expected) for expected, _ in parts]
                found.append(_unite(chosen, sighting, embedding))
        return found

    def _make_prompts(
        self, previous: Sighting, embedding: ImageEmbedding
    ) -> list[tuple[BoolArray, PromptSet]]:
        """Turn a mask into the expected mask and prompts for it.

        There is one pair, or one per part if all parts are followed; none if nothing is left.
        """
        expected = self._expect(previous, embedding)
        if not expected.any():
            return []
        is_split = self._settings.split is SplitPolicy.ALL
        parts = split_mask(expected) if is_split else [expected]
        logits = previous.memory.logits if len(parts) == 1 else None
        return [(part, self._prompt_for(part, logits, embedding)) for part in parts]

    def _expect(self, previous: Sighting, embedding: ImageEmbedding) -> BoolArray:
        """Adapt the previous mask to the colours of the next slice."""
        similar = follow_appearance(previous.mask, previous.memory.appearance, embedding)
        return keep_parts(similar, previous.mask, self._settings.split)

    def _prompt_for(
        self, part: BoolArray, logits: FloatArray | None, embedding: ImageEmbedding
    ) -> PromptSet:
        """Turn an expected mask into prompts. Logits are made from it if there are none."""
        kind, box, point = self._kind, None, None
        if kind in (StepPrompt.BOX, StepPrompt.BOX_AND_POINT, StepPrompt.BOX_AND_LOGITS):
            margin = self._settings.box_margin
            box = grow_box(mask_to_box_yxyx(part), margin, embedding.original_size)
        if kind in (StepPrompt.POINT, StepPrompt.BOX_AND_POINT):
            point = interior_point_yx(part)[None]
        if kind not in (StepPrompt.LOGITS, StepPrompt.BOX_AND_LOGITS):
            logits = None
        elif logits is None:
            logits = mask_to_logits(part, embedding.low_res_valid, embedding.low_res_size)
        return PromptSet(point, None, box, logits)

    def _choose(self, prediction: Prediction, expected: BoolArray) -> Sighting:
        """Choose the candidate that is both confident and close to the expected mask."""
        sightings = []
        for candidate in range(len(prediction)):
            sighting = _sight(prediction, candidate)
            kept = keep_parts(sighting.mask, expected, self._settings.split)
            sightings.append(replace(sighting, mask=kept))
        return max(sightings, key=lambda s: s.predicted_iou * mask_iou(s.mask, expected))


def _choose_kind(segmenter: Segmenter, kind: StepPrompt) -> StepPrompt:
    """Give logits to a model that is better at them, else a box, unless the user chose."""
    if kind is not StepPrompt.AUTO:
        return kind
    return StepPrompt.LOGITS if segmenter.carries_masks else StepPrompt.BOX


def _sight(
    prediction: Prediction, candidate: int, appearance: Appearance | None = None
) -> Sighting:
    """Describe one candidate."""
    logits = prediction.low_res_logits[candidate]
    return Sighting(
        prediction.mask(candidate),
        float(prediction.predicted_iou[candidate]),
        stability_of(logits),
        PromptMemory(logits, appearance),
    )


def _unite(
    parts: Sequence[Sighting], previous: Sighting, embedding: ImageEmbedding
) -> Sighting:
    """Join the parts of one object. The least certain part counts."""
    memory: PromptMemory = previous.memory
    found = [part for part in parts if part.mask.any()] or parts[:1]
    if not found:  # nothing was left to ask about
        return Sighting(np.zeros_like(previous.mask), 0.0, 0.0, memory)
    mask = np.logical_or.reduce([part.mask for part in found])
    logits = np.max([part.memory.logits for part in found], axis=0)
    return Sighting(
        mask,
        min(part.predicted_iou for part in found),
        min(part.stability for part in found),
        PromptMemory(logits, memory.appearance),
        likeness_of(mask, memory.appearance, embedding),
    )


def grow_box(
    box_yxyx: FloatArray, margin: float, shape: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Move each side of a box outwards.

    Parameters
    ----------
    box_yxyx : ndarray of float32, shape (4,)
        Rows and columns of the first and last pixel.
    margin : float
        Distance as a share of the box's height or width. A negative margin moves the sides
        inwards, at most to the box's middle.
    shape : (int, int)
        Height and width of the image, which limits the box.

    Returns
    -------
    ndarray of float32, shape (4,)
        The new box.
    """
    sides = box_yxyx[2:] - box_yxyx[:2] + 1
    steps = np.maximum(margin * sides, (1 - sides) / 2)
    limit = np.tile(np.array(shape, np.float32) - 1, 2)
    return np.asarray(np.clip(box_yxyx + np.concatenate([-steps, steps]), 0, limit), np.float32)
