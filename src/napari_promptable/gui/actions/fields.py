"""Follows the view: the model is shown what the user looks at."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from qtpy.QtCore import QTimer

from napari_promptable.gui.layers.adapters import camera_of
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.panels.panel import Panel
from napari_promptable.gui.work.fields import describe_field
from napari_promptable.gui.work.scheduler import Scheduler

_REST_MS = 250  # a view that rests that long is encoded


class FieldActions:
    """Encodes another field when the view rests, and says which one it is.

    Parameters
    ----------
    viewer : ViewerModel
        Its camera is followed.
    workspace : Workspace
        Holds the annotation job.
    scheduler : Scheduler
        Encodes.
    panel : Panel
        Holds the switch, and says which field it is.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: Workspace,
        scheduler: Scheduler,
        panel: Panel,
    ) -> None:
        self._workspace, self._scheduler, self._panel = workspace, scheduler, panel
        self._timer = QTimer(singleShot=True, interval=_REST_MS)
        self._timer.timeout.connect(self.follow)
        camera = camera_of(viewer).events
        self._events = (camera.zoom, camera.center)
        for event in self._events:
            event.connect(self._wait)
        panel.encoding.whole_plane_changed.connect(self.choose_whole)
        scheduler.live.edited.connect(self.show)

    def close(self) -> None:
        """Disconnect from the camera."""
        self._timer.stop()
        for event in self._events:
            event.disconnect(self._wait)

    def _wait(self, _event: object = None) -> None:
        self._timer.start()

    def follow(self) -> None:
        """Encode the field in view, and say which one it is."""
        self.show()
        self._scheduler.wake()

    def show(self) -> None:
        """Say what the model is shown: what answers the prompts in view, or the next click."""
        job, index = self._workspace.job, self._workspace.visible_index()
        if job is None or index is None:
            self._panel.show_field("")
            return
        prompts = job.session.prompts.of_current.get(index)
        field = self._scheduler.fields.in_view() if prompts is None else prompts.field
        axes = list(job.planes.axes)
        size = float(np.abs(np.asarray(job.image.scale)[axes]).max())
        unit = f"{job.image.units[axes[1]]:~}"
        self._panel.show_field(describe_field(field, job.planes.plane_shape, size, unit))

    def choose_whole(self, is_whole: bool) -> None:
        """Always show the model the whole plane, or what is in view again."""
        self._scheduler.fields.is_whole = is_whole
        self._scheduler.live.read_prompts()
        self.follow()
