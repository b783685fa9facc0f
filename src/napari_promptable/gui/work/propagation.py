"""A propagation in small steps, so that clicks can be answered in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping

from napari_promptable.annotation.records import Key
from napari_promptable.fields import Field
from napari_promptable.gui.work.encoding import PlaneEncoder
from napari_promptable.gui.work.steps import STEP_S
from napari_promptable.gui.work.worker import TaskControl
from napari_promptable.planes import SliceLine
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.prompts import PlanePrompts
from napari_promptable.propagation.chains import PropagatedMask
from napari_promptable.propagation.fields import field_of, propagate_in_field
from napari_promptable.propagation.gaps import find_gaps
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.propagation.volume import VolumeMasks


class PropagationRun:
    """Carries objects along a line of slices, step by step.

    Parameters
    ----------
    line : SliceLine
        The slices.
    objects : dict of int to dict of int to PlanePrompts
        Prompts by object id and slice.
    settings : PropagationSettings
        Range, direction and stop rules.
    changed : dict of int to collection of int, optional
        By object id, the slices whose prompts have changed since the object's last
        propagation; only slices that depend on them are redone.

    Attributes
    ----------
    masks : VolumeMasks
        The masks found so far.
    is_done : bool
        Whether no slice is left.
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
        self._control = TaskControl()
        self._adding = threading.Lock()
        self._values: Iterator[PropagatedMask] | None = None

    @property
    def num_slices(self) -> int:
        """Number of slices with a mask so far; it stays the same after a cancellation."""
        with self._adding:
            return len({value.position for value in self.masks})

    def step(self, encoder: PlaneEncoder, control: TaskControl) -> list[PropagatedMask]:
        """Propagate for a moment, in a thread. Returns the masks found in it."""
        self._control = control
        if self._values is None:
            self._values = self._propagate(encoder)
        found: list[PropagatedMask] = []
        end = time.monotonic() + STEP_S
        while time.monotonic() < end:
            value = next(self._values, None)
            if value is None:
                self.is_done = True
                break
            with self._adding:
                if control.is_cancelled():
                    break
                self.masks.add(value)
            found.append(value)
        return found

    def _propagate(self, encoder: PlaneEncoder) -> Iterator[PropagatedMask]:
        def embed(position: int, field: Field | None) -> ImageEmbedding:
            return encoder.embed(self.line.at(position), self._control, field)

        return propagate_in_field(
            encoder.model,
            embed,
            self.line.length,
            self.objects,
            self.settings,
            encoder.planes.planes.plane_shape,
            field_of(self.objects),
            changed=self._changed,
            progress=lambda done, total: self._control.report(done, total),
        )

    def slices_done_again(self) -> set[Key]:
        """Objects on planes that a complete run fills or leaves empty."""
        anchors = {object_id: list(at) for object_id, at in self.objects.items()}
        gaps = find_gaps(anchors, self.line.length, self.settings, self._changed)
        return {(gap.object_id, self.line.at(z)) for gap in gaps for z in gap.slices}
