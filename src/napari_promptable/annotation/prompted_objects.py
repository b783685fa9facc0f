"""Objects with prompts, one of which the user works on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from psygnal import Signal

from napari_promptable.annotation.corrections import with_masks
from napari_promptable.annotation.history import Prompts
from napari_promptable.annotation.labels import ObjectLabels
from napari_promptable.annotation.object_ids import check_workable, iter_free_ids
from napari_promptable.annotation.prompt_edits import (
    Edit,
    PromptEdits,
    PromptsByPlane,
    have_same_prompts,
)
from napari_promptable.planes import Index
from napari_promptable.prompts import PlanePrompts


class PromptedObjects:
    """Prompts of objects on planes, and which object is the current one.

    Parameters
    ----------
    labels : ObjectLabels
        The committed objects, whose ids are taken and whose masks can be corrected.
    first_id : int, default 1
        Id of the first object; lower ids are taken.

    Attributes
    ----------
    assigned : psygnal.Signal
        Emits the ids of objects whose prompts a verb set.
    current_changed : psygnal.Signal
        Emits (object id) when another object becomes the current one.
    changed : psygnal.Signal
        Emits (object id, planes) when the prompts of the current object change.
    restored : psygnal.Signal
        Emits (object id) when undo or redo brings back prompts of the current object, which
        tool layers do not show yet.
    """

    assigned = Signal(frozenset)
    current_changed = Signal(int)
    changed = Signal(int, tuple)
    restored = Signal(int)

    def __init__(self, labels: ObjectLabels, first_id: int = 1) -> None:
        self._labels = labels
        self._objects: dict[int, dict[Index, PlanePrompts]] = {first_id: {}}
        self._current = first_id
        self._edits = PromptEdits()

    # objects

    @property
    def current_object(self) -> int:
        """Id of the object that the user works on."""
        return self._current

    @property
    def of_current(self) -> PromptsByPlane:
        """Prompts of the current object by plane."""
        return self._objects[self._current]

    @property
    def objects(self) -> Prompts:
        """Prompts by object id and plane, without the objects that have none."""
        return {object_id: planes for object_id, planes in self._objects.items() if planes}

    def free_ids(self) -> Iterator[int]:
        """Yield ids without prompts and pixels, see `iter_free_ids`."""
        taken = {*self._objects, *self._labels.records.object_ids}
        return iter_free_ids(taken, self._labels.array.dtype)

    def of(self, object_id: int) -> PromptsByPlane:
        """Return the prompts of one object by plane, empty for an id without any."""
        return self._objects.get(object_id, {})

    def new_object(self) -> int:
        """Begin a new object and return its id. An id without prompts or pixels is reused."""
        committed = self._labels.records.object_ids
        unused = [i for i, planes in self._objects.items() if not planes and i not in committed]
        self.select(unused[0] if unused else next(self.free_ids()))
        return self._current

    def leave_id(self) -> None:
        """Move the current object, with its prompts, to a free id."""
        former, self._current = self._current, next(self.free_ids())
        self._objects[self._current] = self._objects.pop(former, {})
        self.current_changed.emit(self._current)

    def select(self, object_id: int) -> None:
        """Make an object the current one. Its prompts come back."""
        check_workable(object_id)
        if object_id != self._current:
            self.show(object_id)

    def show(self, object_id: int) -> None:
        """Make an object the current one, also if it is already but its prompts changed."""
        self._objects.setdefault(object_id, {})
        self._current = object_id
        self.current_changed.emit(object_id)

    # prompts

    def assign(self, prompts: Prompts) -> None:
        """Set the prompts of some objects, as part of a verb that concerns labels too."""
        self._objects |= {object_id: dict(planes) for object_id, planes in prompts.items()}
        self.assigned.emit(frozenset(prompts))

    def add(self, objects: Prompts) -> list[int]:
        """Add objects with prompts, under free ids where theirs are taken. Returns the ids."""
        taken = {*self.objects, *self._labels.records.object_ids}
        ids = []
        for object_id, planes in objects.items():
            free = object_id if object_id not in taken else max(*taken, *objects) + 1
            taken.add(free)
            ids.append(free)
            self.assign({free: planes})
        return ids

    def replace(self, planes: PromptsByPlane) -> None:
        """Set all prompts of the current object. Planes without prompts are left out.

        Unchanged prompts keep their chosen candidate, and objects keep the mask that is being
        corrected. The first clicks on a slice that was propagated correct its mask.
        """
        former = self._objects[self._current]
        kept = {}
        for index, prompts in with_masks(planes, former, self._labels, self._current).items():
            if prompts.is_empty:
                continue
            before = former.get(index)
            if before is not None and before.has_same_prompts(prompts):
                prompts = before if prompts.candidate is None else prompts
            kept[index] = prompts
        if not have_same_prompts(former, kept):
            self._edits.add(self._current, Edit(former, kept))
        if former != kept:
            self._set_current(kept)

    def put(self, index: Index, prompts: PlanePrompts) -> tuple[Index, ...]:
        """Set the current object's prompts on one plane. Returns the planes that changed."""
        former = self.of_current
        kept = {**former, index: prompts}
        if have_same_prompts(former, kept):
            return ()
        self._edits.add(self._current, Edit(former, kept))
        return self._set_current(kept, is_restored=True)

    def choose_candidate(self, index: Index, candidate: int) -> None:
        """Note which candidate the user chose on a plane with prompts."""
        planes = self._objects[self._current]
        planes[index] = replace(planes[index], candidate=candidate)

    def _set_current(
        self, planes: PromptsByPlane, *, is_restored: bool = False
    ) -> tuple[Index, ...]:
        """Set the prompts of the current object. Returns the planes that changed."""
        former = self._objects[self._current]
        self._objects[self._current] = dict(planes)
        changed = tuple(i for i in {**former, **planes} if former.get(i) != planes.get(i))
        self.changed.emit(self._current, changed)
        if is_restored:
            self.restored.emit(self._current)
        return changed

    # undo

    @property
    def can_undo(self) -> bool:
        """Whether the current object has an edit to undo."""
        return self._edits.can_undo(self._current, self.of_current)

    @property
    def can_redo(self) -> bool:
        """Whether the current object has an edit to redo."""
        return self._edits.can_redo(self._current, self.of_current)

    def undo(self) -> tuple[Index, ...]:
        """Undo the newest edit of the current object. Returns the planes that changed."""
        planes = self._edits.step_back(self._current).before
        return self._set_current(planes, is_restored=True)

    def redo(self) -> tuple[Index, ...]:
        """Redo the edit undone last. Returns the planes that changed."""
        planes = self._edits.step_forward(self._current).after
        return self._set_current(planes, is_restored=True)
