"""The state of one annotation job: objects, prompts, answers, labels and their history.

The one mutable thing of the headless core. It knows no viewer and no network: whoever owns
it reads planes, resolves questions (in a thread, if it likes) and listens to the signals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_promptable.commits import (
    Extent,
    LabelPatch,
    LabelsArray,
    OverlapPolicy,
    apply_all,
    plan_commit,
    revert_all,
)
from napari_promptable.embeddings import EmbeddingCache, ImageEmbedding, plane_key
from napari_promptable.errors import LabelError, PromptError
from napari_promptable.masks import BoolArray, Prediction, mask_region
from napari_promptable.planes import Index, PlaneAxes
from napari_promptable.prompts import PlanePrompts
from napari_promptable.refinement import Segmenter, Step, answer_prompts, chosen_candidate

ReadPlane = Callable[[Index], npt.NDArray[np.generic]]
"""Returns the pixels of a plane, (H, W) or (H, W, 3 or 4)."""


_NO_PROMPTS: Mapping[int, Mapping[Index, PlanePrompts]] = {}


@dataclass(frozen=True, eq=False)
class Question:
    """Prompts of one object on one plane, as they were when the question was asked.

    Attributes
    ----------
    object_id : int
        The object.
    index : Index
        The plane.
    prompts : PlanePrompts
        What is asked.
    known : tuple of Step
        Earlier answers that may still hold.
    """

    object_id: int
    index: Index
    prompts: PlanePrompts
    known: tuple[Step, ...]

    def resolve(self, segmenter: Segmenter, embedding: ImageEmbedding) -> Answer:
        """Answer the question and draw the answer's mask; safe to call in another thread."""
        steps = answer_prompts(segmenter, embedding, self.prompts, self.known)
        prediction = steps[-1].prediction
        prediction.mask(chosen_candidate(self.prompts, prediction))
        return Answer(self, steps)


@dataclass(frozen=True, eq=False)
class Answer:
    """A resolved question.

    Attributes
    ----------
    question : Question
        What was asked.
    steps : tuple of Step
        From `answer_prompts`.
    """

    question: Question
    steps: tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class Commit:
    """One entry of the history.

    Attributes
    ----------
    object_ids : tuple of int
        What was committed.
    patches : tuple of LabelPatch
        The pixels that changed.
    before, after : dict of (object id, Index) to Extent or None
        Where the objects lay on each plane.
    prompts_before, prompts_after : dict of int to dict of Index to PlanePrompts
        Prompts of the objects whose prompts changed too.
    """

    object_ids: tuple[int, ...]
    patches: tuple[LabelPatch, ...]
    before: Mapping[tuple[int, Index], Extent | None]
    after: Mapping[tuple[int, Index], Extent | None]
    prompts_before: Mapping[int, Mapping[Index, PlanePrompts]]
    prompts_after: Mapping[int, Mapping[Index, PlanePrompts]]


