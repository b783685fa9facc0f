"""Work ahead of need: the plane in view, its neighbours, and on request all planes."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from napari_promptable.fields import Field
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.encoding import Encoding
from napari_promptable.gui.work.live import Live
from napari_promptable.gui.work.worker import Task, TaskControl
from napari_promptable.planes import Index
from napari_promptable.prompts import PromptSet

_MINUTE_S = 60


class PlaneInView:
    """Source of what the next click will need.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    encoding : Encoding
        Encodes the planes.
    live : Live
        Nothing is done ahead unless it is live.
    """

    def __init__(self, workspace: Workspace, encoding: Encoding, live: Live) -> None:
        self._workspace, self._encoding, self._live = workspace, encoding, live
        self._expected: tuple[Index, PromptSet] | None = None

    def expect_click(self, index: Index, point_yx: npt.NDArray[np.floating]) -> None:
        """Prepare for a click at this position, (row, col), of a plane."""
        self._expected = index, PromptSet(point_yx[None])

    def next_task(self) -> Task | None:
        """Return the task that prepares the expected click, or encodes the plane in view."""
        if not self._live.is_live:
            return None
        index = self._workspace.visible_index()
        field = self._encoding.fields.in_view()
        if index is None or (index, field) in self._encoding.encoded:
            return self._expected_task()
        return self._encoding.task(index, field)

    def _expected_task(self) -> Task | None:
        """Return the task that encodes the parts of a plane that the expected click needs."""
        expected, self._expected = self._expected, None
        encoder = self._encoding.encoder()
        if expected is None or encoder is None or not encoder.model.looks_closer:
            return None
        index, prompts = expected
        model, field = encoder.model, self._encoding.fields.in_view()
        embedding = encoder.known(index, field)
        if embedding is None:
            return None

        if field is not None:
            prompts = replace(prompts, points_yx=field.to_field(prompts.points_yx))

        def look_closer(_control: TaskControl) -> None:
            model.look_closer(embedding, prompts)

        return Task("", look_closer, lambda _: None, self._encoding.report)


class PlanesNearby:
    """Source of the encoding of the planes next to the one in view.

    Parameters
    ----------
    workspace, encoding, live
        As in `PlaneInView`.
    """

    def __init__(self, workspace: Workspace, encoding: Encoding, live: Live) -> None:
        self._workspace, self._encoding, self._live = workspace, encoding, live

    def next_task(self) -> Task | None:
        """Return the task that encodes a neighbour of the plane in view."""
        job, visible = self._workspace.job, self._workspace.visible_index()
        if not self._live.is_live or job is None or visible is None:
            return None
        field = self._encoding.fields.in_view()
        for index in job.planes.neighbours(visible):
            if (index, field) not in self._encoding.encoded:
                return self._encoding.task(index, field)
        return None


class AllPlanes:
    """Source of the encoding of all planes, once the user has asked for it.

    Parameters
    ----------
    workspace, encoding
        As in `PlaneInView`.
    """

    def __init__(self, workspace: Workspace, encoding: Encoding) -> None:
        self._workspace, self._encoding = workspace, encoding
        self._waiting: list[Index] = []
        self._field: Field | None = None
        self._total, self._started_s = 0, 0.0

    @property
    def is_waiting(self) -> bool:
        """Whether planes are left to encode."""
        return bool(self._waiting)

    def start(self) -> None:
        """Encode all planes, from the one in view outwards."""
        job, visible = self._workspace.job, self._workspace.visible_index()
        if job is None or visible is None:
            return
        planes = sorted(job.planes.indices(), key=lambda index: _distance(index, visible))
        known, self._field = self._encoding.encoded, self._encoding.fields.whole()
        self._waiting = [index for index in planes if (index, self._field) not in known]
        self._total, self._started_s = len(self._waiting), time.monotonic()

    def cancel(self) -> None:
        """Encode no further planes."""
        self._waiting.clear()

    def next_task(self) -> Task | None:
        """Return the task that encodes the next plane."""
        task = self._encoding.task(self._waiting[0], self._field) if self._waiting else None
        if task is None:
            return None
        total, done = self._total, self._total - len(self._waiting)
        del self._waiting[0]
        encode = task.run

        def run(control: TaskControl) -> None:
            control.report(done, total)
            encode(control)

        progress = describe_progress(done, total, time.monotonic() - self._started_s)
        return replace(task, text=f"encoding {progress}", run=run)


def _distance(index: Index, other: Index) -> int:
    """Count the slices between two planes."""
    return sum(abs(a - b) for a, b in zip(index, other, strict=True))


def describe_progress(num_done: int, total: int, elapsed_s: float) -> str:
    """Say which slice is next and how long the rest takes, such as "slice 2 of 4, 30 s left".

    Parameters
    ----------
    num_done : int
        Slices that are finished.
    total : int
        Slices altogether.
    elapsed_s : float
        Seconds since the start.
    """
    text = f"slice {num_done + 1} of {total}"
    if num_done == 0:
        return text
    rest_s = elapsed_s / num_done * (total - num_done)
    if rest_s < _MINUTE_S:
        return f"{text}, {rest_s:.0f} s left"
    return f"{text}, {rest_s / _MINUTE_S:.0f} min left"
