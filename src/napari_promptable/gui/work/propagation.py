"""A propagation in small steps, so that clicks can be answered in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from napari_promptable.annotation.records import Key
from napari_promptable.gui.work.jobs import Embedder
from napari_promptable.gui.work.worker import JobControl
from napari_promptable.planes import PlaneSource, SliceLine
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.prompts import PlanePrompts
from napari_promptable.propagation.chains import PropagatedMask
from napari_promptable.propagation.gaps import find_gaps
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.propagation.volume import VolumeMasks, propagate_prompts

if TYPE_CHECKING:
    from napari_promptable.predict.predictor import PromptableModel


_STEP_S = 0.1  # how long a click waits; a slice that takes longer is not interrupted


class PropagationRun:
    """Carries objects along a line of slices, step by step.

    Parameters
    ----------
    line : SliceLine
        Where to go.
    objects : dict of int to dict of int to PlanePrompts
        Prompts by object id and slice.
    settings : PropagationSettings
        Range, direction and stop rules.
    changed : dict of int to collection of int, optional
        By object id, the slices whose prompts changed since the object was propagated last;
        only what depends on them is done again.

    Attributes
    ----------
    masks : VolumeMasks
        What is done.
    is_done : bool
        Whether nothing is left to do.
    """

    def __init__(
        self,
        line: SliceLine,
        objects: Mapping[int, Mapping[int, PlanePrompts]],
        settings: PropagationSettings,
        changed: Mapping[int, Collection[int]] | None = None,
    ) -> None:
        self.line, self.objects, self.settings = line, objects, settings
        self.masks = VolumeMasks()
        self.is_done = False
        self._changed = changed
        self._control = JobControl()
        self._values: Iterator[PropagatedMask] | None = None

    def step(
        self,
        model: PromptableModel,
        source: PlaneSource,
        embedder: Embedder,
        control: JobControl,
    ) -> list[PropagatedMask]:
        """Go on for a moment, in a worker thread; returns what was found."""
        self._control = control
        if self._values is None:
            self._values = self._propagate(model, source, embedder)
        found: list[PropagatedMask] = []
        end = time.monotonic() + _STEP_S
        while time.monotonic() < end:
            value = next(self._values, None)
            if value is None:
                self.is_done = True
                break
            self.masks.add(value)
            found.append(value)
        return found

    def _propagate(
        self, model: PromptableModel, source: PlaneSource, embedder: Embedder
    ) -> Iterator[PropagatedMask]:
        def embed(position: int) -> ImageEmbedding:
            return embedder.embed(model, source, self.line.at(position), self._control)

        return propagate_prompts(
            model,
            embed,
            self.line.length,
            self.objects,
            self.settings,
            changed=self._changed,
            progress=lambda done, total: self._control.report(done, total),
        )

    def slices_done_again(self) -> set[Key]:
        """Objects on planes that a complete run fills or leaves empty."""
        anchors = {object_id: list(at) for object_id, at in self.objects.items()}
        gaps = find_gaps(anchors, self.line.length, self.settings, self._changed)
        return {(gap.object_id, self.line.at(z)) for gap in gaps for z in gap.slices}


def propagate_job(
    model: PromptableModel, source: PlaneSource, run: PropagationRun, embedder: Embedder
) -> Callable[[JobControl], list[PropagatedMask]]:
    """Go on with a propagation for a moment."""
    return lambda control: run.step(model, source, embedder, control)
