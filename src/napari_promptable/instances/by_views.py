"""View by view: seeds from the maps of one model, answered by it or by another.

Views overlap, and each is responsible for the seeds in its core, see
`napari_promptable.instances.views`. So an image of any size can be searched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_promptable.instances.by_maps import answer_seeds
from napari_promptable.instances.by_prompts import answer_seeds_by
from napari_promptable.instances.found import FoundObject
from napari_promptable.instances.place import SearchPlace
from napari_promptable.instances.seeds import Seed, find_seeds
from napari_promptable.instances.views import (
    Viewpoint,
    choose_zooms,
    look_from,
    viewpoints,
)
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.progress import Progress

_STEPS_PER_VIEW = 100  # of progress


def plan_views(model: PromptableModel, rgb: Any, place: SearchPlace) -> list[Viewpoint]:
    """Plan the views of a place, at the zooms that suit its objects.

    Parameters
    ----------
    model : PromptableModel
        A model with instance maps.
    rgb : array of uint8 of any kind, shape (H, W, 3)
        The plane.
    place : SearchPlace
        Where objects may lie.

    Returns
    -------
    list of Viewpoint
        For `answer_view`, in any order.
    """
    part, _ = place.cut(rgb)
    zooms = choose_zooms(model.sam, model.model_id, part)
    return viewpoints(part.shape[:2], zooms)


def answer_views(
    model: PromptableModel, rgb: Any, place: SearchPlace, progress: Progress
) -> Iterator[FoundObject]:
    """Answer all views of a place by the model that finds the seeds. See `answer_view`."""
    points = plan_views(model, rgb, place)
    for number, viewpoint in enumerate(points):
        start = _STEPS_PER_VIEW * number

        def report(done: int, count: int, start: int = start) -> None:
            progress(start + _STEPS_PER_VIEW * done // count, _STEPS_PER_VIEW * len(points))

        yield from answer_view(model, model, rgb, place, viewpoint, report)
        progress(start + _STEPS_PER_VIEW, _STEPS_PER_VIEW * len(points))


def answer_view(
    model: Segmenter,
    seeding: PromptableModel,
    rgb: Any,
    place: SearchPlace,
    viewpoint: Viewpoint,
    progress: Progress,
) -> Iterator[FoundObject]:
    """Find and answer the seeds of one view.

    Parameters
    ----------
    model : PromptableModel
        Answers the seeds. It is shown the view's part of the image, unless it is `seeding`.
    seeding, rgb, place
        As in `plan_views`.
    viewpoint : Viewpoint
        From `plan_views`.
    progress : callable
        Called with the numbers of finished and of all seeds.

    Yields
    ------
    FoundObject
        One per seed that got a mask.
    """
    seeds = seeds_in(seeding, rgb, place, viewpoint)
    if model is seeding:
        yield from answer_seeds(seeding.sam, seeds, place.shape, progress)
    elif seeds:
        yield from _answer_by(model, rgb, seeds, place.shape, progress)


def seeds_in(
    seeding: PromptableModel, rgb: Any, place: SearchPlace, viewpoint: Viewpoint
) -> list[Seed]:
    """Find the seeds of a view whose points lie where an object may be."""
    part, corner = place.cut(rgb)
    view = look_from(seeding.sam, seeding.model_id, part, viewpoint, corner)
    return [seed for seed in find_seeds(view) if place.is_free(seed.point_in_image)]


def _answer_by(
    model: Segmenter,
    rgb: Any,
    seeds: Sequence[Seed],
    shape: tuple[int, int],
    progress: Progress,
) -> Iterator[FoundObject]:
    """Show another model the part that a view shows, and answer the view's seeds there."""
    view = seeds[0].view
    rows, columns = (
        slice(start, start + length)
        for start, length in zip(view.corner, view.embedding.original_size, strict=True)
    )
    embedding = model.encode(np.asarray(rgb[rows, columns]), (0, 255))
    here = replace(view, corner=(0, 0))
    moved = [replace(seed, view=here) for seed in seeds]
    for found in answer_seeds_by(model, embedding, moved, progress):
        yield replace(found, mask=found.mask.moved(view.corner, shape))
