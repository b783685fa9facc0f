"""Performs what the user asked for, and says how it went."""

from __future__ import annotations

from functools import partial
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_promptable.annotation.history import Verb
from napari_promptable.annotation.outcomes import Course, Outcome, describe_outcome
from napari_promptable.annotation.uncommitted import has_uncommitted
from napari_promptable.errors import PromptableError
from napari_promptable.gui.actions import messages
from napari_promptable.gui.layers.lessons import count_confirmed, has_confirmed
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.scheduler import Scheduler

WORTH_LEARNING = 5
"""Objects of a person with which learning is worth a try."""


class Performer:
    """Calls verbs of the session for all actions, and reports outcomes and errors.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    scheduler : Scheduler
        Woken after each verb, which may have left something to compute.

    Attributes
    ----------
    acted : psygnal.Signal
        Emitted when something may have changed.
    noted : psygnal.Signal
        Emits a sentence for the user, empty when the last one no longer holds.
    failed : psygnal.Signal
        Emits the error of an action of the user.
    """

    acted = Signal()
    noted = Signal(str)
    failed = Signal(object)

    def __init__(self, workspace: Workspace, scheduler: Scheduler) -> None:
        self._workspace, self._scheduler = workspace, scheduler

    def perform(self, verb: Any, *arguments: Any) -> Any:
        """Call a verb and return its result, or None after an error, which is reported."""
        self.noted.emit("")
        try:
            return verb(*arguments)
        except PromptableError as error:
            self.failed.emit(error)
            return None
        finally:
            self._workspace.check_image()
            self._workspace.check_labels()
            self.acted.emit()
            self._scheduler.wake()

    def perform_and_note(self, verb: Any, *arguments: Any) -> None:
        """Call a verb, and say what it changed or why it changed nothing."""
        was_enough = self._is_enough()
        outcome: Outcome | None = self.perform(verb, *arguments)
        if outcome is None:
            return
        text = describe_outcome(outcome)
        is_next = outcome.verb is Verb.COMMIT and outcome.course is Course.DONE
        if is_next and outcome.has_changed and not outcome.is_mostly_covered:
            text = f"{text} {self._describe_next_object(was_enough)}"
        self.noted.emit(text)

    def _describe_next_object(self, was_enough: bool) -> str:
        """Say what comes after a commit. As soon as there are enough objects, that is Learn."""
        job = self._workspace.job
        if job is None or was_enough or not self._is_enough():
            return messages.NEXT_OBJECT
        return messages.describe_learn(count_confirmed(job))

    def _is_enough(self) -> bool:
        job = self._workspace.job
        return job is not None and has_confirmed(job, WORTH_LEARNING)

    def note_soon(self, text: str) -> None:
        """Note what a change of image or labels ended, when their job has begun if any has."""
        QTimer.singleShot(0, partial(self._note_with_job, text))

    def _note_with_job(self, text: str) -> None:
        if self._workspace.job is not None:
            self.noted.emit(text)

    def report(self, error: Exception) -> None:
        """Report an error of work in a thread. Raise any other exception."""
        if not isinstance(error, PromptableError):
            raise error
        self.noted.emit("")
        self.failed.emit(error)

    def leave_object(self, verb: Any, *arguments: Any) -> None:
        """Work on another object, and say so if the former one is not committed."""
        session = self._workspace.session
        former = None if session is None else session.prompts.current_object
        self.perform(verb, *arguments)
        if session is None or former is None or session.prompts.current_object == former:
            return
        if has_uncommitted(session, former):
            self.noted.emit(messages.describe_left(former))

    def can_write(self) -> bool:
        """Whether all ids in the labels are known. Asks the user to wait if not."""
        job = self._workspace.job
        unseen = 0 if job is None else job.num_unread_labels
        if unseen:
            self.noted.emit(messages.describe_unread(unseen))
        return not unseen
