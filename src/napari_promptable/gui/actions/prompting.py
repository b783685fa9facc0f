"""Verbs for the current object, by button, key or mouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from psygnal import Signal

from napari_promptable.annotation.answers import Answer
from napari_promptable.annotation.history import Verb
from napari_promptable.annotation.outcomes import Course, Outcome, describe_outcome
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.session_json import document_of, state_of
from napari_promptable.annotation.uncommitted import has_uncommitted
from napari_promptable.errors import PromptableError
from napari_promptable.files.prompts_json import write_prompts
from napari_promptable.gui.actions import messages
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.scheduler import Scheduler


class PromptActions:
    """Verbs for the current object, and for tools, candidates and undo.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    scheduler : Scheduler
        Computes.

    Attributes
    ----------
    acted : psygnal.Signal
        Emitted when something may have changed.
    noted : psygnal.Signal
        Emits a sentence for the user, empty when the last one no longer holds.
    failed : psygnal.Signal
        Emits the error of what the user tried.
    """

    acted = Signal()
    noted = Signal(str)
    failed = Signal(object)

    def __init__(self, workspace: Workspace, scheduler: Scheduler) -> None:
        self._workspace = workspace
        self._scheduler = scheduler

    @property
    def _session(self) -> SegmentationSession | None:
        return self._workspace.session

    def perform(self, verb: Any, *arguments: Any) -> Any:
        """Call a verb of the session; its errors become notifications."""
        self.noted.emit("")
        try:
            return verb(*arguments)
        except PromptableError as error:
            self.failed.emit(error)
            return None
        finally:
            self.acted.emit()
            self._scheduler.wake()

    def select_object(self, object_id: int) -> None:
        """Work on another object."""
        if self._session is not None:
            self._leave_object(self._session, self._session.prompts.select, object_id)

    def new_object(self) -> None:
        """Begin another object."""
        if self._session is not None:
            self._leave_object(self._session, self._session.prompts.new_object)

    def _leave_object(
        self, session: SegmentationSession, verb: Callable[..., Any], *arguments: Any
    ) -> None:
        """Work on another object, and say so if the former one is not committed."""
        former = session.prompts.current_object
        self.perform(verb, *arguments)
        is_left = session.prompts.current_object != former
        if is_left and has_uncommitted(session, former):
            self.noted.emit(messages.describe_left(former))

    def activate_tool(self, name: str) -> None:
        """Select the layer and mode of a tool."""
        if self._workspace.job is not None:
            self._workspace.job.layers.activate_tool(name)

    def toggle_sign(self) -> None:
        """Switch the next click between positive and negative."""
        if self._workspace.job is not None:
            self._workspace.job.layers.toggle_sign()

    def segment(self) -> None:
        """Answer the prompts now."""
        self.noted.emit("")
        self._scheduler.live.request()
        self._scheduler.demand()

    def set_live(self, is_live: bool) -> None:
        """Answer prompts after every change, or only when the user asks."""
        self._scheduler.live.is_live = is_live
        self._scheduler.wake()
        self.acted.emit()

    def commit(self) -> None:
        """Write the object to the labels layer."""
        if self._session is None or not self.can_write():
            return
        outcome = self.perform(self._session.commit)
        if outcome is not None:
            self.note(outcome)

    def note(self, outcome: Outcome) -> None:
        """Say what a verb changed, or why it changed nothing."""
        text = describe_outcome(outcome)
        is_next = outcome.verb is Verb.COMMIT and outcome.course is Course.DONE
        if is_next and outcome.has_changed and not outcome.is_mostly_covered:
            text = f"{text} {messages.NEXT_OBJECT}"
        self.noted.emit(text)

    def can_write(self) -> bool:
        """Whether all ids in the labels are known; asks the user to wait if not."""
        job = self._workspace.job
        unseen = 0 if job is None else job.num_unread_labels
        if unseen:
            self.noted.emit(messages.describe_unread(unseen))
        return not unseen

    def undo(self) -> None:
        """Undo the last change of the labels."""
        if self._session is not None:
            self._step(self._session.undo)

    def redo(self) -> None:
        """Redo the change of the labels that was undone last."""
        if self._session is not None:
            self._step(self._session.redo)

    def undo_step(self) -> None:
        """Undo the newest prompt of the object, or else the last change of the labels."""
        if self._session is not None:
            self._step(self._session.undo_step)

    def redo_step(self) -> None:
        """Redo what `undo_step` undid last."""
        if self._session is not None:
            self._step(self._session.redo_step)

    def _step(self, verb: Callable[[], Outcome | None]) -> None:
        outcome = self.perform(verb)
        if outcome is not None:
            self.note(outcome)

    def clear_prompts(self) -> None:
        """Remove all prompts of the current object; undo restores them."""
        session = self._session
        if session is not None and session.prompts.of_current:
            self.perform(session.prompts.replace, {})
            session.prompts.show(session.prompts.current_object)
            self.noted.emit(messages.PROMPTS_CLEARED)

    def boxes_to_objects(self) -> None:
        """Commit one object for each box of the current one."""
        session = self._session
        questions = [] if session is None else session.answers.questions_by_box()
        if session is None or not questions:
            self.noted.emit(messages.NO_BOXES)
            return

        if not self.can_write():
            return

        def deliver(answers: list[Answer]) -> None:
            if session is self._session:
                outcome = self.perform(session.commit_answers, answers)
                if outcome is not None:
                    self.note(outcome)

        self._scheduler.requests.add(questions, deliver)
        self._scheduler.demand()

    def save_prompts(self, path: str, model: str) -> None:
        """Write the prompts of all objects to a prompts.json."""
        job = self._workspace.job
        if job is None:
            return
        document = document_of(state_of(job.session), job.image.name, model)
        if self.perform(write_prompts, document, path) is not None:
            self.noted.emit(messages.describe_saved_prompts(len(document.objects), path))

    def choose_candidate(self, candidate: int) -> None:
        """Choose a candidate on the plane in view; the next click corrects it."""
        job, index = self._workspace.job, self._workspace.visible_index()
        if job is None or index is None or job.session.answers.prediction(index) is None:
            return
        self.perform(job.session.answers.choose_candidate, index, candidate)
        job.layers.set_refined(candidate)

    def next_candidate(self) -> None:
        """Choose the candidate after the chosen one."""
        index = self._workspace.visible_index()
        if self._session is None or index is None:
            return
        prediction, chosen = (
            self._session.answers.prediction(index),
            self._session.answers.candidate(index),
        )
        if prediction is not None and chosen is not None:
            self.choose_candidate((chosen + 1) % len(prediction))

    def preview_candidate(self, candidate: int) -> None:
        """Show a candidate that is pointed at, or (−1) the chosen one again."""
        job, index = self._workspace.job, self._workspace.visible_index()
        if job is None or index is None:
            return
        prediction = job.session.answers.prediction(index)
        if prediction is not None and 0 <= candidate < len(prediction):
            job.show_mask(index, prediction.mask(candidate))
        else:
            self._scheduler.live.show_answer(index)

    def cancel(self) -> None:
        """Cancel the running task."""
        self._scheduler.cancel()
        self.noted.emit(messages.CANCELLED)
