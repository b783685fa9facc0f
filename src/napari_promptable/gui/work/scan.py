"""Keeps the list of objects true when something else writes to the labels layer."""

from __future__ import annotations

from collections.abc import Callable

from napari_promptable.errors import PromptableError
from napari_promptable.gui.layers.labels_watch import LabelsWatch, Looks, look_at
from napari_promptable.gui.layers.layer_labels import LayerLabels
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.worker import Task
from napari_promptable.planes import Index, PlaneAxes

_PIXELS_AT_ONCE = 2**24  # so that a task takes a fraction of a second


class LabelScan:
    """Source of scans: each compares some planes of the labels layer with the last scan.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    report : callable
        Called with the error of a plane that cannot be read.
    """

    def __init__(self, workspace: Workspace, report: Callable[[PromptableError], None]) -> None:
        self._workspace, self._report = workspace, report
        self._unfinished: tuple[LabelsWatch, list[Index]] | None = None

    def next_task(self) -> Task | None:
        """Return the scan of the next planes whose labels may have changed."""
        job = self._workspace.job
        if job is None:
            return None
        planes = job.planes
        indices = self._take(job.watch, planes)
        if not indices:
            return None
        labels, seen = LayerLabels(job.labels_layer), job.watch.seen

        def done(looks: Looks) -> None:
            self._unfinished = None
            if job is not self._workspace.job:  # its layer may have got data of another shape
                return
            job.note_looks(looks)
            if looks.error is not None:
                self._report(looks.error)

        return Task("", lambda _: look_at(labels, planes, indices, seen), done, self._report)

    def _take(self, watch: LabelsWatch, planes: PlaneAxes) -> list[Index]:
        """Return the planes to scan: again the last ones if their scan was cancelled."""
        if self._unfinished is not None and self._unfinished[0] is watch:
            return self._unfinished[1]
        height, width = planes.plane_shape
        indices = watch.take(max(1, _PIXELS_AT_ONCE // (height * width)))
        self._unfinished = (watch, indices) if indices else None
        return indices