class SegmentationSession:
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
    current_object_changed : psygnal.Signal
        Emits the object id when another object is worked on.
    prompts_changed : psygnal.Signal
        Emits (object id) when its prompts were replaced.
    answer_changed : psygnal.Signal
        Emits (index) when the current object's answer on a plane came, changed or went.
    labels_changed : psygnal.Signal
        Emits (patches) when labels were written.
    history_changed : psygnal.Signal
        Emits when what undo and redo would do has changed.
    """

    current_object_changed = Signal(int)
    prompts_changed = Signal(int)
    answer_changed = Signal(tuple)
    labels_changed = Signal(tuple)
    history_changed = Signal()

    def __init__(self, planes: PlaneAxes, labels: LabelsArray, first_id: int = 1) -> None:
        self.planes = planes
        self.labels = labels
        self.policy = OverlapPolicy.KEEP
        self._objects: dict[int, dict[Index, PlanePrompts]] = {first_id: {}}
        self._extents: dict[tuple[int, Index], Extent | None] = {}
        self._steps: dict[Index, tuple[Step, ...]] = {}
        self._current = first_id
        self._done: list[Commit] = []
        self._undone: list[Commit] = []

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
        return max(self._objects)

    def prompts_of(self, object_id: int) -> Mapping[Index, PlanePrompts]:
        """Prompts of one object by plane; empty for an id without any."""
        return self._objects.get(object_id, {})

    def new_object(self) -> int:
        """Begin a new object and return its id; one without prompts or pixels is used again."""
        committed = {object_id for (object_id, _), extent in self._extents.items() if extent}
        unused = [i for i, planes in self._objects.items() if not planes and i not in committed]
        self.select_object(unused[0] if unused else self.highest_id + 1)
        return self._current

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

        Answers to unchanged prompts stay. A chosen candidate stays with unchanged prompts.
        """
        former = self._objects[self._current]
        kept = {}
        for index, prompts in planes.items():
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

    # labels

    @property
    def has_answer(self) -> bool:
        """Whether there is something to commit."""
        return any(self.prediction(index) is not None for index in self._steps)

    def commit(self) -> Commit | None:
        """Write the current object's masks on all its planes, then begin a new object.

        What it had on planes where it has no prompts any more becomes background.

        Returns
        -------
        Commit or None
            What was done; None, and the object stays current, if there is no answer yet.

        Raises
        ------
        LabelError
            If the id does not fit the labels; nothing is written.
        """
        if not self.has_answer:
            return None
        masks = {index: self.mask(index) for index in sorted(self._steps)}
        for object_id, index in self._extents:
            if object_id == self._current and index not in self._objects[object_id]:
                masks[index] = np.zeros(self.planes.plane_shape, bool)
        done = self._commit(
            {(self._current, index): mask for index, mask in masks.items() if mask is not None}
        )
        self.new_object()
        return done

    def commit_answers(self, answers: Sequence[Answer]) -> Commit | None:
        """Write many objects at once, as one entry of the history; see `commit`.

        Their prompts become the objects' prompts.
        """
        if not answers:
            return None
        masks = {}
        prompts: dict[int, dict[Index, PlanePrompts]] = {}
        for answer in answers:
            question = answer.question
            prompts.setdefault(question.object_id, {})[question.index] = question.prompts
            prediction = answer.steps[-1].prediction
            chosen = chosen_candidate(question.prompts, prediction)
            masks[question.object_id, question.index] = prediction.mask(chosen)
        done = self._commit(masks, prompts)
        self.new_object()
        return done

    def _commit(
        self,
        masks: Mapping[tuple[int, Index], BoolArray],
        prompts: Mapping[int, Mapping[Index, PlanePrompts]] = _NO_PROMPTS,
    ) -> Commit:
        """Write masks, set prompts, and remember what they replaced."""
        patches: list[LabelPatch] = []
        before = {key: self._extents.get(key) for key in masks}
        try:
            for (object_id, index), mask in masks.items():
                former = before[object_id, index]
                patch = plan_commit(
                    self.labels, self.planes, index, mask, object_id, self.policy, former
                )
                if patch is not None:
                    patch.apply(self.labels)
                    patches.append(patch)
        except LabelError:
            revert_all(self.labels, patches)
            raise
        after = {key: mask_region(mask) for key, mask in masks.items()}
        object_ids = tuple(dict.fromkeys(object_id for object_id, _ in masks))
        prompts_before = {object_id: self._objects.get(object_id, {}) for object_id in prompts}
        done = Commit(object_ids, tuple(patches), before, after, prompts_before, prompts)
        self._extents |= after
        self._set_prompts(prompts)
        self._done.append(done)
        self._undone.clear()
        self.labels_changed.emit(done.patches)
        self.history_changed.emit()
        return done

    @property
    def can_undo(self) -> bool:
        """Whether there is a commit to take back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a commit to do again."""
        return bool(self._undone)

    def undo(self) -> Commit | None:
        """Take the last commit back; its object becomes the current one again."""
        if not self._done:
            return None
        commit = self._done.pop()
        revert_all(self.labels, commit.patches)
        self._extents |= commit.before
        self._set_prompts(commit.prompts_before)
        self._undone.append(commit)
        self.labels_changed.emit(commit.patches)
        self.history_changed.emit()
        self._show(commit.object_ids[0])
        return commit

    def redo(self) -> Commit | None:
        """Do the last commit again that was taken back, then begin a new object."""
        if not self._undone:
            return None
        commit = self._undone.pop()
        apply_all(self.labels, commit.patches)
        self._extents |= commit.after
        self._set_prompts(commit.prompts_after)
        self._done.append(commit)
        self.labels_changed.emit(commit.patches)
        self.history_changed.emit()
        self.new_object()
        return commit

    def _set_prompts(self, prompts: Mapping[int, Mapping[Index, PlanePrompts]]) -> None:
        self._objects |= {object_id: dict(planes) for object_id, planes in prompts.items()}


def embed_plane(
    segmenter: Segmenter,
    model_id: str,
    plane: npt.NDArray[np.generic],
    cache: EmbeddingCache,
    contrast_limits: tuple[float, float] | None = None,
) -> ImageEmbedding:
    """Encode a plane, or take its embedding from the cache."""
    key = plane_key(plane, contrast_limits, model_id)
    return cache.get_or_make(key, lambda: segmenter.encode(plane, contrast_limits))


def answer_open_questions(
    session: SegmentationSession,
    segmenter: Segmenter,
    model_id: str,
    read_plane: ReadPlane,
    cache: EmbeddingCache,
) -> None:
    """Answer all prompts of the current object, here and now, as a script does."""
    for question in session.open_questions():
        embedding = embed_plane(segmenter, model_id, read_plane(question.index), cache)
        session.accept(question.resolve(segmenter, embedding))
