"""Chooses what is computed next, and starts over when model, channel or pixels change."""

from __future__ import annotations

import threading
from uuid import UUID

from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.ahead import AllPlanes, PlaneInView, PlanesNearby
from napari_promptable.gui.work.encoding import Encoding, PlaneEncoder
from napari_promptable.gui.work.fields import Fields
from napari_promptable.gui.work.live import Live
from napari_promptable.gui.work.loading import ModelLoading
from napari_promptable.gui.work.requests import Requests
from napari_promptable.gui.work.scan import LabelScan
from napari_promptable.gui.work.steps import SteppedWork
from napari_promptable.gui.work.warm_up import WarmUp
from napari_promptable.gui.work.worker import Worker, make_room_for_threads
from napari_promptable.planes import Channel

_SCAN_PATIENCE_MS = 100


class Scheduler:
    """Sources of work in order of urgency, and the workers that serve them.

    Models are loaded by a worker of their own, so that a download holds nothing up, and so are
    labels scanned, so that paint is saved soon while planes are encoded.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.

    Attributes
    ----------
    loading : ModelLoading
        Loads the chosen model.
    live : Live
        Answers the current object's prompts.
    requests : Requests
        Answers what the user asked by a button.
    propagation : SteppedWork
        Carries objects through a stack.
    automatic : SteppedWork
        Finds objects without prompts.
    in_view : PlaneInView
        Prepares the next click.
    warm_up : WarmUp
        Prepares the first layers.
    started : psygnal.Signal
        Emits the text of a task that has started.
    progressed : psygnal.Signal
        Emits (done, total) of the running task.
    stopped : psygnal.Signal
        Emitted when nothing is left to do.
    failed : psygnal.Signal
        Emits the PromptableError of a task.
    """

    started = Signal(str)
    progressed = Signal(int, int)
    stopped = Signal()
    failed = Signal(object)

    def __init__(self, workspace: Workspace) -> None:
        report = self.failed.emit
        self.loading = ModelLoading(workspace)
        self.loading.loaded.connect(self._follow_model)
        self._encoding = Encoding(workspace, self.loading, report)
        self.requests = Requests(self._encoding, report)
        self.live = Live(workspace, self._encoding, report)
        self.propagation = SteppedWork(self._encoding, "propagating")
        self.automatic = SteppedWork(self._encoding, "finding objects")
        self.in_view = PlaneInView(workspace, self._encoding, self.live)
        self._all_planes = AllPlanes(workspace, self._encoding)
        self.warm_up = WarmUp()
        self._loader = Worker(self.warm_up, self.loading)
        self._worker = Worker(
            self.requests,
            self.live,
            self.propagation,
            self.automatic,
            self.in_view,
            PlanesNearby(workspace, self._encoding, self.live),
            self._all_planes,
        )
        self._scanner = Worker(LabelScan(workspace, report))
        self._scan_timer = QTimer(singleShot=True, interval=_SCAN_PATIENCE_MS)
        self._scan_timer.timeout.connect(self._scanner.wake)
        make_room_for_threads()
        for worker in self._workers:
            worker.started.connect(self.started.emit)
            worker.progressed.connect(self.progressed.emit)
            worker.stopped.connect(self._report_idle)
        self.live.edited.connect(self.wake)
        self.live.begun.connect(self._worker.wake)
        workspace.pixels_changed.connect(self.forget_planes)
        workspace.refreshes.refreshed.connect(self._encoding.embedder.forget_names)

    def close(self) -> None:
        """Stop, and disconnect from a cluster in the background: that may take seconds."""
        self._scan_timer.stop()
        for worker in self._workers:
            worker.close()
        embedder = self._encoding.embedder
        threading.Thread(target=embedder.close, daemon=True).start()

    @property
    def is_busy(self) -> bool:
        """Whether a task is running."""
        is_scan_due = self._scan_timer.isActive()
        return is_scan_due or any(worker.is_busy for worker in self._workers)

    @property
    def fields(self) -> Fields:
        """Chooses what the model is shown."""
        return self._encoding.fields

    def encoder(self) -> PlaneEncoder | None:
        """Return what encodes and answers now, or None without an image or a model."""
        return self._encoding.encoder()

    def wake(self) -> None:
        """Start the most urgent tasks, unless some are running."""
        for worker in self._workers:
            worker.wake()

    def scan_soon(self) -> None:
        """Scan the labels in a moment: a stroke changes them many times."""
        if not self._scan_timer.isActive():
            self._scan_timer.start()

    @property
    def _workers(self) -> tuple[Worker, ...]:
        return self._loader, self._worker, self._scanner

    @property
    def _stepped(self) -> tuple[SteppedWork, ...]:
        return self.propagation, self.automatic

    def demand(self) -> None:
        """Wake, and load the model even if that failed or was cancelled before."""
        self.loading.retry()
        self.wake()

    def cancel(self) -> None:
        """Cancel the running tasks. They do not restart by themselves."""
        running = [work for work in self._stepped if work.is_running]
        if running:
            self._worker.cancel()
            running[0].cancel()
        elif self.is_busy or self._all_planes.is_waiting:
            self.loading.cancel()
            self.requests.cancel()
            self.live.cancel()
            self._all_planes.cancel()
            self._encoding.skip_visible()
            self._loader.cancel()
            self._worker.cancel()

    def encode_all(self) -> None:
        """Encode all planes while there is nothing more urgent to do."""
        self._all_planes.start()
        self.demand()

    # what is computed, and where

    def set_model(self, name_or_path: str, device: str) -> None:
        """Answer with another model as soon as it is loaded."""
        self._loader.cancel()
        self.loading.choose(name_or_path, device)
        self.wake()

    def _follow_model(self) -> None:
        """Start over: another model answers from now on."""
        self._encoding.embedder.model_source = self.loading.name_in_use
        self.forget_planes()

    def set_channel(self, channel: Channel | None) -> None:
        """Show the model another channel from now on."""
        if channel != self._encoding.channel:
            self._encoding.channel = channel
            self.forget_planes()

    def keep_embeddings(self, is_kept: bool) -> None:
        """Keep embeddings on disk from now on, or no longer."""
        self._encoding.embedder.is_kept = is_kept

    def encode_on(self, cluster_address: str) -> None:
        """Encode on a cluster from now on, or on this computer if the address is empty."""
        if cluster_address != self._encoding.embedder.cluster_address:
            self._encoding.embedder.cluster_address = cluster_address
            self.forget_planes()

    def forget_image(self, image_id: UUID) -> None:
        """Free the embeddings of an image layer that is gone."""
        self._encoding.embedder.forget_image(image_id)

    def forget_planes(self) -> None:
        """Invalidate embeddings and answers, and end a propagation and the like."""
        self._worker.cancel()
        for work in self._stepped:
            work.cancel()
        self._all_planes.cancel()
        self._encoding.forget_planes()
        self.live.forget_answers()
        self.wake()

    def _report_idle(self) -> None:
        if not self.is_busy:
            self.stopped.emit()
