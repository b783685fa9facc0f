"""The chosen model, downloaded and loaded in a thread. The former one answers until then."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from psygnal import Signal

from napari_promptable.errors import PromptableError
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.imports import spare_collections
from napari_promptable.gui.work.worker import Task, TaskControl
from napari_promptable.weights.checkpoints import fetch_checkpoint
from napari_promptable.weights.registry import MODELS

if TYPE_CHECKING:
    from napari_promptable.predict.predictor import PromptableModel


class Choice(NamedTuple):
    """A model and where it runs.

    Attributes
    ----------
    name : str
        Registry name, or the path of its weights.
    device : str
        As `load_model` takes it.
    """

    name: str
    device: str


class ModelLoading:
    """Source of the task that loads the chosen model.

    Parameters
    ----------
    workspace : Workspace
        A model is loaded once there is something to annotate.

    Attributes
    ----------
    loaded : psygnal.Signal
        Emitted when the chosen model is ready.
    failed : psygnal.Signal
        Emits the choice that cannot be loaded and its PromptableError; the former choice is
        the chosen one again, if there is any.
    cancelled : psygnal.Signal
        Emitted when the former choice is the chosen one again because the user cancelled.
    model : PromptableModel or None
        The model that answers; None until one is loaded.
    chosen : Choice
        The model to answer with, loaded or not.
    """

    loaded = Signal()
    failed = Signal(object, object)
    cancelled = Signal()

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._may_load = True
        self._used: Choice | None = None
        self._former: Choice | None = None
        self.chosen = Choice("", "auto")
        self.model: PromptableModel | None = None

    @property
    def name_in_use(self) -> str:
        """Name of the model that answers, or of the one that will if there is none yet."""
        return (self._used or self.chosen).name

    def choose(self, name_or_path: str, device: str) -> None:
        """Answer with another model or on another device as soon as it is loaded."""
        self._former = self._used or (self.chosen if self.chosen.name else None)
        self.chosen = Choice(name_or_path, device)
        self._may_load = True

    def retry(self) -> None:
        """Load the model even if that failed or was cancelled before."""
        self._may_load = True

    def cancel(self) -> None:
        """Stay with the former model, or load none before the user asks for something."""
        if self.chosen != self._used:
            self._fall_back()
            self.cancelled.emit()

    def _fall_back(self) -> None:
        """Choose the former model again."""
        self._may_load = self._former not in (None, self.chosen)
        if self._former is not None:
            self.chosen = self._former

    def next_task(self) -> Task | None:
        """Return the task that loads the model."""
        is_needed = self.chosen != self._used and self._workspace.job is not None
        if not is_needed or not self._may_load:
            return None
        choice = self.chosen

        def done(model: PromptableModel) -> None:
            if choice == self.chosen:
                self.model, self._used = model, choice
                self.loaded.emit()

        def failed(error: PromptableError) -> None:
            if choice == self.chosen:
                self._fall_back()
                self.failed.emit(choice, error)

        return Task(
            f"loading {choice.name}", lambda control: _load(choice, control), done, failed
        )


@cache
def _import_torch() -> None:
    """Import torch and our networks, which takes a second or two."""
    with spare_collections():
        import napari_promptable.predict.load_model  # noqa: F401


def _load(choice: Choice, control: TaskControl) -> PromptableModel:
    """Download a model if necessary, and load it. Torch is imported here, not before."""
    _import_torch()
    from napari_promptable.predict.load_model import load_model

    if choice.name in MODELS:
        fetch_checkpoint(choice.name, control.report, control.is_cancelled)
        return load_model(choice.name, device=choice.device)
    return load_model(Path(choice.name), device=choice.device)
