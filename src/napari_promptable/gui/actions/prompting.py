"""Verbs for the current object, by button, key or mouse."""

from __future__ import annotations

from collections.abc import Callable, Collection

from napari_promptable.annotation.answers import PackedAnswer, Question
from napari_promptable.annotation.records import Key
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.gui.actions import messages
from napari_promptable.gui.actions.performer import Performer
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.scheduler import Scheduler
from napari_promptable.sizes import ExpectedSize


class PromptActions:
    """Verbs for the current object, its prompts and tools, and undo.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    scheduler : Scheduler
        Computes.
    performer : Performer
        Performs the verbs.
    """

    def __init__(
        self, workspace: Workspace, scheduler: Scheduler, performer: Performer
    ) -> None:
        self._workspace, self._scheduler = workspace, scheduler
        self._performer = performer

    @property
    def _session(self) -> SegmentationSession | None:
        return self._workspace.session

    def select_object(self, object_id: int) -> None:
        """Work on another object."""
        if self._session is not None:
            self._performer.leave_object(self._session.prompts.select, object_id)

    def new_object(self) -> None:
        """Begin another object."""
        if self._session is not None:
            self._performer.leave_object(self._session.prompts.new_object)

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
        self._performer.noted.emit("")
        self._scheduler.live.request()
        self._scheduler.demand()

    def set_live(self, is_live: bool) -> None:
        """Answer prompts after every change, or only when the user asks."""
        self._scheduler.live.is_live = is_live
        self._scheduler.wake()
        self._performer.acted.emit()

    def commit(self) -> None:
        """Write the object to the labels layer."""
        if self._session is None or not self._performer.can_write():
            return
        self._performer.perform_and_note(self._session.commit)

    def undo(self) -> None:
        """Undo the last change of the labels."""
        if self._session is not None:
            self._performer.perform_and_note(self._session.undo)

    def redo(self) -> None:
        """Redo the change of the labels that was undone last."""
        if self._session is not None:
            self._performer.perform_and_note(self._session.redo)

    def undo_step(self) -> None:
        """Undo the newest prompt of the object, or else the last change of the labels."""
        session = self._session
        if session is None:
            return
        if session.prompts.can_undo or session.history.can_undo:
            self._performer.perform_and_note(session.undo_step)
        else:
            self._performer.noted.emit(messages.NOTHING_TO_UNDO)

    def redo_step(self) -> None:
        """Redo what `undo_step` undid last."""
        session = self._session
        if session is None:
            return
        if session.prompts.can_redo or session.history.can_redo:
            self._performer.perform_and_note(session.redo_step)
        else:
            self._performer.noted.emit(messages.NOTHING_TO_REDO)

    def clear_prompts(self) -> None:
        """Remove all prompts of the current object. Undo restores them."""
        session = self._session
        if session is not None and session.prompts.of_current:
            self._performer.perform(session.prompts.replace, {})
            session.prompts.show(session.prompts.current_object)
            self._performer.noted.emit(messages.PROMPTS_CLEARED)

    def boxes_to_objects(self) -> None:
        """Commit one object for each box of the current one."""
        session = self._session
        questions = [] if session is None else session.answers.questions_by_box()
        if session is None or not questions:
            self._performer.noted.emit(messages.NO_BOXES)
            return

        if not self._performer.can_write():
            return
        self.commit_answers_to(questions)

    @property
    def one_part(self) -> bool:
        """Whether answers keep one connected part only."""
        return self._scheduler.live.one_part

    @property
    def expected_size(self) -> ExpectedSize | None:
        """Size to expect of new objects, or None."""
        return (
            None if self._session is None else self._scheduler.live.expect_size(self._session)
        )

    def commit_answers_to(
        self,
        questions: list[Question],
        moved: Collection[Key] = (),
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Answer questions and commit the answers as one change, then call a function.

        Moved objects leave these planes first, see `SegmentationSession.commit_answers`.
        """
        session = self._session

        def deliver(answers: list[PackedAnswer]) -> None:
            if session is not None and session is self._session:
                self._performer.perform_and_note(session.commit_answers, answers, moved)
                then()
            else:
                self._performer.noted.emit(messages.NOT_DELIVERED)

        self._scheduler.requests.add(self._scheduler.fields.for_questions(questions), deliver)
        self._scheduler.demand()

    def cancel(self) -> None:
        """Cancel the running task."""
        self._scheduler.cancel()
        self._performer.noted.emit("")
