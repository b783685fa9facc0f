"""Changes of the labels, kept so that they can be undone, redone and repeated by script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from psygnal import Signal

from napari_promptable.annotation.patches import LabelPatch
from napari_promptable.annotation.records import Records
from napari_promptable.planes import Index
from napari_promptable.prompts import PlanePrompts

Prompts = Mapping[int, Mapping[Index, PlanePrompts]]
"""By object id and plane."""


class Verb(StrEnum):
    """What a user can do to an annotation job."""

    COMMIT = "commit"  #: write the masks that answer prompts
    PROPAGATE = "propagate"  #: write masks that were carried from slice to slice
    AUTOMATIC = "automatic"  #: write objects that were found without prompts
    DELETE = "delete"  #: make objects background
    MERGE = "merge"  #: give objects the id of one of them
    RELABEL = "relabel"  #: give an object a new id
    CLEAR = "clear"  #: remove an object from slices on which it is not
    SPLIT = "split"  #: make several objects of one
    FILL = "fill"  #: fill the holes of objects
    SMOOTH = "smooth"  #: smooth their outlines
    CLEAN = "clean"  #: remove their specks
    GROW = "grow"  #: add a pixel all around
    SHRINK = "shrink"  #: remove a pixel all around
    CLASSIFY = "classify"  #: set the class of objects; leaves the labels alone
    PROMPT = "prompt"  #: edit prompts; leaves the labels alone and is in no history of them


TOUCH_UPS = (Verb.FILL, Verb.SMOOTH, Verb.CLEAN, Verb.GROW, Verb.SHRINK)
"""Verbs that correct the shape of objects."""

_STAYING = {*TOUCH_UPS, Verb.SPLIT, Verb.CLASSIFY}
"""Verbs during and after which the user works on the same object as before."""


@dataclass(frozen=True, eq=False)
class Change:
    """One entry of the history.

    Attributes
    ----------
    verb : Verb
        The user's action.
    object_ids : tuple of int
        The objects it concerned.
    patches : tuple of LabelPatch
        The pixels that changed.
    records_before, records_after : dict of (object id, Index) to ObjectOnSlice or None
        Records of the objects.
    prompts_before, prompts_after : dict of int to dict of Index to PlanePrompts
        Prompts of the objects whose prompts changed too.
    asked : dict of int to dict of Index to PlanePrompts
        The prompts that the masks answer.
    details : dict
        What else a repetition needs: policy, model, settings; plain values.
    classes_before, classes_after : dict of int to str
        Classes of the objects whose class changed; empty for none.
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
    classes_before: Mapping[int, str] = field(default_factory=dict)
    classes_after: Mapping[int, str] = field(default_factory=dict)

    def object_before(self, current: int) -> int:
        """Id of the object to work on after undoing, while `current` is the current one."""
        if self.verb in _STAYING:
            return current
        return self.object_ids[-1 if self.verb is Verb.RELABEL else 0]

    def object_after(self, current: int) -> int | None:
        """Id of the object to work on after doing or redoing, or None for a new object."""
        if self.verb in _STAYING:
            return current
        return self.object_ids[0] if self.verb in (Verb.PROPAGATE, Verb.CLEAR) else None

    @property
    def nbytes(self) -> int:
        """Bytes of pixels held."""
        return sum(patch.nbytes for patch in self.patches)


class History:
    """Changes in order, and the undone ones.

    Parameters
    ----------
    max_bytes : int, default 512 MiB
        Above this size of all pixels together, the oldest changes can no longer be undone. The
        newest always can.

    Attributes
    ----------
    changed : psygnal.Signal
        Emits when undo or redo would do something else than before.
    """

    changed = Signal()

    def __init__(self, max_bytes: int = 2**29) -> None:
        self._max_bytes = max_bytes
        self._settled: list[Change] = []
        self._done: list[Change] = []
        self._undone: list[Change] = []
        self._nbytes = 0  # counted along: there may be ten thousands of changes

    @property
    def changes(self) -> list[Change]:
        """All changes in force, the oldest first, undoable or not."""
        return [*self._settled, *self._done]

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to redo."""
        return bool(self._undone)

    @property
    def last_done(self) -> Change | None:
        """The change that undo would revert, or None if there is none."""
        return self._done[-1] if self._done else None

    @property
    def last_undone(self) -> Change | None:
        """The change that redo would repeat, or None if there is none."""
        return self._undone[-1] if self._undone else None

    @property
    def nbytes(self) -> int:
        """Bytes of pixels held."""
        return self._nbytes

    def add(self, change: Change) -> None:
        """Add a new change and drop the undone ones."""
        self._nbytes += change.nbytes - sum(undone.nbytes for undone in self._undone)
        self._undone.clear()
        self._done.append(change)
        while len(self._done) > 1 and self._nbytes > self._max_bytes:
            oldest = self._done.pop(0)
            self._nbytes -= oldest.nbytes
            self._settled.append(replace(oldest, patches=()))
        self.changed.emit()

    def settle(self, changes: list[Change]) -> None:
        """Add the changes of an earlier session, which cannot be undone."""
        self._settled.extend(changes)
        self.changed.emit()

    def step_back(self) -> None:
        """Count the last change as undone."""
        self._undone.append(self._done.pop())
        self.changed.emit()

    def step_forward(self) -> None:
        """Count the change undone last as done."""
        self._done.append(self._undone.pop())
        self.changed.emit()
