"""Which objects were made of which points and shapes, also after these were moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Points, Shapes

from napari_promptable.annotation.prompt_groups import SinglePrompt
from napari_promptable.annotation.records import Key
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.planes import Index

_NUMBERS = count()


@dataclass(frozen=True)
class _Made:
    """An object, and the row, its sign and the plane that it was made of."""

    object_id: int
    index: Index
    row: bytes

    @property
    def place(self) -> Key:
        """The object and the plane."""
        return self.object_id, self.index


@dataclass(frozen=True)
class Due:
    """What is to be done so that the objects are the ones that a layer asks for.

    Attributes
    ----------
    singles : list of SinglePrompt
        All prompts of the objects to make, each with the id of its object.
    left : list of (object id, Index)
        Where objects no longer have the prompts of which they were made.
    made : dict of int to _Made
        For `MadeObjects.note`.
    """

    singles: list[SinglePrompt]
    left: list[Key]
    made: dict[int, _Made]


class _NumberedRows:
    """Numbers for the rows of a layer, which stay with them when rows are moved.

    Parameters
    ----------
    layer : Points or Shapes
        The layer.

    Attributes
    ----------
    made : dict of SegmentationSession to dict of int to _Made
        What was made of the rows, by their numbers.
    """

    def __init__(self, layer: Points | Shapes) -> None:
        self.rows: list[bytes] = []
        self.numbers: list[int] = []
        self.made: WeakKeyDictionary[SegmentationSession, dict[int, _Made]] = (
            WeakKeyDictionary()
        )
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

    def row_of(self, single: SinglePrompt) -> bytes:
        """Position and sign of a prompt of the layer."""
        return self.rows[single.number] + single.prompts.point_labels.tobytes()


class MadeObjects:
    """Knows the points and shapes of the user's layers that have become objects."""

    def __init__(self) -> None:
        self._layers: WeakKeyDictionary[Points | Shapes, _NumberedRows] = WeakKeyDictionary()

    def follow(self, layer: Points | Shapes) -> None:
        """Find points or shapes again after an edit of their layer."""
        if layer in self._layers:
            self._layers[layer].follow(layer)
        else:
            self._layers[layer] = _NumberedRows(layer)

    def find_due(
        self,
        session: SegmentationSession,
        layer: Points | Shapes,
        singles: Sequence[SinglePrompt],
        free_ids: Iterator[int],
        *,
        as_one: bool,
    ) -> Due:
        """Find the objects that are missing, or whose points or shapes changed.

        Parameters
        ----------
        session : SegmentationSession
            Holds the objects.
        layer : Points or Shapes
            The layer.
        singles : sequence of SinglePrompt
            What it holds.
        free_ids : iterator of int
            Ids for what has none: neither on the layer, nor of an object made of it.
        as_one : bool
            Whether all prompts without an id on the layer belong to one object.
        """
        self.follow(layer)
        numbered = self._layers[layer]
        former = {
            number: made
            for number, made in numbered.made.get(session, {}).items()
            if session.records.of(made.object_id)
        }
        numbers = numbered.numbers
        known = {number: made.object_id for number, made in former.items()}
        numbered_singles = {numbers[single.number]: single for single in singles}
        find_ids = _ids_as_one if as_one else _ids_of_each
        found = {
            number: (object_id, replace(numbered_singles[number], object_id=object_id))
            for number, object_id in find_ids(numbered_singles, known, free_ids).items()
        }
        now = {
            number: _Made(object_id, single.index, numbered.row_of(single))
            for number, (object_id, single) in found.items()
        }
        return _compare(former, now, found)

    def note(self, session: SegmentationSession, layer: Points | Shapes, due: Due) -> None:
        """Note that what was due has been made."""
        self._layers[layer].made[session] = due.made


def _ids_of_each(
    singles: Mapping[int, SinglePrompt], known: Mapping[int, int], free_ids: Iterator[int]
) -> dict[int, int]:
    """Find the object of each prompt: as its layer says, or as before, or a new one.

    Prompts that only exclude are left out where they belong to no object. Of those that were
    one object before, the first keeps it.
    """
    unused = _unasked(singles, free_ids)
    ids, kept = dict[int, int](), set[int]()
    for number, single in singles.items():
        object_id = single.object_id
        if object_id is None:
            object_id = known.get(number)
            if object_id is None or object_id in kept:
                object_id = next(unused) if single.prompts.is_answerable else None
            else:
                kept.add(object_id)
        if object_id is not None:
            ids[number] = object_id
    return ids


def _ids_as_one(
    singles: Mapping[int, SinglePrompt], known: Mapping[int, int], free_ids: Iterator[int]
) -> dict[int, int]:
    """Find the object of each prompt: as its layer says, or the one that the others share."""
    ids = {n: each.object_id for n, each in singles.items() if each.object_id is not None}
    sharing = singles.keys() - ids.keys()
    if sharing:
        before = {known[number] for number in sharing & known.keys()}
        shared = before.pop() if len(before) == 1 else next(_unasked(singles, free_ids))
        ids |= dict.fromkeys(sharing, shared)
    return {number: ids[number] for number in singles}


def _unasked(singles: Mapping[int, SinglePrompt], free_ids: Iterator[int]) -> Iterator[int]:
    """Free ids that no prompt asks for."""
    asked = {single.object_id for single in singles.values()}
    return (object_id for object_id in free_ids if object_id not in asked)


def _compare(
    former: Mapping[int, _Made],
    now: Mapping[int, _Made],
    found: Mapping[int, tuple[int, SinglePrompt]],
) -> Due:
    """Find the objects of which any row came, changed or went, by the rows' numbers."""
    rows = {*former, *now}
    changed = [number for number in rows if former.get(number) != now.get(number)]
    ids = {made[n].object_id for made in (former, now) for n in changed if n in made}
    left = {former[number].place for number in changed if number in former and number in now}
    due = [single for object_id, single in found.values() if object_id in ids]
    return Due(due, sorted(left), dict(now))
