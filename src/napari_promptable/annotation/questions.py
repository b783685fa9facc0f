"""Questions about one object on one plane, and their answers."""

from __future__ import annotations

from dataclasses import dataclass

from napari_promptable.planes import Index
from napari_promptable.predict.click_by_click import (
    Step,
    answer_prompts,
    chosen_candidate,
)
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.prompts import PlanePrompts


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
