"""Choosing the model: asks before a download, and stays with the former one if it fails."""

from __future__ import annotations

from functools import partial

from psygnal import Signal

from napari_promptable.errors import PromptableError
from napari_promptable.gui.actions.messages import describe_failed_model
from napari_promptable.gui.panels.choices import ChoicePanel
from napari_promptable.gui.panels.model_dialogs import AboutModel, ask_to_download, show_failure
from napari_promptable.gui.panels.model_names import name_model, needs_download
from napari_promptable.gui.work.loading import Choice
from napari_promptable.gui.work.scheduler import Scheduler


class ModelActions:
    """Applies the choice of model and device.

    Parameters
    ----------
    scheduler : Scheduler
        Loads the model and answers with it.
    panel : ChoicePanel
        The lists of models and devices.
    own_models : list of str
        Paths of weights files that the user has added; offered by the list of models.

    Attributes
    ----------
    changed : psygnal.Signal
        Emits the name or path of the model when another one answers.
    failed : psygnal.Signal
        Emits a short sentence and the details when a model could not be loaded.
    """

    changed = Signal(str)
    failed = Signal(str, str)

    def __init__(self, scheduler: Scheduler, panel: ChoicePanel, own_models: list[str]) -> None:
        self._scheduler, self._panel, self._own_models = scheduler, panel, own_models
        self._loading = scheduler.loading
        self._last = ""
        self._failure = ("", "")
        self._loading.loaded.connect(self._follow_loaded)
        self._loading.failed.connect(self._follow_failed)
        self._loading.cancelled.connect(self._show)

    def close(self) -> None:
        """Disconnect from the work."""
        self._loading.loaded.disconnect(self._follow_loaded)
        self._loading.failed.disconnect(self._follow_failed)
        self._loading.cancelled.disconnect(self._show)

    @property
    def name(self) -> str:
        """Registry name or path of the model that answers."""
        return self._loading.name_in_use

    def apply(self) -> None:
        """Use the model and device that the panel shows. Asks before a download."""
        choice = Choice(self._panel.value("model"), self._panel.value("device"))
        if needs_download(choice.name):
            self._show()
            ask_to_download(choice.name, partial(self._choose, choice), self._panel)
        else:
            self._choose(choice)

    def _choose(self, choice: Choice) -> None:
        self._scheduler.set_model(*choice)
        self._show()

    def _show(self) -> None:
        """Show the chosen model and device in the panel."""
        chosen = self._loading.chosen
        if chosen.name:
            self._panel.refresh("model", chosen.name)
            self._panel.refresh("device", chosen.device)

    def _follow_loaded(self) -> None:
        former, self._last = self._last, self.name
        self._show()
        if former not in ("", self.name):
            self.changed.emit(self.name)

    def _follow_failed(self, choice: Choice, error: PromptableError) -> None:
        """Remove a bad file from the list, and say which model answers."""
        is_back = self._loading.chosen != choice
        if is_back and choice.name in self._own_models:
            self._own_models.remove(choice.name)
        self._show()
        stays = name_model(self._loading.chosen.name) if is_back else ""
        self._failure = describe_failed_model(name_model(choice.name), stays), str(error)
        self._panel.offer_failure()
        self.failed.emit(*self._failure)

    def add_own_model(self, path: str) -> None:
        """Add a weights file to the list of models, and use it."""
        if path not in self._own_models:
            self._own_models.append(path)
        self._panel.refresh("model")
        self._panel.set_value("model", path)

    def show_about(self) -> None:
        """Show what the model is good for, its licence and its citation."""
        AboutModel(self._loading.chosen.name, self._panel).show()

    def show_failure(self) -> None:
        """Show why a model could not be loaded."""
        show_failure(*self._failure, self._panel)
