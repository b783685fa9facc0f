"""The state of one annotation job: objects, prompts, answers, labels and their history.

The one mutable thing of the headless core. It knows no viewer and no network: whoever owns
it reads planes, resolves questions (in a thread, if it likes) and listens to the signals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from psygnal import Signal

from napari_promptable.annotation.history import (
    Change,
    Key,
    Origin,
    Prompts,
    Records,
    SliceRecord,
    Verb,
)
from napari_promptable.annotation.labels import ObjectLabels, SliceMask
from napari_promptable.annotation.patches import Extent, LabelsArray, OverlapPolicy
from napari_promptable.annotation.prompted_objects import PromptedObjects
from napari_promptable.annotation.questions import Answer
from napari_promptable.errors import PromptError
from napari_promptable.masks import mask_region
from napari_promptable.planes import Index, PlaneAxes, ReadPlane
from napari_promptable.predict.click_by_click import chosen_candidate
from napari_promptable.predict.embeddings import EmbeddingCache
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.prompts import PlanePrompts


class SegmentationSession(PromptedObjects):
    """Objects with prompts on the planes of one image, and the labels they are written to.

    Parameters
    ----------
    planes : PlaneAxes
        How image and labels are cut into planes.
    labels : LabelsArray
        Where objects are committed to, of shape ``planes.shape``.
    first_id : int, default 1
        Id of the first object; ids below it are somebody else's.

    Attributes
    ----------
    objects_in_labels : ObjectLabels
        What is known of the objects that are in the labels.
    details : dict
        What the owner wants to be noted with each change, such as the model; plain values.
    class_names : dict of int to str
        Names that the user gave to objects.
    labels_changed : psygnal.Signal
        Emits (patches) when labels were written.
    records_changed : psygnal.Signal
        Emits (ids) of the objects of which something else is known.
    history_changed : psygnal.Signal
        Emits when what undo and redo would do has changed.
    """

    labels_changed = Signal(tuple)
    records_changed = Signal(frozenset)
    history_changed = Signal()

    def __init__(self, planes: PlaneAxes, labels: LabelsArray, first_id: int = 1) -> None:
        super().__init__(first_id)
        self.planes = planes
        self.objects_in_labels = ObjectLabels(planes, labels)
        self.objects_in_labels.labels_changed.connect(self.labels_changed.emit)
        self.objects_in_labels.records_changed.connect(self.records_changed.emit)
        self.objects_in_labels.history_changed.connect(self.history_changed.emit)
        self.details: dict[str, Any] = {}
        self.class_names: dict[int, str] = {}

    def restore(
        self,
        prompts: Prompts,
        records: Records,
        changes: list[Change],
        class_names: Mapping[int, str],
    ) -> None:
        """Take over an earlier session's state; what it did cannot be undone any more."""
        self._set_prompts(prompts)
        self.class_names |= class_names
        self.objects_in_labels.history.settle(changes)
        self.objects_in_labels.set_records(records)
        self.history_changed.emit()
        self.new_object()

    def note_plane(self, index: Index, extents: Mapping[int, Extent]) -> bool:
        """Take note of what is on a plane of the labels; see `ObjectLabels.note_plane`.

        Where an object is found that has the id of the current one, which was not committed
        yet, the current one takes another id.
        """
        is_committed = bool(self.objects_in_labels.records_of(self.current_object))
        is_news = self.objects_in_labels.note_plane(index, extents)
        if self.current_object in extents and not is_committed:
            self.leave_id()
        return is_news

    def _committed_ids(self) -> Iterable[int]:
        return self.objects_in_labels.object_ids

    def refine_object(self, object_id: int, index: Index) -> None:
        """Work on an object that is in the labels, whoever made it, as it is on a plane.

        Where it has no prompts of its own, its mask becomes the prompt that clicks correct.

        Parameters
        ----------
        object_id : int
            Its id, which stays.
        index : Index
            The plane.

        Raises
        ------
        PromptError
            If the object is not on this plane.
        """
        plane = np.asarray(self.labels[self.planes.region(index)])
        mask = plane == object_id
        if object_id < 1 or not mask.any():
            raise PromptError(
                f"object {object_id} is not on slice {index}; pick an object that is in view"
            )
        planes = self._objects.setdefault(object_id, {})
        if index not in planes:
            planes[index] = PlanePrompts(mask=mask)
        if index not in self.objects_in_labels.records_of(object_id):
            record = SliceRecord(mask_region(mask), Origin.FOUND)
            self.objects_in_labels.set_records({(object_id, index): record})
        self._show(object_id)

    def replace_prompts(self, planes: Mapping[Index, PlanePrompts]) -> None:
        """Set all prompts of the current object; see `PromptedObjects.replace_prompts`.

        Clicks on a slice to which the object was propagated correct what is there.
        """
        known = self.prompts_of(self.current_object)
        super().replace_prompts(
            {
                index: prompts if index in known else self._as_correction(index, prompts)
                for index, prompts in planes.items()
            }
        )

    def _as_correction(self, index: Index, prompts: PlanePrompts) -> PlanePrompts:
        """Add the propagated mask to the first clicks on a plane; a box begins anew."""
        record = self.objects_in_labels.records_of(self.current_object).get(index)
        is_propagated = record is not None and record.origin is Origin.PROPAGATED
        if not is_propagated or prompts.num_regions or prompts.is_empty:
            return prompts
        mask = np.asarray(self.labels[self.planes.region(index)]) == self.current_object
        return replace(prompts, mask=mask) if mask.any() else prompts

    def _keeps_mask(self, index: Index) -> bool:
        record = self.objects_in_labels.records_of(self.current_object).get(index)
        return record is None or record.origin is not Origin.PROPAGATED

    # labels

    @property
    def labels(self) -> LabelsArray:
        """Where objects are committed to."""
        return self.objects_in_labels.labels

    @property
    def policy(self) -> OverlapPolicy:
        """What happens where a new object meets others."""
        return self.objects_in_labels.policy

    @policy.setter
    def policy(self, policy: OverlapPolicy) -> None:
        self.objects_in_labels.policy = policy

    @property
    def changes(self) -> list[Change]:
        """What was done to the labels and holds, the oldest first."""
        return self.objects_in_labels.history.changes

    def commit(self) -> Change | None:
        """Write the current object's masks on all its planes, then begin a new object.

        What its prompts gave on planes where it has none any more becomes background.

        Returns
        -------
        Change or None
            What was done; None, and the object stays current, if there is no answer yet.

        Raises
        ------
        LabelError
            If the id does not fit the labels; nothing is written.
        """
        if not self.has_answer:
            return None
        prompts = self._objects[self._current]
        masks: dict[Key, SliceMask] = {}
        for index in sorted(self._steps):
            mask, confidence = self.mask(index), self._confidence(index)
            if mask is not None:
                masks[self._current, index] = SliceMask(mask, confidence=confidence)
        for index, record in self.objects_in_labels.records_of(self._current).items():
            if index not in prompts and record.origin is Origin.PROMPTS:
                masks[self._current, index] = SliceMask(np.zeros(self.planes.plane_shape, bool))
        done = self._write(masks, asked={self._current: dict(prompts)})
        self.new_object()
        return done

    def _confidence(self, index: Index) -> float:
        prediction, candidate = self.prediction(index), self.candidate(index)
        if prediction is None or candidate is None:
            return float("nan")
        return float(prediction.predicted_iou[candidate])

    def commit_answers(self, answers: Sequence[Answer]) -> Change | None:
        """Write many objects at once, as one entry of the history; see `commit`.

        Their prompts become the objects' prompts.
        """
        if not answers:
            return None
        masks: dict[Key, SliceMask] = {}
        prompts: dict[int, dict[Index, PlanePrompts]] = {}
        for answer in answers:
            question = answer.question
            prompts.setdefault(question.object_id, {})[question.index] = question.prompts
            prediction = answer.steps[-1].prediction
            chosen = chosen_candidate(question.prompts, prediction)
            masks[question.object_id, question.index] = SliceMask(
                prediction.mask(chosen), confidence=float(prediction.predicted_iou[chosen])
            )
        done = self._write(masks, asked=prompts, **self._prompts_change(prompts))
        self._set_prompts(prompts)
        self.new_object()
        return done

    def commit_masks(
        self,
        masks: Mapping[Key, SliceMask],
        details: Mapping[str, Any] | None = None,
        asked: Prompts | None = None,
    ) -> Change | None:
        """Write masks that were carried on from the objects' prompts, as one entry.

        Parameters
        ----------
        masks : dict of (object id, Index) to SliceMask
            What to write.
        details : dict, optional
            What is needed to do it again; plain values.
        asked : dict of int to dict of Index to PlanePrompts, optional
            The prompts that they were carried on from; those of today by default.

        Returns
        -------
        Change or None
            What was done; None if there is nothing to write.

        Raises
        ------
        LabelError
            If an id does not fit the labels; nothing is written.
        """
        if not masks:
            return None
        if asked is None:
            asked = {object_id: dict(self.prompts_of(object_id)) for object_id, _ in masks}
        return self._write(masks, Verb.PROPAGATE, details, asked=asked)

    def delete_objects(self, object_ids: Sequence[int]) -> Change:
        """Make objects background; their prompts go too."""
        prompts = self._prompts_change({i: {} for i in object_ids})
        done = self.objects_in_labels.delete(object_ids, details=self._note(), **prompts)
        self._set_prompts(done.prompts_after)
        self._show(self._current)
        return done

    def merge_objects(self, object_ids: Sequence[int], into: int) -> Change:
        """Give objects the id of one of them, whose prompts stay; those of the others go."""
        if into not in object_ids or len(set(object_ids)) < 2:
            raise PromptError(
                f"objects {list(object_ids)} cannot be merged into {into}; choose two or more, "
                "one of which gives the id"
            )
        others = [object_id for object_id in object_ids if object_id != into]
        prompts = self._prompts_change({i: {} for i in others})
        done = self.objects_in_labels.merge(others, into, details=self._note(), **prompts)
        self._set_prompts(done.prompts_after)
        self._show(into if self._current in others else self._current)
        return done

    def relabel_object(self, object_id: int, new_id: int) -> Change:
        """Give an object another id, which must be free; its prompts go with it."""
        if self.prompts_of(new_id):
            raise PromptError(f"object {new_id} has prompts; choose an id that is free")
        moved = {object_id: {}, new_id: dict(self.prompts_of(object_id))}
        prompts = self._prompts_change(moved)
        done = self.objects_in_labels.relabel(
            object_id, new_id, details=self._note(), **prompts
        )
        self._set_prompts(done.prompts_after)
        self._move_name(object_id, new_id)
        self._show(new_id if self._current == object_id else self._current)
        return done

    def rename_class(self, object_ids: Sequence[int], name: str) -> None:
        """Say what objects are; an empty name says nothing."""
        for object_id in object_ids:
            if name:
                self.class_names[object_id] = name
            else:
                self.class_names.pop(object_id, None)
        self.records_changed.emit(frozenset(object_ids))

    def _move_name(self, object_id: int, new_id: int) -> None:
        """Let the name of an object go with its id."""
        if object_id in self.class_names:
            self.rename_class([new_id], self.class_names.pop(object_id))

    def _write(
        self,
        masks: Mapping[Key, SliceMask],
        verb: Verb = Verb.COMMIT,
        details: Mapping[str, Any] | None = None,
        **about: Any,
    ) -> Change:
        note = {**self._note(), "policy": str(self.policy), **(details or {})}
        return self.objects_in_labels.write(masks, verb, details=note, **about)

    def _note(self) -> dict[str, Any]:
        return dict(self.details)

    def _prompts_change(
        self, prompts: Mapping[int, Mapping[Index, PlanePrompts]]
    ) -> dict[str, Any]:
        """Prompts of some objects before and after they are set to these."""
        before = {object_id: dict(self._objects.get(object_id, {})) for object_id in prompts}
        return {"prompts_before": before, "prompts_after": prompts}

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return self.objects_in_labels.history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to do again."""
        return self.objects_in_labels.history.can_redo

    def undo(self) -> Change | None:
        """Take the last change back; its object becomes the current one again."""
        change = self.objects_in_labels.undo()
        if change is not None:
            self._set_prompts(change.prompts_before)
            if change.verb is Verb.RELABEL:
                self._move_name(*change.object_ids)
            self._show(change.object_ids[-1 if change.verb is Verb.RELABEL else 0])
        return change

    def redo(self) -> Change | None:
        """Do the last change again that was taken back, then begin a new object."""
        change = self.objects_in_labels.redo()
        if change is not None:
            self._set_prompts(change.prompts_after)
            if change.verb is Verb.RELABEL:
                self._move_name(*reversed(change.object_ids))
            self.new_object()
        return change

    def _set_prompts(self, prompts: Mapping[int, Mapping[Index, PlanePrompts]]) -> None:
        self._objects |= {object_id: dict(planes) for object_id, planes in prompts.items()}


def answer_open_questions(
    session: SegmentationSession,
    segmenter: Segmenter,
    model_id: str,
    read_plane: ReadPlane,
    cache: EmbeddingCache,
) -> None:
    """Answer all prompts of the current object, here and now, as a script does."""
    for question in session.open_questions():
        embedding = cache.embed(segmenter, model_id, read_plane(question.index))
        session.accept(question.resolve(segmenter, embedding))
