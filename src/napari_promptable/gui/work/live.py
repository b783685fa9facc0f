"""From a click to its mask: prompts edited → open question → task → answer → mask on screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from psygnal import Signal

from napari_promptable.annotation.answers import Answer, Question
from napari_promptable.annotation.known_sizes import expect_next_size
from napari_promptable.annotation.prompt_edits import PromptsByPlane
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.errors import LabelError, PromptableError
from napari_promptable.gui.layers.edit_watch import Click
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.encoding import Encoding, PlaneEncoder, describe_index
from napari_promptable.gui.work.worker import Task, TaskControl
from napari_promptable.planes import Index
from napari_promptable.prompts import PlanePrompts
from napari_promptable.sizes import ExpectedSize


class Live:
    """Source of answers to the current object's prompts.

    In order: `answer_early` when the mouse button goes down, `read_prompts` when the prompt
    layers were edited, `next_task` when the worker is free, `_accept` with the answer,
    `show_answer` when the session has taken it.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    encoding : Encoding
        Encodes the planes.
    report : callable
        Called with the error of prompts that cannot be read or answered.

    Attributes
    ----------
    edited : psygnal.Signal
        Emitted when the user changed prompts.
    begun : psygnal.Signal
        Emitted when a click has begun that can be answered already.
    answered : psygnal.Signal
        Emitted when the session has got an answer.
    is_live : bool
        Whether prompts are answered without being asked to.
    one_part : bool
        Whether the current object is to be one connected part.
    expects_sizes : bool
        Whether new objects are expected to be as large as the ones before.
    """

    edited = Signal()
    begun = Signal()
    answered = Signal()

    def __init__(
        self,
        workspace: Workspace,
        encoding: Encoding,
        report: Callable[[PromptableError], None],
    ) -> None:
        self._workspace, self._encoding, self._report = workspace, encoding, report
        self._is_requested = False
        self._unanswerable: list[PlanePrompts] = []
        self._early: Question | None = None
        self.is_live = True
        self.one_part = self._prefers_one_part = True
        self.expects_sizes = True

    # the click path

    def answer_early(self, click: Click) -> None:
        """Answer a click while its button is down, so that the mask is there when it is up."""
        job = self._workspace.job
        if job is None or not self.is_live:
            return
        former = job.session.prompts.of_current.get(click.index, PlanePrompts())
        prompts = self._complete(job.session, click.index, click.added_to(former))
        if prompts.is_answerable:
            self._early = job.session.answers.ask(click.index, prompts)
            self.begun.emit()

    def read_prompts(self, *, expects_anew: bool = False) -> None:
        """Pass the prompts on the layers to the session. `edited` then wakes the worker.

        A slice keeps the size that was expected at its first prompt, unless `expects_anew`.
        """
        self._workspace.check_image()
        job = self._workspace.job
        if job is None:
            return
        session = job.session
        try:
            read = job.layers.read()
            session.prompts.replace(
                {i: self._complete(session, i, each, expects_anew) for i, each in read.items()}
            )
        except PromptableError as error:
            self._report(error)
        else:
            self._workspace.check_labels()
            self.edited.emit()
        job.layers.set_refined(None)

    def _complete(
        self,
        session: SegmentationSession,
        index: Index,
        prompts: PlanePrompts,
        expects_anew: bool = False,
    ) -> PlanePrompts:
        """Add what the prompts on a plane ask for besides what the layers show."""
        former = session.prompts.of_current.get(index)
        size = self.expect_size(session)
        if former is not None and not expects_anew:
            size = former.expected_size
        return replace(
            prompts,
            one_part=self.one_part,
            expected_size=size,
            field=self._encoding.fields.for_prompts(index, prompts, former),
        )

    def adopt(self, prompts: PromptsByPlane) -> None:
        """Answer another object as its prompts say, a new one as the user prefers."""
        asked = [
            each.one_part
            for each in prompts.values()
            if each.is_answerable and (len(each.points_yx) or each.mask is None)
        ]
        self.one_part = all(asked) if asked else self._prefers_one_part

    def choose_one_part(self, one_part: bool) -> None:
        """Make this object, and new ones, one connected part, or keep all parts."""
        self.one_part = self._prefers_one_part = one_part
        self.read_prompts()

    def expect_size(self, session: SegmentationSession) -> ExpectedSize | None:
        """Return the size to expect of an object that is new, or None."""
        try:
            return expect_next_size(session) if self.expects_sizes else None
        except LabelError:  # the labels cannot be read; clicks are answered all the same
            return None

    def choose_sizes(self, expects_sizes: bool) -> None:
        """Expect this object, and new ones, to be as large as the ones before, or do not."""
        self.expects_sizes = expects_sizes
        self.read_prompts(expects_anew=True)

    def next_task(self) -> Task | None:
        """Return the task that answers the most urgent open question."""
        encoder = self._encoding.encoder()
        if encoder is None:
            return None
        early, self._early = self._early, None
        questions = self._open_questions() if self.is_live or self._is_requested else []
        if questions:
            return self._answer_task(questions[0], encoder)
        self._is_requested = False
        return None if early is None else self._early_task(early, encoder)

    def _open_questions(self) -> list[Question]:
        """Return the questions to answer, the one in view first."""
        job, visible = self._workspace.job, self._workspace.visible_index()
        if job is None:
            return []
        questions = [
            question
            for question in job.session.answers.open_questions()
            if not any(question.prompts is prompts for prompts in self._unanswerable)
        ]
        return sorted(questions, key=lambda question: question.index != visible)

    def _answer_task(self, question: Question, encoder: PlaneEncoder) -> Task:
        def answer(control: TaskControl) -> Answer:
            embedding = encoder.embed(question.index, control, question.prompts.field)
            return question.resolve(encoder.model, embedding)

        def failed(error: PromptableError) -> None:
            self._unanswerable.append(question.prompts)
            self._report(error)

        text = f"segmenting{describe_index(question.index)}"
        return Task(text, answer, self._accept, failed)

    def _early_task(self, question: Question, encoder: PlaneEncoder) -> Task:
        """Answer a question that is not asked yet. Its errors are reported once it is."""
        task = self._answer_task(question, encoder)
        return replace(task, failed=lambda _: None)

    def _accept(self, answer: Answer) -> None:
        """Pass an answer to the session, which shows it if the prompts are still the same."""
        question = answer.question
        self._encoding.encoded.add((question.index, question.prompts.field))
        if self._workspace.job is not None:
            self._workspace.job.session.answers.accept(answer)
        self.answered.emit()

    def show_answer(self, index: Index) -> None:
        """Show what a commit would write of the current object on a plane, or nothing."""
        job = self._workspace.job
        if job is not None:
            job.show_mask(index, job.session.answers.mask(index))

    def update_answer(self, index: Index) -> None:
        """Show an answer again: what a commit would write may have changed."""
        job = self._workspace.job
        if job is not None and job.session.answers.prediction(index) is not None:
            self.show_answer(index)

    def update_answers(self) -> None:
        """Show all answers again."""
        if self._workspace.job is not None:
            for index in self._workspace.job.session.answers.answered:
                self.show_answer(index)

    # on request

    def request(self) -> None:
        """Answer all open questions, including those that failed before."""
        self._is_requested = True
        self._unanswerable.clear()

    def cancel(self) -> None:
        """Leave the open questions unanswered until their prompts change."""
        self._is_requested = False
        self._unanswerable += [question.prompts for question in self._open_questions()]

    def forget_answers(self) -> None:
        """Drop all answers: pixels, channel or model have changed."""
        self._unanswerable.clear()
        if self._workspace.job is not None:
            self._workspace.job.session.answers.forget()
