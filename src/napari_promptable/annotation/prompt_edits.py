"""Edits of prompts, kept so that the newest prompt can be undone and redone."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass

from napari_promptable.planes import Index
from napari_promptable.prompts import PlanePrompts

PromptsByPlane = Mapping[Index, PlanePrompts]

_MAX_EDITS = 1000  # per object


@dataclass(frozen=True, eq=False)
class Edit:
    """One edit of an object's prompts.

    Attributes
    ----------
    before, after : dict of Index to PlanePrompts
        All prompts of the object.
    """

    before: PromptsByPlane
    after: PromptsByPlane


class PromptEdits:
    """Edits of the prompts of each object, and the undone ones.

    An edit counts only while the object has the prompts that it led to. So verbs that replace
    prompts, such as boxes → objects, need not know about edits: when undo brings the prompts
    back, their edits count again.
    """

    def __init__(self) -> None:
        self._done: dict[int, deque[Edit]] = defaultdict(lambda: deque(maxlen=_MAX_EDITS))
        self._undone: dict[int, list[Edit]] = defaultdict(list)

    def add(self, object_id: int, edit: Edit) -> None:
        """Add an edit. Undone edits of this object are dropped."""
        self._done[object_id].append(edit)
        self._undone[object_id].clear()

    def can_undo(self, object_id: int, prompts: PromptsByPlane) -> bool:
        """Whether there is an edit that led to these prompts."""
        edits = self._done[object_id]
        return bool(edits) and have_same_prompts(edits[-1].after, prompts)

    def can_redo(self, object_id: int, prompts: PromptsByPlane) -> bool:
        """Whether there is an undone edit that started from these prompts."""
        edits = self._undone[object_id]
        return bool(edits) and have_same_prompts(edits[-1].before, prompts)

    def step_back(self, object_id: int) -> Edit:
        """Count the last edit as undone, and return it."""
        edit = self._done[object_id].pop()
        self._undone[object_id].append(edit)
        return edit

    def step_forward(self, object_id: int) -> Edit:
        """Count the edit undone last as done, and return it."""
        edit = self._undone[object_id].pop()
        self._done[object_id].append(edit)
        return edit


def have_same_prompts(first: PromptsByPlane, second: PromptsByPlane) -> bool:
    """Compare prompts by plane, whichever candidates are chosen."""
    return first.keys() == second.keys() and all(
        prompts.has_same_prompts(second[index]) for index, prompts in first.items()
    )
