"""Keeps the list of objects true when something else writes to the labels layer."""

from __future__ import annotations

from collections.abc import Callable

from napari_promptable.annotation.labels import find_extents
from napari_promptable.annotation.patches import Extent
from napari_promptable.errors import PromptableError
from napari_promptable.gui.layers.labels_watch import LabelsWatch
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.worker import Task
from napari_promptable.planes import Index


class LabelScan:
    """Source of scans: each finds the objects on one plane of the labels layer.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    report : callable
        Called with the error of a plane that cannot be read.
    """

    def __init__(self, workspace: Workspace, report: Callable[[PromptableError], None]) -> None:
        self._workspace, self._report = workspace, report
        self._unfinished: tuple[LabelsWatch, Index] | None = None

    def next_task(self) -> Task | None:
        """Return the scan of the next plane whose labels may have changed."""
        job = self._workspace.job
        index = None if job is None else self._take(job.watch)
        if job is None or index is None:
            return None
        labels, region = job.labels_layer.data, job.planes.region(index)

        def done(extents: dict[int, Extent]) -> None:
            self._unfinished = None
            if job.session.note_plane(index, extents):
                job.watch.painted.emit(index)

        def failed(error: PromptableError) -> None:
            self._unfinished = None
            self._report(error)

        return Task("", lambda _: find_extents(labels[region]), done, failed)

    def _take(self, watch: LabelsWatch) -> Index | None:
        """Return a plane to scan: again the last one if its scan was cancelled."""
        if self._unfinished is not None and self._unfinished[0] is watch:
            return self._unfinished[1]
        index = watch.take()
        self._unfinished = None if index is None else (watch, index)
        return index
