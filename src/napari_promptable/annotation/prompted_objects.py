"""Objects with prompts, one of which is worked on, and the answers to its prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from psygnal import Signal

from napari_promptable.annotation.questions import Answer, Question
from napari_promptable.errors import PromptError
from napari_promptable.masks import BoolArray
from napari_promptable.planes import Index
from napari_promptable.predict.click_by_click import Step, chosen_candidate
from napari_promptable.predict.prediction import Prediction
from napari_promptable.prompts import PlanePrompts


class PromptedObjects:
    """Prompts of objects on planes, and the current object's answers.

    Parameters
    ----------
    first_id : int, default 1
        Id of the first object; ids below it are somebody else's.

    Attributes
    ----------
    current_object_changed : psygnal.Signal
        Emits the object id when another object is worked on.
    prompts_changed : psygnal.Signal
        Emits (object id) when its prompts were replaced.
    answer_changed : psygnal.Signal
        Emits (index) when the current object's answer on a plane came, changed or went.
    """

    current_object_changed = Signal(int)
    prompts_changed = Signal(int)
    answer_changed = Signal(tuple)

    def __init__(self, first_id: int = 1) -> None:
        self._objects: dict[int, dict[Index, PlanePrompts]] = {first_id: {}}
        self._steps: dict[Index, tuple[Step, ...]] = {}
        self._current = first_id

    # objects

    @property
    def current_object(self) -> int:
        """Id of the object that is worked on."""
        return self._current

    @property
    def objects(self) -> Mapping[int, Mapping[Index, PlanePrompts]]:
        """Prompts by object id and plane; objects without prompts are left out."""
        return {object_id: planes for object_id, planes in self._objects.items() if planes}

    @property
    def highest_id(self) -> int:
        """Highest object id in use."""
        return max(*self._objects, *self._committed_ids(), 1)

    def _committed_ids(self) -> Iterable[int]:
        """Ids that are in use beyond those with prompts."""
        return ()

    def prompts_of(self, object_id: int) -> Mapping[Index, PlanePrompts]:
        """Prompts of one object by plane; empty for an id without any."""
        return self._objects.get(object_id, {})

    def new_object(self) -> int:
        """Begin a new object and return its id; one without prompts or pixels is used again."""
        committed = set(self._committed_ids())
        unused = [i for i, planes in self._objects.items() if not planes and i not in committed]
        self.select_object(unused[0] if unused else self.highest_id + 1)
        return self._current

    def leave_id(self) -> None:
        """Give the current object, with its prompts and answers, an id that nobody uses."""
        former, self._current = self._current, self.highest_id + 1
        self._objects[self._current] = self._objects.pop(former, {})
        self.current_object_changed.emit(self._current)

    def select_object(self, object_id: int) -> None:
        """Work on this object; its prompts come back, answers of the other are dropped."""
        if object_id < 1:
            raise PromptError(f"object id {object_id} was given; ids start at 1")
        if object_id != self._current:
            self._show(object_id)

    def _show(self, object_id: int) -> None:
        """Make this the current object, whose prompts may have been changed too."""
        outdated = tuple(self._steps)
        self._steps = {}
        self._objects.setdefault(object_id, {})
        self._current = object_id
        self.current_object_changed.emit(object_id)
        for index in outdated:
            self.answer_changed.emit(index)

    # prompts and answers

    def replace_prompts(self, planes: Mapping[Index, PlanePrompts]) -> None:
        """Set all prompts of the current object; empty planes are left out.

        Answers to unchanged prompts stay. A chosen candidate stays with unchanged prompts, and
        a mask that is being refined stays until the object is forgotten.
        """
        former = self._objects[self._current]
        kept = {}
        for index, prompts in self._with_masks(planes).items():
            if prompts.is_empty:
                continue
            before = former.get(index)
            if before is not None and before.has_same_prompts(prompts):
                prompts = before if prompts.candidate is None else prompts
            kept[index] = prompts
        changed = [i for i in {**former, **kept} if former.get(i) != kept.get(i)]
        self._objects[self._current] = kept
        if changed:
            self.prompts_changed.emit(self._current)
        for index in changed:
            if index not in kept:
                self._steps.pop(index, None)
            self.answer_changed.emit(index)

    def _with_masks(self, planes: Mapping[Index, PlanePrompts]) -> dict[Index, PlanePrompts]:
        """Add the masks that are being refined, which no tool layer shows."""
        kept = dict(planes)
        for index, former in self._objects[self._current].items():
            if former.mask is not None and (index in planes or self._keeps_mask(index)):
                kept[index] = replace(kept.get(index, PlanePrompts()), mask=former.mask)
        return kept

    def _keeps_mask(self, _index: Index) -> bool:
        """Whether a mask that is being refined stays when its clicks are gone."""
        return True

    def open_questions(self) -> list[Question]:
        """Questions of the current object whose answer is not known, in order of planes."""
        planes = self._objects[self._current]
        return [
            Question(self._current, index, planes[index], self._steps.get(index, ()))
            for index in sorted(planes)
            if planes[index].is_answerable and self.prediction(index) is None
        ]

    def questions_by_box(self) -> list[Question]:
        """One question for each box of the current object, as if each were an object.

        The first keeps the current id, the others get ids that are free.
        """
        boxes = [
            (index, box)
            for index, prompts in sorted(self._objects[self._current].items())
            for box in prompts.boxes_yxyx
        ]
        ids = [self._current, *range(self.highest_id + 1, self.highest_id + len(boxes))]
        return [
            Question(object_id, index, PlanePrompts(boxes_yxyx=[box]), ())
            for object_id, (index, box) in zip(ids, boxes, strict=False)
        ]

    def accept(self, answer: Answer) -> bool:
        """Take an answer; False, and nothing changes, if its question is no longer open."""
        question = answer.question
        current = self._objects[self._current].get(question.index)
        is_stale = (
            question.object_id != self._current
            or current is None
            or not current.has_same_prompts(question.prompts)
        )
        if is_stale:
            return False
        self._steps[question.index] = answer.steps
        self.answer_changed.emit(question.index)
        return True

    def forget_answers(self) -> None:
        """Drop all answers, as after a change of model."""
        outdated, self._steps = tuple(self._steps), {}
        for index in outdated:
            self.answer_changed.emit(index)

    def prediction(self, index: Index) -> Prediction | None:
        """Answer to the current object's prompts on a plane; None while it is not known."""
        prompts = self._objects[self._current].get(index)
        steps = self._steps.get(index)
        if prompts is None or not steps or not steps[-1].prompts.has_same_prompts(prompts):
            return None
        return steps[-1].prediction

    def candidate(self, index: Index) -> int | None:
        """Index of the candidate that would be committed; None without an answer."""
        prediction = self.prediction(index)
        if prediction is None:
            return None
        return chosen_candidate(self._objects[self._current][index], prediction)

    def mask(self, index: Index) -> BoolArray | None:
        """Mask that would be committed on a plane, (H, W); None without an answer."""
        prediction, candidate = self.prediction(index), self.candidate(index)
        if prediction is None or candidate is None:
            return None
        mask: BoolArray = prediction.mask(candidate)
        return mask

    def choose_candidate(self, index: Index, candidate: int) -> None:
        """Choose one of the candidates on a plane; PromptError if there is no such one."""
        prediction = self.prediction(index)
        count = 0 if prediction is None else len(prediction)
        if not 0 <= candidate < count:
            raise PromptError(f"candidate {candidate} was given; there are {count}")
        planes = self._objects[self._current]
        planes[index] = replace(planes[index], candidate=candidate)
        self.answer_changed.emit(index)

    @property
    def has_answer(self) -> bool:
        """Whether there is something to commit."""
        return any(self.prediction(index) is not None for index in self._steps)
