"""Finding all objects of some planes, a few at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_promptable.annotation.patches import LabelsArray
from napari_promptable.errors import CancelledError, PromptError
from napari_promptable.gui.work.encoding import PlaneEncoder
from napari_promptable.gui.work.steps import STEP_S
from napari_promptable.gui.work.worker import TaskControl
from napari_promptable.instances.place import MAX_PIXELS
from napari_promptable.instances.settings import AutomaticSettings
from napari_promptable.masks import BoolArray
from napari_promptable.planes import Index
from napari_promptable.transforms import to_rgb8

if TYPE_CHECKING:  # imports torch
    from napari_promptable.instances.automatic import AutomaticResult

_STEPS_PER_PLANE = 1000  # of progress


class AutomaticRun:
    """Finds all objects of some planes, step by step.

    Parameters
    ----------
    indices : sequence of Index
        The planes.
    changes : dict
        Values of `AutomaticSettings` that the user changed; the others suit the model.
    region : ndarray of bool, shape (H, W), or None
        Where to look on each plane; None is everywhere.
    labels : LabelsArray
        Existing labels, beside which objects are found.

    Attributes
    ----------
    results : dict of Index to AutomaticResult
        Of the planes that are done.
    settings : AutomaticSettings or None
        The settings in use, from the first step on.
    is_done : bool
        Whether no plane is left.
    """

    def __init__(
        self,
        indices: Sequence[Index],
        changes: Mapping[str, Any],
        region: BoolArray | None,
        labels: LabelsArray,
    ) -> None:
        self._indices, self._changes = indices, dict(changes)
        self._region, self._labels = region, labels
        self.results: dict[Index, AutomaticResult] = {}
        self.settings: AutomaticSettings | None = None
        self.is_done = False
        self._control = TaskControl()
        self._work: Iterator[None] | None = None

    def step(self, encoder: PlaneEncoder, control: TaskControl) -> None:
        """Find objects for a moment, in a thread."""
        self._control = control
        if self._work is None:
            self._work = self._find(encoder)
        end = time.monotonic() + STEP_S
        while time.monotonic() < end:
            if next(self._work, self) is self:
                self.is_done = True
                break

    def _find(self, encoder: PlaneEncoder) -> Iterator[None]:
        """Find the objects plane by plane. Pauses after each few."""
        from napari_promptable.instances.automatic import (
            AutomaticResult,
            default_settings,
            find_each,
        )
        from napari_promptable.instances.place import check_place

        self.settings = default_settings(encoder.model, **self._changes)
        check_size(encoder.planes.planes.plane_shape)
        for number, index in enumerate(self._indices):
            rgb = to_rgb8(encoder.planes.read(index))
            existing = np.array(self._labels[encoder.planes.planes.region(index)])
            place = check_place(existing.shape, self._region, existing)

            def report(done: int, total: int, number: int = number) -> None:
                self._report(number + done / max(total, 1))

            found = []
            for one in find_each(encoder.model, rgb, self.settings, place, report):
                found.append(one)
                yield
            self.results[index] = AutomaticResult(tuple(found), self.settings, place)
            self._report(number + 1)

    def _report(self, num_planes: float) -> None:
        """Report progress. Stops the work when the user has cancelled it."""
        if self._control.is_cancelled():
            raise CancelledError("the search for objects was cancelled")
        total = _STEPS_PER_PLANE * len(self._indices)
        self._control.report(round(_STEPS_PER_PLANE * num_planes), total)


def check_size(plane_shape: tuple[int, int]) -> None:
    """Raise PromptError for a plane that is too large to be searched as a whole."""
    height, width = plane_shape
    if height * width > MAX_PIXELS:
        raise PromptError(
            f"this slice has {height:,} × {width:,} pixels; finding all objects needs one of "
            f"{MAX_PIXELS:,} pixels at most: crop a part to an image layer of its own"
        )
