"""Which objects were made of which points and shapes, also after these were moved."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Points, Shapes

from napari_promptable.annotation.answers import PackedAnswer, Question
from napari_promptable.annotation.prompt_groups import SinglePrompt
from napari_promptable.annotation.records import ObjectOnSlice
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.masks import PackedMask
from napari_promptable.planes import Index
from napari_promptable.prompts import PlanePrompts

_NUMBERS = count()


class _NumberedRows:
    """Numbers for the rows of a layer, which stay with them when rows are moved.

    Parameters
    ----------
    layer : Points or Shapes
        The layer.
    """

    def __init__(self, layer: Points | Shapes) -> None:
        self.rows: list[bytes] = []
        self.numbers: list[int] = []
        self.follow(layer)

    def follow(self, layer: Points | Shapes) -> None:
        """Find the rows again after an edit, which moved, added or removed some."""
        rows = [np.asarray(row, float).tobytes() for row in layer.data]
        if len(rows) != len(self.rows):
            known: dict[bytes, list[int]] = {}
            for row, number in zip(self.rows, self.numbers, strict=True):
                known.setdefault(row, []).append(number)
            self.numbers = [
                known[row].pop(0) if known.get(row) else next(_NUMBERS) for row in rows
            ]
        self.rows = rows


@dataclass(frozen=True)
class _Made:
    """An object, and the row and plane it was made of."""

    object_id: int
    index: Index
    row: bytes


class MadeObjects:
    """Knows the points and shapes of the user's layers that have become objects."""

    def __init__(self) -> None:
        self._layers: WeakKeyDictionary[Points | Shapes, _NumberedRows] = WeakKeyDictionary()
        self._made: WeakKeyDictionary[SegmentationSession, dict[int, _Made]] = (
            WeakKeyDictionary()
        )

    def follow(self, layer: Points | Shapes) -> None:
        """Find points or shapes again after an edit of their layer."""
        if layer in self._layers:
            self._layers[layer].follow(layer)
        else:
            self._layers[layer] = _NumberedRows(layer)

    def still_to_make(
        self,
        session: SegmentationSession,
        layer: Points | Shapes,
        singles: Iterable[SinglePrompt],
    ) -> list[SinglePrompt]:
        """Leave out what has its object. What was moved since then gets the object's id."""
        self.follow(layer)
        rows, found = self._layers[layer].rows, []
        for single in singles:
            made = self._made_of(session, layer, single)
            if made is None:
                found.append(single)
            elif made.row != rows[single.number]:
                found.append(replace(single, object_id=made.object_id))
        return found

    def left_behind(
        self,
        session: SegmentationSession,
        layer: Points | Shapes,
        singles: Iterable[SinglePrompt],
    ) -> list[PackedAnswer]:
        """Return empty masks for the planes that moved points and shapes are no longer on."""
        nothing = ObjectOnSlice.of_mask(PackedMask.empty(session.planes.plane_shape))
        made = [(self._made_of(session, layer, single), single.index) for single in singles]
        return [
            PackedAnswer(Question(each.object_id, each.index, PlanePrompts()), nothing)
            for each, index in made
            if each is not None and each.index != index
        ]

    def match(
        self,
        layer: Points | Shapes,
        singles: Iterable[SinglePrompt],
        questions: Sequence[Question],
    ) -> dict[int, _Made]:
        """Find the objects that questions make of one point or shape each, for `note`."""
        ids = {_place_of(each.index, each.prompts): each.object_id for each in questions}
        numbered, made = self._layers[layer], {}
        for single in singles:
            object_id = ids.get(_place_of(single.index, single.prompts))
            if object_id is not None:
                row = numbered.rows[single.number]
                made[numbered.numbers[single.number]] = _Made(object_id, single.index, row)
        return made

    def note(self, session: SegmentationSession, made: Mapping[int, _Made]) -> None:
        """Note that these objects were made."""
        self._made.setdefault(session, {}).update(made)

    def _made_of(
        self, session: SegmentationSession, layer: Points | Shapes, single: SinglePrompt
    ) -> _Made | None:
        """The object that was made of a point or shape, if it exists."""
        number = self._layers[layer].numbers[single.number]
        made = self._made.get(session, {}).get(number)
        return made if made is not None and session.records.of(made.object_id) else None


def _place_of(index: Index, prompts: PlanePrompts) -> Hashable:
    """The same for the same prompts on the same plane."""
    points, boxes = prompts.points_yx.tobytes(), prompts.boxes_yxyx.tobytes()
    signs, outlines = prompts.point_labels.tobytes(), prompts.polygons_yx
    return index, points, signs, boxes, tuple(each.tobytes() for each in outlines)
