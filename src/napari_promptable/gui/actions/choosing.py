"""Choosing the image, channel, model, device and labels layer."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from napari.components import ViewerModel
from napari.layers import Image
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_promptable.annotation.uncommitted import has_uncommitted
from napari_promptable.gui.actions.messages import (
    describe_left_behind,
    describe_lost_labels,
    describe_shared,
)
from napari_promptable.gui.actions.models import ModelActions
from napari_promptable.gui.layers.lessons import IMAGE
from napari_promptable.gui.layers.ownership import images_sharing, is_shown_by_us
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.panels.choices import ChoicePanel, Choices
from napari_promptable.gui.panels.model_names import model_choices
from napari_promptable.gui.work.scheduler import Scheduler
from napari_promptable.planes import Channel

_DEVICES = ("auto", "cpu", "cuda", "mps")


class Offers:
    """The choices that the panel offers, as (text, value) pairs.

    Parameters
    ----------
    viewer : ViewerModel
        Holds the images.
    workspace : Workspace
        Knows channels and labels layers for the chosen image.

    Attributes
    ----------
    own_models : list of str
        Paths of weights files that the user has added.
    """

    def __init__(self, viewer: ViewerModel, workspace: Workspace) -> None:
        self._viewer, self._workspace = viewer, workspace
        self.own_models: list[str] = []

    def by_name(self) -> dict[str, Choices]:
        """Return the functions that list the choices, by the control's name."""
        return {
            "image": self.images,
            "channel": self.channels,
            "model": lambda: model_choices(self.own_models),
            "device": lambda: [(name, name) for name in _DEVICES],
            "labels": self.labels_layers,
        }

    def images(self) -> list[tuple[str, Image]]:
        """List the image layers, the topmost first."""
        return [
            (layer.name, layer)
            for layer in reversed(self._viewer.layers)
            if isinstance(layer, Image) and layer.ndim >= 2 and not is_shown_by_us(layer)
        ]

    def channels(self) -> list[tuple[str, Channel | None]]:
        """List the channels of the chosen image."""
        job = self._workspace.job
        return [("all", None)] if job is None else job.channels()

    def labels_layers(self) -> list[tuple[str, Any]]:
        """List the labels layers that fit the chosen image, and a new one."""
        layers = self._workspace.possible_labels_layers()
        return [*((layer.name, layer) for layer in layers), ("new layer", None)]


class ChoiceActions:
    """Applies choices, and keeps them true while layers come and go.

    Parameters
    ----------
    viewer : ViewerModel
        Holds the layers.
    workspace : Workspace
        Gets image and labels layer.
    scheduler : Scheduler
        Gets model, device and channel.
    offers : Offers
        The choices.
    panel : ChoicePanel
        The controls.

    Attributes
    ----------
    noted : psygnal.Signal
        Emits a sentence for the user.
    applied : psygnal.Signal
        Emitted when a choice has been applied, or the layers have changed.
    models : ModelActions
        Applies the choice of model and device.
    """

    noted = Signal(str)
    applied = Signal()

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: Workspace,
        scheduler: Scheduler,
        offers: Offers,
        panel: ChoicePanel,
    ) -> None:
        self._viewer, self._workspace, self._scheduler = viewer, workspace, scheduler
        self._offers, self._panel = offers, panel
        self.models = ModelActions(scheduler, panel, offers.own_models)
        self.models.changed.connect(self.note_details)
        self._removed: list[UUID] = []
        self._timer = QTimer(singleShot=True, interval=0)  # several layers may be changing
        self._timer.timeout.connect(self._catch_up)
        for event in self._layer_events():
            event.connect(self._follow_layers)
        workspace.left.connect(self._note_left)
        workspace.labels_lost.connect(self._note_lost)

    def close(self) -> None:
        """Disconnect from the viewer and the work."""
        self.models.close()
        self._workspace.left.disconnect(self._note_left)
        self._workspace.labels_lost.disconnect(self._note_lost)
        self._timer.stop()
        for event in self._layer_events():
            event.disconnect(self._follow_layers)

    def _layer_events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.renamed

    def start(self) -> None:
        """Use the model that the panel shows, and the topmost image."""
        self.models.apply()
        self._choose_first_image()

    def apply(self, name: str, value: Any) -> None:
        """Apply what the user chose."""
        job = self._workspace.job
        labels_layer = None if job is None else job.labels_layer
        if name == "image" and value is not self._workspace.image:
            self._leave_image(value)
        elif name == "labels" and (value is None or value is not labels_layer):
            self._workspace.set_labels_layer(value)
            self._note_sharing()
        elif name == "channel":
            self._scheduler.set_channel(value)
        elif name in ("model", "device"):
            self.models.apply()
        if name in ("image", "labels"):
            self._refresh()
        self.note_details()
        self.applied.emit()

    def _note_left(self, object_id: int) -> None:
        """Say that the current object is not committed and not in view any more."""
        self.noted.emit(describe_left_behind(object_id))

    def _note_lost(self, lost: str, new: str) -> None:
        """Say that objects go to another labels layer from now on."""
        self.noted.emit(describe_lost_labels(lost, new))

    def _leave_image(self, image: Image | None) -> None:
        """Segment another image, and say so if the current object is not committed."""
        session = self._workspace.session
        self._workspace.set_image(image)
        if session is None or session is self._workspace.session:  # with the same labels
            return
        if has_uncommitted(session, session.prompts.current_object):
            self._note_left(session.prompts.current_object)

    def _note_sharing(self) -> None:
        """Say so if the chosen labels layer holds the objects of other images, too."""
        job = self._workspace.job
        if job is not None:
            sharing = images_sharing(job.labels_layer, self._viewer.layers)
            others = [image.name for image in sharing if image is not job.image]
            note = describe_shared(job.labels_layer.name, others) if others else ""
            self.noted.emit(note)

    def _choose_first_image(self) -> None:
        images = self._offers.images()
        self._workspace.set_image(images[0][1] if images else None)
        self._refresh()

    def _refresh(self) -> None:
        """Refresh the layer lists and keep the current selection."""
        job = self._workspace.job
        self._panel.refresh("image", self._workspace.image)
        self._panel.refresh("channel")
        self._scheduler.set_channel(self._panel.value("channel"))
        self._panel.refresh("labels", None if job is None else job.labels_layer)

    def _follow_layers(self, event: Any) -> None:
        if event.type == "removed" and isinstance(event.value, Image):
            self._removed.append(event.value.unique_id)
        self._timer.start()

    def _catch_up(self) -> None:
        """Refresh the lists, and choose another image if ours is gone."""
        if self._workspace.image not in self._viewer.layers:
            self._choose_first_image()
        while self._removed:
            self._scheduler.forget_image(self._removed.pop())
        self._refresh()
        self.applied.emit()

    def note_details(self) -> None:
        """Have the session note image, model and channel with each change of the labels."""
        job = self._workspace.job
        if job is not None:
            channel = self._panel.value("channel")
            job.session.details = {
                IMAGE: job.image.name,
                "model": self.models.name,
                "channel": None if channel is None else channel.to_plain(),
            }
