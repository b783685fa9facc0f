"""Questions that the user asked by a button, whatever object they are about."""

from __future__ import annotations

from collections.abc import Callable

from napari_promptable.annotation.answers import PackedAnswer, Question
from napari_promptable.errors import CancelledError, PromptableError
from napari_promptable.gui.work.encoding import Encoding
from napari_promptable.gui.work.worker import Task, TaskControl

AnswersCallback = Callable[[list[PackedAnswer]], None]


class Requests:
    """Source of answers to questions that were asked all at once.

    Parameters
    ----------
    encoding : Encoding
        Encodes the planes.
    report : callable
        Called with the error of questions that cannot be answered.
    """

    def __init__(self, encoding: Encoding, report: Callable[[PromptableError], None]) -> None:
        self._encoding, self._report = encoding, report
        self._waiting: list[tuple[list[Question], AnswersCallback]] = []

    def add(self, questions: list[Question], deliver: AnswersCallback) -> None:
        """Answer questions, then call `deliver` with all answers."""
        self._waiting.append((questions, deliver))

    def cancel(self) -> None:
        """Drop the questions that wait."""
        self._waiting.clear()

    def next_task(self) -> Task | None:
        """Return the task that answers the questions asked first."""
        encoder = self._encoding.encoder()
        if encoder is None or not self._waiting:
            return None
        questions, deliver = self._waiting.pop(0)

        def answer(control: TaskControl) -> list[PackedAnswer]:
            answers = []
            for number, question in enumerate(questions, start=1):
                if control.is_cancelled():
                    raise CancelledError("the answers are no longer needed")
                embedding = encoder.embed(question.index, control, question.prompts.field)
                answers.append(question.resolve(encoder.model, embedding).packed())
                control.report(number, len(questions))
            return answers

        text = f"segmenting {len(questions)} objects"
        return Task(text, answer, deliver, self._report)
