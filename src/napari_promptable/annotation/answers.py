"""Questions about the current object, and the model's answers to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from math import nan

from psygnal import Signal

from napari_promptable.annotation.prompted_objects import PromptedObjects
from napari_promptable.annotation.records import Key, ObjectOnSlice
from napari_promptable.errors import PromptError
from napari_promptable.field_prompts import in_field
from napari_promptable.masks import BoolArray, PackedMask
from napari_promptable.planes import Index
from napari_promptable.predict.click_by_click import (
    Step,
    answer_prompts,
    chosen_candidate,
)
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.prompts import PlanePrompts


@dataclass(frozen=True, eq=False)
class Question:
    """Prompts of one object on one plane at the time of asking.

    Their answer is given in pixels of their field, if they have one, and placed on the plane.

    Attributes
    ----------
    object_id : int
        The object.
    index : Index
        The plane.
    prompts : PlanePrompts
        The prompts to answer.
    known : tuple of Step
        Earlier answers that may still hold.
    plane_shape : (int, int) or None
        Height and width of the plane; needed by prompts with a field.
    """

    object_id: int
    index: Index
    prompts: PlanePrompts
    known: tuple[Step, ...] = ()
    plane_shape: tuple[int, int] | None = None

    def place(self, mask: BoolArray) -> PackedMask:
        """Take a mask of the answer to the plane."""
        field = self.prompts.field
        if field is None:
            return PackedMask.pack(mask)
        assert self.plane_shape is not None
        return field.place(mask, self.plane_shape)

    def resolve(self, segmenter: Segmenter, embedding: ImageEmbedding) -> Answer:
        """Answer the question and draw the chosen mask. Safe to call in another thread."""
        steps = answer_prompts(segmenter, embedding, in_field(self.prompts), self.known)
        answer = Answer(self, steps)
        answer.prediction.mask(answer.candidate)
        return answer


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to a question.

    Attributes
    ----------
    question : Question
        The question.
    steps : tuple of Step
        From `answer_prompts`.
    """

    question: Question
    steps: tuple[Step, ...]

    @property
    def prediction(self) -> Prediction:
        """Candidates for all prompts together."""
        return self.steps[-1].prediction

    @property
    def candidate(self) -> int:
        """Index of the candidate that the prompts choose."""
        return chosen_candidate(self.question.prompts, self.prediction)

    @property
    def on_slice(self) -> ObjectOnSlice:
        """The object as it would be committed."""
        confidence = float(self.prediction.predicted_iou[self.candidate])
        return ObjectOnSlice.of_mask(
            self.question.place(self.prediction.mask(self.candidate)), confidence=confidence
        )

    def packed(self) -> PackedAnswer:
        """Keep what a commit needs: little memory, so that there can be thousands."""
        return PackedAnswer(self.question, self.on_slice)


@dataclass(frozen=True, eq=False)
class PackedAnswer:
    """The part of an answer that a commit needs.

    Attributes
    ----------
    question : Question
        The question.
    on_slice : ObjectOnSlice
        The object as it would be committed.
    """

    question: Question
    on_slice: ObjectOnSlice


