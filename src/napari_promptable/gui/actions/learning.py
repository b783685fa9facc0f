"""Verbs for learning: collect the user's objects, learn, use or discard the learned model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary

from psygnal import Signal

from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.errors import CheckpointError, LearningError, PromptableError
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.lessons import collect_examples, count_confirmed
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.panels.learning import LearningWindow
from napari_promptable.gui.work.learning import Learning

IS_COMPLETE = "is_complete"
"""Name of the setting for images whose objects all have labels."""

_FEWEST = 2  # objects: one to learn from, one to measure the gain
_EVERY = 10  # new objects, after which learning starts again


class LearningActions:
    """Learns from the objects in the labels in use.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    learning : Learning
        Runs the process.
    window : LearningWindow
        Shows it.
    model_name : callable
        Returns the name or path of the model in use.
    folder_of : callable
        Returns the folder of a session.
    is_busy : callable
        Whether the user waits for other work.

    Attributes
    ----------
    learned : psygnal.Signal
        Emits the path of the learned weights when the user takes them.
    noted : psygnal.Signal
        Emits a sentence for the user.
    failed : psygnal.Signal
        Emits the PromptableError of a learning.
    """

    learned = Signal(str)
    noted = Signal(str)
    failed = Signal(object)

    def __init__(
        self,
        workspace: Workspace,
        learning: Learning,
        window: LearningWindow,
        model_name: Callable[[], str],
        folder_of: Callable[[SegmentationSession], Path],
        is_busy: Callable[[], bool],
    ) -> None:
        self._workspace, self._learning, self._window = workspace, learning, window
        self._model_name, self._folder_of = model_name, folder_of
        self._is_busy = is_busy
        self._session: SegmentationSession | None = None
        self._learned_from: WeakKeyDictionary[SegmentationSession, int] = WeakKeyDictionary()
        self._keeps = self._is_quiet = False
        learning.progressed.connect(self._show_progress)
        learning.finished.connect(self._show_result)
        learning.failed.connect(self._fail)
        window.cancel_requested.connect(self.cancel)
        window.use_requested.connect(self.use)
        window.discard_requested.connect(self.discard)
        window.complete_chosen.connect(self.choose_complete)
        window.keep_chosen.connect(self.keep_learning)

    def stop(self) -> None:
        """End a running process."""
        self._learning.forget()

    def close(self) -> None:
        """Remove the window."""
        self._window.deleteLater()

    def learn(self) -> None:
        """Start learning from the objects that a person committed, corrected or checked."""
        job = self._workspace.job
        if job is None:
            self.noted.emit("Open an image and commit some objects; then learn from them.")
            return
        count = count_confirmed(job)
        if count < _FEWEST:
            self._fail(
                LearningError(
                    f"Learning needs at least {_FEWEST} committed objects, better five; there "
                    f"{'is 1' if count == 1 else f'are {count}'}. Commit more, then learn."
                )
            )
        elif self._start(job):
            self._is_quiet = False
            self._window.begin(f"Learning from {count} objects of {job.image.name}…")

    def _start(self, job: AnnotationJob) -> bool:
        """Start the process. Returns whether it was started."""
        self._session = job.session
        # Before anything can fail: what failed is not tried again until there are more objects.
        self._learned_from[job.session] = count_confirmed(job)
        is_complete = bool(self._learning.settings.get(IS_COMPLETE, False))
        try:
            examples = collect_examples(job, is_complete=is_complete)
            self._learning.start(self._model_name(), examples, job.image.name)
        except PromptableError as error:
            self._fail(error)
            return False
        return True

    # without being asked

    def keep_learning(self, keeps: bool) -> None:
        """Learn after each tenth confirmed object, or only when asked."""
        self._keeps = keeps
        self.learn_if_due()

    def choose_complete(self, is_complete: bool) -> None:
        """Take what is not labelled for background, or for unknown. Learning starts again."""
        self._learning.settings[IS_COMPLETE] = is_complete
        if self._learning.is_running:
            self.learn()

    def learn_if_due(self) -> None:
        """Start learning quietly if there are ten more objects, and nothing else runs."""
        job = self._workspace.job
        if job is None or not self._keeps or self._learning.is_running or self._is_busy():
            return
        if self._window.isVisible():  # the user decides on an earlier result
            return
        if count_confirmed(job) >= self._learned_from.get(job.session, 0) + _EVERY:
            self._is_quiet = self._start(job)

    def cancel(self) -> None:
        """Stop learning. Nothing changes."""
        if self._learning.is_running:
            self._learning.forget()
            self._window.hide()
            self.noted.emit("Learning cancelled. The model is as it was.")

    def use(self) -> None:
        """Keep the learned weights with the session, and answer with them from now on."""
        assert self._session is not None
        try:
            path = self._store(self._folder_of(self._session))
        except PromptableError as error:
            self.failed.emit(error)
            return
        self.discard()
        self.learned.emit(str(path))
        self.noted.emit("The learned model is in use. Find the rest with All…, or click on.")

    def _store(self, folder: Path) -> Path:
        path = folder / f"learned-{uuid4().hex[:8]}.safetensors"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._learning.weights_path, path)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise CheckpointError(
                f"the learned model cannot be saved in {folder} ({error.strerror or error}); "
                "free some space, then press Use again"
            ) from error
        return path

    def discard(self) -> None:
        """Forget the learned weights."""
        self._learning.forget()
        self._window.hide()

    def _show_progress(self, state: dict[str, Any]) -> None:
        self._window.set_progress(state["phase"], state["seconds_left"], state["curve"])

    def _show_result(self, result: dict[str, Any]) -> None:
        is_quiet, self._is_quiet = self._is_quiet, False
        if is_quiet and not result["is_better"]:
            self._learning.forget()
            return
        self._window.show_result(
            result["before"],
            result["after"],
            is_better=result["is_better"],
            automatic=result.get("automatic"),
        )
        self._window.show_worst(result.get("worst", []))

    def _fail(self, error: PromptableError) -> None:
        self._learning.forget()
        self._window.hide()
        self.failed.emit(error)
