"""From all prompts of an object on a plane to an answer, click by click.

The answer is a function of the prompts alone: boxes, outlines and masks first, then strokes,
then the clicks in their order, each with the logits of the answer before it. A live session
keeps the steps and computes the new ones only; a script that reads the same prompts gets the
same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from napari_promptable.masks import (
    BoolArray,
    keep_clicked_part,
    mask_to_box_yxyx,
    mask_to_logits,
    polygon_to_mask,
)
from napari_promptable.predict import existing_mask
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.prompts import FOREGROUND, IntArray, PlanePrompts, PromptSet
from napari_promptable.strokes import stroke_to_clicks

_NO_BOXES = np.empty((0, 4), np.float32)


@dataclass(frozen=True, eq=False)
class Step:
    """The answer to the first prompts of a plane.

    Attributes
    ----------
    prompts : PlanePrompts
        Those that were answered.
    prediction : Prediction
        The answer.
    """

    prompts: PlanePrompts
    prediction: Prediction


def answer_prompts(
    segmenter: Segmenter,
    embedding: ImageEmbedding,
    prompts: PlanePrompts,
    known: tuple[Step, ...] = (),
) -> tuple[Step, ...]:
    """Answer all prompts of one object on one plane.

    Parameters
    ----------
    segmenter : Segmenter
        The model.
    embedding : ImageEmbedding
        Of the plane.
    prompts : PlanePrompts
        The prompts; `is_answerable`.
    known : tuple of Step, optional
        Earlier return value for this plane; steps that still hold are not computed again.

    Returns
    -------
    tuple of Step
        One per click, preceded by one for boxes and outlines and one for strokes; the last
        holds the answer.

    Raises
    ------
    EmbeddingMismatchError, PromptError
        As `predict_masks`.
    """
    parts = list(_split(prompts, embedding))
    if len(parts) > 1:
        if known and known[-1].prompts.has_same_prompts(prompts):
            return known
        answers = [_replay(segmenter, embedding, part, ())[-1].prediction for part in parts]
        return (Step(prompts, _unite(answers)),)
    return _replay(segmenter, embedding, parts[0], known)


def chosen_candidate(prompts: PlanePrompts, prediction: Prediction) -> int:
    """Index of the candidate that the prompts name, else the one that is offered."""
    if prompts.candidate is not None and prompts.candidate < len(prediction):
        return prompts.candidate
    return prediction.default


def _replay(
    segmenter: Segmenter,
    embedding: ImageEmbedding,
    prompts: PlanePrompts,
    known: tuple[Step, ...],
) -> tuple[Step, ...]:
    """Answer ever longer beginnings of the prompts, each with the logits before it."""
    steps: list[Step] = []
    for prefix in _prefixes(prompts):
        number = len(steps)
        if number < len(known) and known[number].prompts.has_same_prompts(prefix):
            steps.append(known[number])
            continue
        if prefix.mask is not None and not (len(prefix.points_yx) or prefix.strokes_yx):
            steps.append(Step(prefix, existing_mask.keep_mask(prefix.mask, embedding)))
            continue
        question = _to_prompt_set(prefix, embedding)
        if steps and steps[-1].prediction.absence != existing_mask.REMOVED:
            previous = steps[-1].prediction
            refined = prefix.refines[-1] if prefix.refines else None
            candidate = previous.default if refined is None else refined
            logits = previous.low_res_logits[min(candidate, len(previous) - 1)]
            question = replace(question, mask_logits=logits)
        [prediction] = segmenter.predict_many(embedding, [question], None)
        if existing_mask.is_removed(prefix, prediction):
            prediction = existing_mask.answer_removed(prediction)
        elif prefix.one_part:
            prediction = _in_one_part(prediction, prefix)
        steps.append(Step(prefix, prediction))
    return tuple(steps)


def _in_one_part(prediction: Prediction, prompts: PlanePrompts) -> Prediction:
    """Draw each candidate as the part that holds the clicks, without small holes."""
    asked = PromptSet(
        prompts.points_yx,
        prompts.point_labels,
        strokes_yx=prompts.strokes_yx,
        stroke_labels=prompts.stroke_labels,
    )
    is_inside = asked.point_labels == FOREGROUND
    inside, outside = asked.points_yx[is_inside], asked.points_yx[~is_inside]

    def draw(candidates: Sequence[int]) -> BoolArray:
        masks = map(prediction.mask, candidates)
        return np.stack([keep_clicked_part(m, inside, outside, prompts.mask) for m in masks])

    return Prediction(
        draw,
        prediction.predicted_iou,
        lambda: prediction.low_res_logits,
        prediction.default,
        prediction.absence,
    )


def _prefixes(prompts: PlanePrompts) -> Iterator[PlanePrompts]:
    """Beginnings that can be answered: regions, then strokes, then one more click each."""
    if prompts.strokes_yx:
        regions = _with_strokes(prompts.with_points(slice(0)), ())
        if regions.is_answerable:
            yield regions
    for count in range(len(prompts.points_yx) + 1):
        prefix = prompts.with_points(slice(count))
        if prefix.is_answerable:
            yield prefix


def _to_prompt_set(prompts: PlanePrompts, embedding: ImageEmbedding) -> PromptSet:
    """Prompts with at most one box or outline. An outline is a mask and its box."""
    box, logits = None, None
    if len(prompts.boxes_yxyx):
        box = prompts.boxes_yxyx[0]
    elif prompts.polygons_yx:
        mask = polygon_to_mask(prompts.polygons_yx[0], embedding.original_size)
        box = mask_to_box_yxyx(mask)
        logits = mask_to_logits(mask, embedding.low_res_valid, embedding.low_res_size)
    return PromptSet(
        prompts.points_yx,
        prompts.point_labels,
        box,
        logits,
        prompts.strokes_yx,
        prompts.stroke_labels,
        prompts.expected_size,
    )


def _with_strokes(prompts: PlanePrompts, chosen: Sequence[int] | IntArray) -> PlanePrompts:
    """Keep only the strokes with these numbers, and all other prompts."""
    return replace(
        prompts,
        strokes_yx=tuple(prompts.strokes_yx[i] for i in chosen),
        stroke_labels=prompts.stroke_labels[list(chosen)],
    )


def _split(prompts: PlanePrompts, embedding: ImageEmbedding) -> Iterator[PlanePrompts]:
    """One part per region, with the positive prompts inside it and all negative ones.

    Regions are boxes, outlines and masks. Positive clicks outside of all of them make a part
    of their own, and so do positive strokes whose middle is outside.
    """
    if prompts.num_regions <= 1:
        yield prompts
        return
    is_positive = prompts.point_labels == FOREGROUND
    is_free = is_positive.copy()
    middles = np.reshape([stroke_to_clicks(each, 1)[0] for each in prompts.strokes_yx], (-1, 2))
    is_along = prompts.stroke_labels == FOREGROUND
    is_loose = is_along.copy()
    clicks = replace(prompts, boxes_yxyx=_NO_BOXES, polygons_yx=(), mask=None)
    for box, region in _regions(prompts, clicks, embedding.original_size):
        is_inside = _is_inside(prompts.points_yx, box)
        is_free &= ~is_inside
        is_crossed = _is_inside(middles, box)
        is_loose &= ~is_crossed
        part = region.with_points(is_inside | ~is_positive)
        yield _with_strokes(part, np.flatnonzero(is_crossed | ~is_along))
    if is_free.any() or is_loose.any():
        part = clicks.with_points(is_free | ~is_positive)
        yield _with_strokes(part, np.flatnonzero(is_loose | ~is_along))


def _regions(
    prompts: PlanePrompts, clicks: PlanePrompts, size: tuple[int, int]
) -> Iterator[tuple[npt.NDArray[np.float32], PlanePrompts]]:
    """Box of each box, outline and mask, and it with all clicks."""
    for box in prompts.boxes_yxyx:
        yield box, replace(clicks, boxes_yxyx=box[None])
    for polygon in prompts.polygons_yx:
        mask = polygon_to_mask(polygon, size)
        yield mask_to_box_yxyx(mask), replace(clicks, polygons_yx=(polygon,))
    if prompts.mask is not None:
        yield mask_to_box_yxyx(prompts.mask), replace(clicks, mask=prompts.mask)


def _is_inside(
    points_yx: npt.NDArray[np.float32], box: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    is_inside: npt.NDArray[np.bool_] = (points_yx >= box[:2]) & (points_yx <= box[2:])
    return np.asarray(is_inside.all(axis=1))


def _unite(answers: list[Prediction]) -> Prediction:
    """Return the union of the parts as one candidate, as certain as the least certain."""
    chosen = [(answer, answer.default) for answer in answers]
    return Prediction(
        np.logical_or.reduce([answer.mask(i) for answer, i in chosen])[None],
        np.min([answer.predicted_iou[i] for answer, i in chosen])[None],
        np.max([answer.low_res_logits[i] for answer, i in chosen], axis=0)[None],
    )
