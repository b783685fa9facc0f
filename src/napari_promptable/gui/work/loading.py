"""The chosen model, downloaded and loaded in a thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_promptable.errors import PromptableError
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.worker import Task, TaskControl
from napari_promptable.weights.checkpoints import fetch_checkpoint
from napari_promptable.weights.registry import MODELS

if TYPE_CHECKING:
    from napari_promptable.predict.predictor import PromptableModel


class ModelLoading:
    """Source of the task that loads the chosen model.

    Parameters
    ----------
    workspace : Workspace
        A model is loaded once there is something to annotate.
    loaded : callable
        Called when the model is ready.
    report : callable
        Called with the error if it cannot be loaded.

    Attributes
    ----------
    name : str
        The model's registry name, or the path of its weights.
    model : PromptableModel or None
        None until it is loaded.
    """

    def __init__(
        self,
        workspace: Workspace,
        loaded: Callable[[], None],
        report: Callable[[PromptableError], None],
    ) -> None:
        self._workspace, self._loaded, self._report = workspace, loaded, report
        self._device = "auto"
        self._may_load = True
        self.name = ""
        self.model: PromptableModel | None = None

    def choose(self, name_or_path: str, device: str) -> None:
        """Use another model or device from now on."""
        self.model, self.name, self._device = None, name_or_path, device
        self._may_load = True

    def retry(self) -> None:
        """Load the model even if that failed or was cancelled before."""
        self._may_load = True

    def cancel(self) -> None:
        """Load the model only when the user asks for something."""
        self._may_load = False

    def next_task(self) -> Task | None:
        """Return the task that loads the model."""
        is_needed = self.model is None and self._workspace.job is not None
        if not is_needed or not self._may_load:
            return None
        name, device = self.name, self._device

        def done(model: PromptableModel) -> None:
            if (name, device) == (self.name, self._device):
                self.model = model
                self._loaded()

        def failed(error: PromptableError) -> None:
            self._may_load = False
            self._report(error)

        return Task(
            f"loading {name}", lambda control: _load(name, device, control), done, failed
        )


def _load(name_or_path: str, device: str, control: TaskControl) -> PromptableModel:
    """Download a model if necessary, and load it; torch is imported here, not before."""
    from napari_promptable.predict.load_model import load_model

    if name_or_path in MODELS:
        fetch_checkpoint(name_or_path, control.report, control.is_cancelled)
        return load_model(name_or_path, device=device)
    return load_model(Path(name_or_path), device=device)
