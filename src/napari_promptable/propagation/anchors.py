"""Prompts on slices → anchors, where the chains of a propagation start or end."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from napari_promptable.predict.click_by_click import answer_prompts, chosen_candidate
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.prompts import PlanePrompts, PromptSet
from napari_promptable.propagation.chains import Anchors, Embed
from napari_promptable.propagation.gaps import slices_in_range
from napari_promptable.propagation.settings import DEFAULT_SETTINGS, PropagationSettings
from napari_promptable.propagation.step import Sighting, Step

SlicePrompts = PromptSet | PlanePrompts


def answer_slices(
    model: Segmenter,
    step: Step,
    embed: Embed,
    length: int,
    objects: Mapping[int, Mapping[int, SlicePrompts]],
    settings: PropagationSettings = DEFAULT_SETTINGS,
) -> Anchors:
    """Answer the prompts of objects, as anchors for a propagation.

    Parameters
    ----------
    model : Segmenter
        Answers prompts.
    step : Step
        The way in which the propagation will move on from the answers.
    embed : callable
        Given a slice, returns its embedding.
    length : int
        Number of slices.
    objects : dict of int to dict of int to PromptSet or PlanePrompts
        By object id and slice.
    settings : PropagationSettings, optional
        Prompts outside its range are ignored.

    Returns
    -------
    dict of int to dict of int to Sighting
        The chosen candidate of each, for `propagate_masks`.

    Raises
    ------
    PromptError
        If the range lies outside the volume, or the model cannot answer prompts.
    """
    slices = slices_in_range(length, settings)
    anchors: dict[int, dict[int, Sighting]] = {object_id: {} for object_id in objects}
    prompted = sorted({position for at in objects.values() for position in at})
    for position in (position for position in prompted if position in slices):
        embedding = embed(position)
        for object_id, at in objects.items():
            if position in at:
                anchors[object_id][position] = _begin(model, step, embedding, at[position])
    return anchors


def _begin(
    model: Segmenter, step: Step, embedding: ImageEmbedding, prompts: SlicePrompts
) -> Sighting:
    """Start from the answer to prompts. An object that is absent has no memory."""
    nothing = Sighting(np.zeros(embedding.original_size, bool), 1.0, 1.0)
    if not prompts.is_answerable:
        return nothing
    prediction, candidate = _answer(model, embedding, prompts)
    if not prediction.mask(candidate).any():
        return nothing
    return step.begin(embedding, prediction, candidate)


def _answer(
    model: Segmenter, embedding: ImageEmbedding, prompts: SlicePrompts
) -> tuple[Prediction, int]:
    """Answer click by click as the widget does, or at once given logits of an earlier answer.

    Returns
    -------
    prediction : Prediction
        The answer.
    candidate : int
        The chosen mask.
    """
    if isinstance(prompts, PromptSet):
        if prompts.mask_logits is not None:
            [prediction] = model.predict_many(embedding, [prompts], None)
            return prediction, prediction.default
        boxes = [] if prompts.box_yxyx is None else [prompts.box_yxyx]
        prompts = PlanePrompts(prompts.points_yx, prompts.point_labels, boxes)
    prediction = answer_prompts(model, embedding, prompts)[-1].prediction
    return prediction, chosen_candidate(prompts, prediction)
