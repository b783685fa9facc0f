"""One annotation job: prompts, answers, labels, records and their history.

The one mutable thing of the headless core. It knows no viewer and no network: its owner reads
planes, resolves questions (in a thread, if it likes) and listens to the signals of the parts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from napari_promptable.annotation.answers import Answer, CurrentAnswers, PackedAnswer
from napari_promptable.annotation.classes import ObjectClasses
from napari_promptable.annotation.corrections import as_corrected
from napari_promptable.annotation.history import Change, History, Prompts, Verb
from napari_promptable.annotation.labels import ObjectLabels
from napari_promptable.annotation.object_ids import check_workable
from napari_promptable.annotation.outcomes import (
    Course,
    Outcome,
    Reason,
    outcome_of_edit,
    outcome_of_step,
    outcome_of_writing,
)
from napari_promptable.annotation.patches import Extent, LabelsArray
from napari_promptable.annotation.prompted_objects import PromptedObjects
from napari_promptable.annotation.records import (
    Key,
    ObjectOnSlice,
    Origin,
    Records,
    nothing_on,
)
from napari_promptable.annotation.written import Written
from napari_promptable.errors import LabelError, PromptError
from napari_promptable.fields import Field, draw_in
from napari_promptable.planes import Index, PlaneAxes
from napari_promptable.prompts import PlanePrompts
from napari_promptable.wording import on_plane

MOVED = "moved"
"""Key of a commit's details: id and plane of the objects that left a plane first."""


