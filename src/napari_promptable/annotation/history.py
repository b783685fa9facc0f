"""What was done to the labels, so that it can be undone, done again, and repeated by script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from napari_promptable.annotation.patches import Extent, LabelPatch
from napari_promptable.planes import Index
from napari_promptable.prompts import PlanePrompts

Key = tuple[int, Index]
"""Object id and plane."""

Prompts = Mapping[int, Mapping[Index, PlanePrompts]]
"""By object id and plane."""


class Verb(StrEnum):
    """What can be done to labels."""

    COMMIT = "commit"  #: masks of prompts were written
    PROPAGATE = "propagate"  #: masks were carried on from slice to slice
    DELETE = "delete"  #: objects became background
    MERGE = "merge"  #: objects took the id of one of them
    RELABEL = "relabel"  #: an object took a new id


class Origin(StrEnum):
    """Where an object's pixels on a plane come from."""

    PROMPTS = "prompts"  #: it has prompts on this plane
    PROPAGATED = "propagated"  #: carried on from another slice
    FOUND = "found"  #: they were in the labels, whoever made them


@dataclass(frozen=True)
class SliceRecord:
    """What is known of one object on one plane.

    Attributes
    ----------
    extent : (slice, slice) or None
        Rows and columns of its pixels; None where it has none.
    origin : Origin
        Where they come from.
    confidence : float
        0 to 1; NaN where nothing is known.
    stop : str
        Why its propagation ended here; empty where it did not.
    """

    extent: Extent | None
    origin: Origin
    confidence: float = float("nan")
    stop: str = ""


Records = Mapping[Key, SliceRecord | None]
"""None is an object that is not on the plane."""


@dataclass(frozen=True, eq=False)
class Change:
    """One entry of the history.

    Attributes
    ----------
    verb : Verb
        What was done.
    object_ids : tuple of int
        To which objects.
    patches : tuple of LabelPatch
        The pixels that changed.
    records_before, records_after : dict of (object id, Index) to SliceRecord or None
        What was known of the objects.
    prompts_before, prompts_after : dict of int to dict of Index to PlanePrompts
        Prompts of the objects whose prompts changed too.
    asked : dict of int to dict of Index to PlanePrompts
        The prompts that the masks answer.
    details : dict
        What else is needed to do the same again: policy, model, settings; plain values.
    """

    verb: Verb
    object_ids: tuple[int, ...]
    patches: tuple[LabelPatch, ...]
    records_before: Records
    records_after: Records
    prompts_before: Prompts = field(default_factory=dict)
    prompts_after: Prompts = field(default_factory=dict)
    asked: Prompts = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of pixels held."""
        return sum(patch.nbytes for patch in self.patches)


class History:
    """Changes that can be taken back, in order, and those that were.

    Parameters
    ----------
    max_bytes : int, default 512 MiB
        When the pixels of all changes are more, the oldest can no longer be undone; the newest
        always can.
    """

    def __init__(self, max_bytes: int = 2**29) -> None:
        self._max_bytes = max_bytes
        self._settled: list[Change] = []
        self._done: list[Change] = []
        self._undone: list[Change] = []

    @property
    def changes(self) -> list[Change]:
        """All changes that hold, the oldest first, undoable or not."""
        return [*self._settled, *self._done]

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to do again."""
        return bool(self._undone)

    @property
    def nbytes(self) -> int:
        """Bytes of pixels held."""
        return sum(change.nbytes for change in [*self._done, *self._undone])

    def add(self, change: Change) -> None:
        """Take note of a new change; what was undone before is gone."""
        self._undone.clear()
        self._done.append(change)
        while len(self._done) > 1 and self.nbytes > self._max_bytes:
            self._settled.append(replace(self._done.pop(0), patches=()))

    def settle(self, changes: list[Change]) -> None:
        """Take note of what was done in an earlier session, which cannot be undone."""
        self._settled.extend(changes)

    def step_back(self) -> Change | None:
        """Return the last change and count it as undone; None if there is none."""
        if not self._done:
            return None
        self._undone.append(self._done.pop())
        return self._undone[-1]

    def step_forward(self) -> Change | None:
        """Return the change undone last and count it as done; None if there is none."""
        if not self._undone:
            return None
        self._done.append(self._undone.pop())
        return self._done[-1]
