"""One step of a propagation: from an object's mask on a slice to its mask on the next one.

The previous mask becomes a prompt, one of the answers is chosen, and rules say whether the
object is still the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_promptable.masks import (
    BoolArray,
    FloatArray,
    Prediction,
    interior_point_yx,
    mask_iou,
    mask_region,
    mask_to_box_yxyx,
    mask_to_logits,
)
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.prompts import PromptSet
from napari_promptable.propagation.appearance import (
    Appearance,
    appearance_of,
    follow_appearance,
    likeness_of,
)
from napari_promptable.propagation.settings import (
    PropagationSettings,
    SplitPolicy,
    StepPrompt,
    StopReason,
)

_OBJECTS_AT_ONCE = 16  # answers that are held at the same time
_STABILITY_OFFSET = 1.0  # of logits, as in SAM's automatic mask generation
_SPECK = 0.05  # share of a mask below which a part of it is noise
_CORNERS_TOO = np.ones((3, 3), bool)


class BatchSegmenter(Protocol):
    """What answers prompts of many objects; `PromptableModel` is one."""

    @property
    def carries_masks(self) -> bool:
        """Whether it can find an object by its mask on a neighbouring slice alone."""
        ...

    def predict_each(
        self, embedding: ImageEmbedding, prompts: Sequence[PromptSet]
    ) -> list[Prediction]:
        """Answer each object's prompts with candidates."""
        ...


@dataclass(frozen=True, eq=False)
class Sighting:
    """An object on one slice.

    Attributes
    ----------
    mask : ndarray of bool, shape (H, W)
        In image pixels.
    predicted_iou : float
        The model's own estimate of the mask's IoU with the object.
    stability : float
        See `stability_of`.
    logits : ndarray of float32, shape (h, w)
        Low-res logits.
    appearance : Appearance or None
        How it looked on the prompted slice, where that tells it from its surroundings.
    likeness : float
        How much it still looks like that, see `likeness_of`.
    """

    mask: BoolArray
    predicted_iou: float
    stability: float
    logits: FloatArray
    appearance: Appearance | None = None
    likeness: float = 1.0


def stability_of(logits: FloatArray) -> float:
    """Tell how little a mask depends on the threshold.

    Parameters
    ----------
    logits : ndarray of float32, shape (h, w)
        Low-res logits, mask where positive.

    Returns
    -------
    float
        0 to 1; 0 for an empty mask.

    Notes
    -----
    The stability score of SAM (arXiv 2304.02643, appendix B): IoU of the masks at thresholds
    1 above and 1 below. The former lies inside the latter, so areas suffice.
    """
    wide = np.count_nonzero(logits > -_STABILITY_OFFSET)
    return np.count_nonzero(logits > _STABILITY_OFFSET) / wide if wide else 0.0


def sight_anchor(embedding: ImageEmbedding, prediction: Prediction, candidate: int) -> Sighting:
    """Take one candidate of the answer to a user's prompts, as it is.

    Parameters
    ----------
    embedding : ImageEmbedding
        Of the prompted slice.
    prediction : Prediction
        The answer.
    candidate : int
        Which of its masks.

    Returns
    -------
    Sighting
        From which `napari_promptable.propagation.chains.propagate_masks` starts.
    """
    sighting = _sight(prediction, candidate)
    return replace(sighting, appearance=appearance_of(embedding, sighting.mask))


def _sight(prediction: Prediction, candidate: int) -> Sighting:
    logits = prediction.low_res_logits[candidate]
    return Sighting(
        prediction.mask(candidate),
        float(prediction.predicted_iou[candidate]),
        stability_of(logits),
        logits,
    )


def step_all(
    segmenter: BatchSegmenter,
    embedding: ImageEmbedding,
    previous: Sequence[Sighting],
    settings: PropagationSettings,
) -> list[Sighting]:
    """Find objects of one slice on the next one.

    Parameters
    ----------
    segmenter : BatchSegmenter
        The model.
    embedding : ImageEmbedding
        Of the next slice.
    previous : sequence of Sighting
        The objects; no mask is empty.
    settings : PropagationSettings
        What to ask, and what becomes of objects in several parts.

    Returns
    -------
    list of Sighting
        One per object; its mask may be empty.

    Raises
    ------
    EmbeddingMismatchError, PromptError
        As `predict_masks`.
    """
    settings = replace(settings, step_prompt=_choose_prompt(segmenter, settings))
    found: list[Sighting] = []
    for start in range(0, len(previous), _OBJECTS_AT_ONCE):
        batch = previous[start : start + _OBJECTS_AT_ONCE]
        questions = [_ask(sighting, embedding, settings) for sighting in batch]
        prompts = [prompt for _, prompt in chain(*questions)]
        answers = iter(segmenter.predict_each(embedding, prompts))
        for sighting, asked in zip(batch, questions, strict=True):
            parts = [_choose(next(answers), expected, settings.split) for expected, _ in asked]
            united = _unite(parts, sighting)
            likeness = likeness_of(united.mask, sighting.appearance, embedding)
            found.append(replace(united, likeness=likeness))
    return found


def _choose_prompt(segmenter: BatchSegmenter, settings: PropagationSettings) -> StepPrompt:
    """Ask about the previous logits if the model has learned to, else about their box."""
    if settings.step_prompt != StepPrompt.AUTO:
        return settings.step_prompt
    return StepPrompt.LOGITS if segmenter.carries_masks else StepPrompt.BOX