class SegmentationSession:
    """The verbs that concern prompts and labels together.

    Each verb returns an `Outcome`. A verb that changes nothing is not in the history.

    Parameters
    ----------
    planes : PlaneAxes
        How image and labels are cut into planes.
    labels : LabelsArray
        The array to commit objects to, of shape ``planes.shape``.
    first_id : int, default 1
        Id of the first object; lower ids are taken.

    Attributes
    ----------
    prompts : PromptedObjects
        The prompts of all objects, and the current object.
    answers : CurrentAnswers
        The model's answers to the prompts of the current object.
    labels : ObjectLabels
        The array, and how objects are written to it.
    records : ObjectRecords
        Facts about the objects in the array.
    classes : ObjectClasses
        Classes that objects can have.
    history : History
        Changes of the labels, done and undone.
    details : dict
        Notes to keep with each change, such as the model; plain values.
    """

    def __init__(self, planes: PlaneAxes, labels: LabelsArray, first_id: int = 1) -> None:
        self.planes = planes
        self.labels = ObjectLabels(planes, labels)
        self.records = self.labels.records
        self.classes = ObjectClasses(self.records)
        self.prompts = PromptedObjects(self.labels, first_id)
        self.answers = CurrentAnswers(self.prompts, planes.plane_shape)
        self.history = History()
        self.details: dict[str, Any] = {}

    # taking over objects

    def restore(
        self,
        prompts: Prompts,
        records: Records,
        changes: list[Change],
        class_names: Mapping[int, str],
    ) -> None:
        """Take over the state of an earlier session, whose changes cannot be undone."""
        self.prompts.assign(prompts)
        self.records.class_names |= class_names
        self.records.update(records)
        self.history.settle(changes)
        self.prompts.new_object()

    def note_plane(self, index: Index, extents: Mapping[int, Extent]) -> bool:
        """Record which objects a plane of the labels holds, see `ObjectRecords.note_plane`.

        If one of them has the id of the current object, which is not committed yet, the current
        object moves to a free id.
        """
        current = self.prompts.current_object
        is_committed = bool(self.records.of(current))
        is_news = self.records.note_plane(index, extents)
        if current in extents and not is_committed:
            self.prompts.leave_id()
        return is_news

    def refine_object(self, object_id: int, index: Index, field: Field | None = None) -> None:
        """Start correcting an object that is in the labels, whether drawn here or elsewhere.

        On a plane where it has no prompts, its mask becomes the prompt that clicks correct.

        Parameters
        ----------
        object_id : int
            Its id, which stays.
        index : Index
            The plane.
        field : Field, optional
            The part of the plane on which to correct it; by default the whole plane.

        Raises
        ------
        PromptError
            If the object is not on this plane, or not in this field.
        """
        found = self.labels.find(object_id, index, field)
        if object_id == 0 or found.is_empty:
            raise PromptError(
                f"object {object_id} is not {on_plane(index)}; pick an object that is in view"
            )
        check_workable(object_id)
        prompts = self.prompts.of(object_id)
        if index not in prompts:
            correction = PlanePrompts(mask=draw_in(found, field), field=field)
            self.prompts.assign({object_id: {**prompts, index: correction}})
        if self.records.get(object_id, index) is None:
            self.records.update({(object_id, index): ObjectOnSlice(found.region, Origin.FOUND)})
        self.prompts.show(object_id)

    # writing masks

    def commit(self) -> Outcome:
        """Write the current object's masks on all its planes, then begin a new object.

        Where its prompts say that it is absent, and where prompts that gave pixels were
        removed, it becomes background. If nothing or hardly anything is written, because other
        objects keep their pixels, the object stays current with its prompts.

        Raises
        ------
        LabelError
            If the id does not fit the labels; nothing is written.
        """
        current, prompts = self.prompts.current_object, dict(self.prompts.of_current)
        objects = self.answers.to_objects()
        records = self.records.of(current)
        absent = [index for index in records if index in prompts and prompts[index].says_absent]
        if not objects and not absent:
            return Outcome(Verb.COMMIT, (current,), reason=Reason.NO_ANSWER)
        removed = [i for i in records if i not in prompts and records[i].is_anchor]
        objects |= nothing_on(self.planes, current, [*absent, *removed])
        outcome = self._write(Verb.COMMIT, objects, {current: prompts})
        if outcome.has_changed and not outcome.is_mostly_covered:
            self.prompts.new_object()
        return outcome

    def commit_answers(
        self, answers: Iterable[Answer | PackedAnswer], moved: Collection[Key] = ()
    ) -> Outcome:
        """Write many objects at once, as one entry of the history. See `commit`.

        Their prompts become the objects' prompts, also of objects that get no pixels.

        Parameters
        ----------
        answers : iterable of Answer or PackedAnswer
            One for each object and plane.
        moved : collection of (object id, Index), optional
            Where the prompts of these objects were before. The objects leave these planes even
            if other objects keep all pixels of their new masks.
        """
        objects: dict[Key, ObjectOnSlice] = {}
        prompts: dict[int, dict[Index, PlanePrompts]] = {}
        for answer in answers:
            question = answer.question
            prompts.setdefault(question.object_id, {})[question.index] = question.prompts
            objects[question.object_id, question.index] = answer.on_slice
        prompts |= {object_id: {} for object_id, _ in moved if object_id not in prompts}
        if not prompts:
            return Outcome(Verb.COMMIT, reason=Reason.NO_ANSWER)
        outcome = self._write(Verb.COMMIT, objects, prompts, prompts=prompts, moved=moved)
        if outcome.has_changed:
            self.prompts.new_object()
        return outcome

    def commit_masks(
        self,
        objects: Mapping[Key, ObjectOnSlice],
        details: Mapping[str, Any] | None = None,
        asked: Prompts | None = None,
    ) -> Outcome:
        """Write masks that were propagated from the objects' prompts, as one entry.

        Parameters
        ----------
        objects : dict of (object id, Index) to ObjectOnSlice
            With masks.
        details : dict, optional
            What a repetition needs; plain values.
        asked : dict of int to dict of Index to PlanePrompts, optional
            The prompts from which they were propagated; the present ones by default.

        Raises
        ------
        LabelError
            If an id does not fit the labels; nothing is written.
        """
        if not objects:
            return Outcome(Verb.PROPAGATE, reason=Reason.NO_ANSWER)
        if asked is None:
            asked = self._prompts_of(object_id for object_id, _ in objects)
        return self._write(Verb.PROPAGATE, objects, asked, details)

    def _write(
        self,
        verb: Verb,
        objects: Mapping[Key, ObjectOnSlice],
        asked: Prompts,
        details: Mapping[str, Any] | None = None,
        prompts: Prompts | None = None,
        moved: Collection[Key] = (),
    ) -> Outcome:
        """Write masks. Unless that changes nothing, set prompts and add to the history."""
        ids = tuple(dict.fromkeys(object_id for object_id, _ in (*objects, *moved)))
        written = self.labels.write(objects, moved)
        if written.num_pixels:
            left = [[object_id, list(index)] for object_id, index in moved]
            details = {"policy": str(self.labels.policy), **(details or {})}
            details |= {MOVED: left} if left else {}
            self.add_change(verb, ids, written, prompts or {}, asked, details)
        return outcome_of_writing(verb, ids, written)

    def add_change(
        self,
        verb: Verb,
        object_ids: tuple[int, ...],
        written: Written,
        prompts: Prompts,
        asked: Prompts | None = None,
        details: Mapping[str, Any] | None = None,
        classes: Mapping[int, str] | None = None,
    ) -> None:
        """Set prompts and classes of some objects, and add the change to the history.

        New objects take the current class, unless `classes` says otherwise.
        """
        classes = {**self.classes.of_new(written), **(classes or {})}
        change = Change(
            verb,
            object_ids,
            written.patches,
            written.records_before,
            written.records_after,
            prompts_before=self._prompts_of(prompts),
            prompts_after=prompts,
            asked=asked or {},
            details={**self.details, **(details or {})},
            classes_before=self.classes.of(classes),
            classes_after=classes,
        )
        self.prompts.assign(prompts)
        self.classes.assign(classes)
        self.history.add(change)

    def _prompts_of(self, object_ids: Iterable[int]) -> Prompts:
        return {object_id: dict(self.prompts.of(object_id)) for object_id in object_ids}

    # whole objects

    def delete_objects(self, object_ids: Sequence[int]) -> Outcome:
        """Make objects background and remove their prompts."""
        written = self.labels.relabel(object_ids, 0)
        prompts: Prompts = {object_id: {} for object_id in object_ids}
        no_class = dict.fromkeys(object_ids, "")
        outcome = self._finish(Verb.DELETE, tuple(object_ids), written, prompts, no_class)
        self.prompts.show(self.prompts.current_object)
        return outcome

    def merge_objects(self, object_ids: Sequence[int], into: int) -> Outcome:
        """Give objects the id of one of them. It keeps its prompts, the others lose theirs.

        Where it gets pixels, its mask takes the place of its prompts.
        """
        if into not in object_ids or len(set(object_ids)) < 2:
            raise PromptError(
                f"objects {list(object_ids)} cannot be merged into {into}; choose two or more, "
                "one of which gives the id"
            )
        others = [object_id for object_id in object_ids if object_id != into]
        written = self.labels.relabel(others, into)
        joined = [key for key in written.records_after if key[0] == into]
        kept = as_corrected(self.labels, self.prompts.of, joined)
        prompts: Prompts = {**kept, **{object_id: {} for object_id in others}}
        no_class = dict.fromkeys(others, "")
        outcome = self._finish(Verb.MERGE, (into, *others), written, prompts, no_class)
        current = self.prompts.current_object
        self.prompts.show(into if current in others else current)
        return outcome

    def relabel_object(self, object_id: int, new_id: int) -> Outcome:
        """Give an object a free id, which its prompts and class follow."""
        if self.prompts.of(new_id):
            raise PromptError(f"object {new_id} has prompts; choose an id that is free")
        if new_id == object_id or self.records.of(new_id):
            raise LabelError(
                f"id {new_id} is in use; choose a free one, or merge the two objects"
            )
        written = self.labels.relabel([object_id], new_id)
        prompts = {object_id: {}, new_id: dict(self.prompts.of(object_id))}
        [name] = self.classes.of([object_id]).values()
        classes = {object_id: "", new_id: name}
        outcome = self._finish(Verb.RELABEL, (new_id, object_id), written, prompts, classes)
        current = self.prompts.current_object
        self.prompts.show(new_id if current == object_id else current)
        return outcome

    def _finish(
        self,
        verb: Verb,
        object_ids: tuple[int, ...],
        written: Written,
        prompts: Prompts,
        classes: Mapping[int, str],
    ) -> Outcome:
        """Set prompts and classes after a verb on whole objects, and report."""
        if not written.num_pixels and self._prompts_of(prompts) == prompts:
            return Outcome(verb, object_ids, reason=Reason.UNCHANGED)
        self.add_change(verb, object_ids, written, prompts, classes=classes)
        return Outcome(verb, object_ids, written.num_pixels, written.num_slices)

    # undo and redo

    def undo(self) -> Outcome | None:
        """Undo the last change of the labels, or None if there is none."""
        change = self.history.last_done
        if change is None:
            return None
        written = self.labels.revert(change)
        self.history.step_back()
        self.prompts.assign(change.prompts_before)
        self.classes.assign(change.classes_before)
        self.prompts.show(change.object_before(self.prompts.current_object))
        return outcome_of_step(change, written, Course.UNDONE)

    def redo(self) -> Outcome | None:
        """Redo the change of the labels undone last, or None if there is none."""
        change = self.history.last_undone
        if change is None:
            return None
        written = self.labels.repeat(change)
        self.history.step_forward()
        self.prompts.assign(change.prompts_after)
        self.classes.assign(change.classes_after)
        following = change.object_after(self.prompts.current_object)
        if following is None:
            self.prompts.new_object()
        else:
            self.prompts.show(following)
        return outcome_of_step(change, written, Course.REDONE)

    def undo_step(self) -> Outcome | None:
        """Undo the newest prompt of the current object, or else the last change."""
        if self.prompts.can_undo:
            current, planes = self.prompts.current_object, self.prompts.undo()
            return outcome_of_edit(current, planes, Course.UNDONE)
        return self.undo()

    def redo_step(self) -> Outcome | None:
        """Redo what `undo_step` undid last. See there."""
        if self.prompts.can_redo:
            current, planes = self.prompts.current_object, self.prompts.redo()
            return outcome_of_edit(current, planes, Course.REDONE)
        return self.redo()
