"""Finding all objects of some planes, a few at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_promptable.annotation.patches import LabelsArray
from napari_promptable.errors import CancelledError, PromptError
from napari_promptable.fields import Field
from napari_promptable.gui.layers.regions import SearchRegion
from napari_promptable.gui.work.encoding import PlaneEncoder
from napari_promptable.gui.work.steps import STEP_S
from napari_promptable.gui.work.worker import TaskControl
from napari_promptable.instances.place import MARGIN, MAX_PIXELS
from napari_promptable.instances.settings import AutomaticSettings
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
    region : SearchRegion or None
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
        region: SearchRegion | None,
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
        planes = encoder.planes.planes
        part = part_to_read(planes.plane_shape, self._region)
        region = None if self._region is None else self._region.draw_in(part)
        for number, index in enumerate(self._indices):
            rgb = to_rgb8(encoder.planes.read(index, part))
            existing = np.array(self._labels[planes.region(index, *part.extent)])
            place = check_place(existing.shape, region, existing)

            def report(done: int, total: int, number: int = number) -> None:
                self._report(number + done / max(total, 1))

            found = []
            for one in find_each(encoder.model, rgb, self.settings, place, report):
                found.append(one)
                yield
            corner = part.top, part.left
            self.results[index] = AutomaticResult(
                tuple(found), self.settings, place, corner=corner
            )
            self._report(number + 1)

    def _report(self, num_planes: float) -> None:
        """Report progress. Stops the work when the user has cancelled it."""
        if self._control.is_cancelled():
            raise CancelledError("the search for objects was cancelled")
        total = _STEPS_PER_PLANE * len(self._indices)
        self._control.report(round(_STEPS_PER_PLANE * num_planes), total)


def part_to_read(plane_shape: tuple[int, int], region: SearchRegion | None) -> Field:
    """Choose what of a plane is read at once: all of it or, of a large one, a region.

    Parameters
    ----------
    plane_shape : (int, int)
        Height and width of the plane.
    region : SearchRegion or None
        Where to look; None is everywhere.

    Returns
    -------
    Field
        At full resolution. It holds the region with a margin.

    Raises
    ------
    PromptError
        If it would have more than `MAX_PIXELS`.
    """
    height, width = plane_shape
    if height * width <= MAX_PIXELS:
        return Field(0, 0, height, width)
    shape = plane_shape if region is None else region.shape
    if region is None or shape[0] * shape[1] > MAX_PIXELS:
        what = "this slice" if region is None else "this part"
        raise PromptError(
            f"{what} has {shape[0]:,} × {shape[1]:,} pixels, and up to {MAX_PIXELS:,} can be "
            "searched at once: look in the visible field, zoomed in, or in a selected shape; "
            "the command napari-promptable auto searches the whole slice"
        )
    top, left = (max(0, part.start - MARGIN) for part in region.extent)
    bottom, right = (
        min(length, part.stop + MARGIN)
        for length, part in zip(plane_shape, region.extent, strict=True)
    )
    return Field(top, left, bottom - top, right - left)