class CurrentAnswers:
    """Answers to the prompts of the current object, by plane.

    Parameters
    ----------
    prompts : PromptedObjects
        Whose current object is asked about.
    plane_shape : (int, int)
        Height and width of a plane.

    Attributes
    ----------
    changed : psygnal.Signal
        Emits (index) when the answer on a plane came, changed or went.
    """

    changed = Signal(tuple)

    def __init__(self, prompts: PromptedObjects, plane_shape: tuple[int, int]) -> None:
        self._prompts, self._plane_shape = prompts, plane_shape
        self._answers: dict[Index, Answer] = {}
        self._early: Answer | None = None
        # After all other listeners: they should show the object before its answers.
        prompts.changed.connect(self._follow_prompts, priority=-1)
        prompts.current_changed.connect(self._drop_outdated, priority=-1)

    def open_questions(self) -> list[Question]:
        """Return the questions that have no answer yet, in order of planes."""
        planes = self._prompts.of_current
        return [
            self.ask(i, planes[i])
            for i in sorted(planes)
            if planes[i].is_answerable and self.prediction(i) is None
        ]

    def ask(self, index: Index, prompts: PlanePrompts) -> Question:
        """Return the question that these prompts of the current object ask on a plane."""
        known = self._answers[index].steps if index in self._answers else ()
        object_id = self._prompts.current_object
        return Question(object_id, index, prompts, known, self._plane_shape)

    def questions_by_box(self) -> list[Question]:
        """Return one question per box of the current object, as if each were an object.

        The first keeps the current id, the others get free ids.
        """
        prompts = self._prompts
        boxes = [
            (index, PlanePrompts(boxes_yxyx=[box], one_part=asked.one_part, field=asked.field))
            for index, asked in sorted(prompts.of_current.items())
            for box in asked.boxes_yxyx
        ]
        ids = chain([prompts.current_object], prompts.free_ids())
        return [
            Question(object_id, index, asked, plane_shape=self._plane_shape)
            for (index, asked), object_id in zip(boxes, ids, strict=False)
        ]

    def accept(self, answer: Answer) -> bool:
        """Keep an answer. Returns False if the current object has other prompts.

        It is used when the object gets these prompts: it may have come before its click.
        """
        if not self._is_asked(answer.question):
            self._early = answer
            return False
        self._answers[answer.question.index] = answer
        self.changed.emit(answer.question.index)
        return True

    def _is_asked(self, question: Question) -> bool:
        """Whether the current object has the prompts of a question."""
        current = self._prompts.of_current.get(question.index)
        return (
            question.object_id == self._prompts.current_object
            and current is not None
            and current.has_same_prompts(question.prompts)
        )

    def forget(self) -> None:
        """Drop all answers, as after a change of model."""
        self._early = None
        self._drop(tuple(self._answers))

    def prediction(self, index: Index) -> Prediction | None:
        """Return the answer on a plane, or None if there is none to its present prompts."""
        answer = self._answer(index)
        return None if answer is None else answer.prediction

    def _answer(self, index: Index) -> Answer | None:
        """Return the answer on a plane, if it is to its present prompts."""
        prompts, answer = self._prompts.of_current.get(index), self._answers.get(index)
        if prompts is None or answer is None:
            return None
        return answer if answer.question.prompts.has_same_prompts(prompts) else None

    def candidate(self, index: Index) -> int | None:
        """Return the index of the candidate to commit, or None without an answer."""
        prediction = self.prediction(index)
        if prediction is None:
            return None
        return chosen_candidate(self._prompts.of_current[index], prediction)

    def mask(self, index: Index, candidate: int | None = None) -> PackedMask | None:
        """Return a candidate's mask on a plane, or None without an answer.

        Parameters
        ----------
        index : Index
            The plane.
        candidate : int, optional
            By default the one to commit.
        """
        answer = self._answer(index)
        candidate = self.candidate(index) if candidate is None else candidate
        if answer is None or candidate is None:
            return None
        return answer.question.place(answer.prediction.mask(candidate))

    def confidence(self, index: Index) -> float:
        """Return the predicted IoU of the mask to commit, or NaN without an answer."""
        prediction, candidate = self.prediction(index), self.candidate(index)
        if prediction is None or candidate is None:
            return nan
        return float(prediction.predicted_iou[candidate])

    def choose_candidate(self, index: Index, candidate: int) -> None:
        """Choose one of the candidates on a plane. Raises PromptError if it does not exist."""
        prediction = self.prediction(index)
        count = 0 if prediction is None else len(prediction)
        if not 0 <= candidate < count:
            raise PromptError(f"candidate {candidate} was given; there are {count}")
        self._prompts.choose_candidate(index, candidate)
        self.changed.emit(index)

    @property
    def answered(self) -> list[Index]:
        """Planes with a mask to commit, in order."""
        return [index for index in sorted(self._answers) if self.prediction(index) is not None]

    def to_objects(self) -> dict[Key, ObjectOnSlice]:
        """The current object on each answered plane, as it would be committed."""
        objects: dict[Key, ObjectOnSlice] = {}
        for index in self.answered:
            mask = self.mask(index)
            assert mask is not None
            on_slice = ObjectOnSlice.of_mask(mask, confidence=self.confidence(index))
            objects[self._prompts.current_object, index] = on_slice
        return objects

    def _follow_prompts(self, _object_id: int, planes: tuple[Index, ...]) -> None:
        """Report the planes whose prompts changed. Answers to removed prompts go."""
        early = self._early
        for index in planes:
            if index not in self._prompts.of_current:
                self._answers.pop(index, None)
            elif early is not None and self._is_asked(early.question):
                self._answers[early.question.index] = early
            self.changed.emit(index)

    def _drop_outdated(self) -> None:
        """Drop the answers that the current object's prompts do not ask for."""
        self._drop(index for index in tuple(self._answers) if self.prediction(index) is None)

    def _drop(self, planes: Iterable[Index]) -> None:
        dropped = list(planes)
        for index in dropped:
            del self._answers[index]
        for index in dropped:
            self.changed.emit(index)
