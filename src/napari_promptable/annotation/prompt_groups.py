"""Single prompts from elsewhere, grouped into objects that can be asked about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from napari_promptable.annotation.answers import Question
from napari_promptable.planes import Index
from napari_promptable.prompts import PlanePrompts
from napari_promptable.sizes import ExpectedSize


@dataclass(frozen=True, eq=False)
class SinglePrompt:
    """One click, box or outline.

    Attributes
    ----------
    object_id : int or None
        The object it belongs to; None if that is not known.
    index : Index
        The plane it is on.
    prompts : PlanePrompts
        The click or shape alone.
    number : int
        Its place among the prompts that were read.
    """

    object_id: int | None
    index: Index
    prompts: PlanePrompts
    number: int = 0


def group_prompts(
    prompts: Iterable[SinglePrompt],
    free_ids: Iterator[int],
    *,
    as_one: bool,
    one_part: bool,
    expected_size: ExpectedSize | None = None,
) -> list[Question]:
    """Make one question for each object and plane.

    Parameters
    ----------
    prompts : iterable of SinglePrompt
        In any order.
    free_ids : iterator of int
        Ids that no object has.
    as_one : bool
        Whether all prompts without an id belong to one object. If not, each positive one is an
        object, and negative ones are left out, because they belong to none.
    one_part, expected_size
        See `PlanePrompts`.

    Returns
    -------
    list of Question
        In order of ids and planes, without the ones that only say where an object is not.
    """
    groups: dict[tuple[int, Index], list[PlanePrompts]] = {}
    shared: int | None = None
    for single in prompts:
        object_id = single.object_id
        if object_id is None and as_one:
            object_id = shared = next(free_ids) if shared is None else shared
        elif object_id is None and single.prompts.is_answerable:
            object_id = next(free_ids)
        if object_id is not None:
            groups.setdefault((object_id, single.index), []).append(single.prompts)
    questions = [
        Question(object_id, index, _join(parts, one_part, expected_size))
        for (object_id, index), parts in sorted(groups.items(), key=lambda item: item[0])
    ]
    return [question for question in questions if question.prompts.is_answerable]


def _join(
    parts: list[PlanePrompts], one_part: bool, expected_size: ExpectedSize | None
) -> PlanePrompts:
    """All prompts of some parts."""
    return PlanePrompts(
        np.concatenate([part.points_yx for part in parts]),
        np.concatenate([part.point_labels for part in parts]),
        np.concatenate([part.boxes_yxyx for part in parts]),
        tuple(polygon for part in parts for polygon in part.polygons_yx),
        one_part=one_part,
        expected_size=expected_size,
    )
