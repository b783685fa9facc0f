"""Verbs for learning: collect the user's objects, learn, use or discard the learned model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_promptable.annotation.records import confirmed_planes
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.errors import CheckpointError, LearningError, PromptableError
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.panels.learning import LearningWindow
from napari_promptable.gui.work.learning import Example, Learning
from napari_promptable.planes import Channel, Index

_FEWEST = 2  # objects: one to learn from, one to measure the gain


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
    ) -> None:
        self._workspace, self._learning, self._window = workspace, learning, window
        self._model_name, self._folder_of = model_name, folder_of
        self._session: SegmentationSession | None = None
        learning.progressed.connect(self._show_progress)
        learning.finished.connect(self._show_result)
        learning.failed.connect(self._fail)
        window.cancel_requested.connect(self.cancel)
        window.use_requested.connect(self.use)
        window.discard_requested.connect(self.discard)

    def close(self) -> None:
        """End a running process."""
        self._learning.forget()
        self._window.deleteLater()

    def learn(self) -> None:
        """Start learning from the objects that a person committed, corrected or checked."""
        job = self._workspace.job
        if job is None:
            self.noted.emit("Open an image and commit some objects; then learn from them.")
            return
        session = self._session = job.session
        channel = session.details.get("channel")
        planes = confirmed_planes(session.records)
        count = len({object_id for ids in planes.values() for object_id in ids})
        if count < _FEWEST:
            self._fail(
                LearningError(
                    f"Learning needs at least {_FEWEST} committed objects, better five; there "
                    f"{'is 1' if count == 1 else f'are {count}'}. Commit more, then learn."
                )
            )
            return
        try:
            examples = self._collect(planes, channel)
            self._learning.start(self._model_name(), examples, job.image.name)
        except PromptableError as error:
            self._fail(error)
            return
        self._window.begin(f"Learning from {count} objects of {job.image.name}…")

    def _collect(self, planes: dict[Index, set[int]], channel: Any) -> list[Example]:
        """Read the planes, and the labels of confirmed objects on them."""
        job = self._workspace.job
        assert job is not None
        source = job.source(Channel.from_plain(channel))
        labels = job.labels_layer.data
        pixels: list[npt.NDArray[np.generic]] = []
        masks: list[npt.NDArray[np.integer[Any]]] = []
        last: Index | None = None
        for index, ids in sorted(planes.items()):
            plane = np.asarray(labels[job.planes.region(index)])
            if last is not None and not _are_neighbours(last, index):
                pixels.append(np.zeros_like(pixels[-1]))  # keeps masks from being carried over
                masks.append(np.zeros_like(plane))
            pixels.append(np.asarray(source.read(index)))
            masks.append(np.where(np.isin(plane, list(ids)), plane, 0))
            last = index
        return [(np.stack(pixels), np.stack(masks))]

    def cancel(self) -> None:
        """Stop learning; nothing changes."""
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
        self.noted.emit("The learned model answers from now on. Click the next object.")

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
        self._window.show_result(
            result["before"], result["after"], is_better=result["is_better"]
        )

    def _fail(self, error: PromptableError) -> None:
        self._learning.forget()
        self._window.hide()
        self.failed.emit(error)


def _are_neighbours(first: Index, second: Index) -> bool:
    """Whether one plane follows the other along one axis."""
    return sum(abs(a - b) for a, b in zip(first, second, strict=True)) == 1