def _ask(
    previous: Sighting, embedding: ImageEmbedding, settings: PropagationSettings
) -> list[tuple[BoolArray, PromptSet]]:
    """Turn a mask into what is expected and prompts for it.

    There is one pair, or one per part where all parts are followed; none if nothing is left.
    """
    similar = follow_appearance(previous.mask, previous.appearance, embedding)
    expected = keep_parts(similar, previous.mask, settings.split)
    if not expected.any():
        return []
    parts = split_mask(expected) if settings.split == SplitPolicy.ALL else [expected]
    kind, shape = settings.step_prompt, embedding.original_size
    questions = []
    for part in parts:
        box, point, logits = None, None, None
        if kind in (StepPrompt.BOX, StepPrompt.BOX_AND_POINT, StepPrompt.BOX_AND_LOGITS):
            box = grow_box(mask_to_box_yxyx(part), settings.box_margin, shape)
        if kind in (StepPrompt.POINT, StepPrompt.BOX_AND_POINT):
            point = interior_point_yx(part)[None]
        if kind in (StepPrompt.LOGITS, StepPrompt.BOX_AND_LOGITS):
            logits = previous.logits
            if len(parts) > 1:
                logits = mask_to_logits(part, embedding.low_res_valid, embedding.low_res_size)
        questions.append((part, PromptSet(point, None, box, logits)))
    return questions


def grow_box(
    box_yxyx: FloatArray, margin: float, shape: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Move each side of a box outwards by a share of its length, up to the image's border.

    A negative margin moves it inwards, at most to the box's middle.
    """
    sides = box_yxyx[2:] - box_yxyx[:2] + 1
    steps = np.maximum(margin * sides, (1 - sides) / 2)
    limit = np.tile(np.array(shape, np.float32) - 1, 2)
    return np.asarray(np.clip(box_yxyx + np.concatenate([-steps, steps]), 0, limit), np.float32)


def _choose(prediction: Prediction, expected: BoolArray, split: SplitPolicy | str) -> Sighting:
    """Choose the candidate that is both sure and like the mask before, as it is expected."""
    best, best_value = None, -1.0
    for candidate in range(len(prediction)):
        sighting = _sight(prediction, candidate)
        kept = keep_parts(sighting.mask, expected, split)
        value = sighting.predicted_iou * mask_iou(kept, expected)
        if best is None or value > best_value:
            best = replace(sighting, mask=kept)
            best_value = value
    assert best is not None
    return best


def _unite(parts: Sequence[Sighting], previous: Sighting) -> Sighting:
    """Join the parts of one object, no more certain than the least certain of them."""
    found = [part for part in parts if part.mask.any()] or parts[:1]
    if not found:  # nothing was asked
        nothing = np.zeros_like(previous.mask)
        return Sighting(nothing, 0.0, 0.0, previous.logits, previous.appearance)
    return Sighting(
        np.logical_or.reduce([part.mask for part in found]),
        min(part.predicted_iou for part in found),
        min(part.stability for part in found),
        np.max([part.logits for part in found], axis=0),
        previous.appearance,
    )


def split_mask(mask: BoolArray) -> list[BoolArray]:
    """Find a mask's connected parts but for specks, the largest first; one without any part."""
    region = mask_region(mask)
    if region is None:
        return [mask]
    numbers, count = ndimage.label(mask[region], _CORNERS_TOO)
    if count == 1:
        return [mask]
    areas = np.bincount(numbers.ravel())[1:]
    order = np.argsort(-areas, kind="stable")
    parts = []
    for number in order[areas[order] >= _SPECK * areas.sum()]:
        part = np.zeros_like(mask)
        part[region] = numbers == number + 1
        parts.append(part)
    return parts


def keep_parts(mask: BoolArray, previous: BoolArray, split: SplitPolicy | str) -> BoolArray:
    """Keep of a mask what is the object.

    Parameters
    ----------
    mask, previous : ndarray of bool, shape (H, W)
        On this slice and on the one before.
    split : SplitPolicy
        Which connected parts count; pixels that touch at a corner are connected.

    Returns
    -------
    ndarray of bool, shape (H, W)
        The parts that count.
    """
    parts = split_mask(mask)
    if split == SplitPolicy.ALL:
        return np.asarray(np.logical_or.reduce(parts))
    if split == SplitPolicy.OVERLAPPING:
        return max(parts, key=lambda part: np.count_nonzero(part & previous))
    return parts[0]


def find_stop(
    sighting: Sighting, previous: Sighting, first: Sighting, settings: PropagationSettings
) -> StopReason | None:
    """Tell whether an object is still the same.

    Parameters
    ----------
    sighting, previous, first : Sighting
        On this slice, on the one before, and on the prompted slice.
    settings : PropagationSettings
        The limits.

    Returns
    -------
    StopReason or None
        The first rule that is broken; None to go on.
    """
    area = np.count_nonzero(sighting.mask)
    if area == 0:
        return StopReason.EMPTY
    if mask_iou(sighting.mask, previous.mask) < settings.lost_iou:
        return StopReason.LOST
    first_area = np.count_nonzero(first.mask)
    if not settings.min_area <= area / first_area <= settings.max_area:
        return StopReason.DRIFTED
    if sighting.likeness < settings.min_likeness:
        return StopReason.DRIFTED
    if sighting.predicted_iou < settings.min_predicted_iou * first.predicted_iou:
        return StopReason.UNSURE
    return None
