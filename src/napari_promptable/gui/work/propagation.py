"""A propagation in small steps, so that clicks can be answered in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from napari_promptable.annotation.records import Key
from napari_promptable.errors import PromptableError
from napari_promptable.gui.work.encoding import Encoding, PlaneEncoder
from napari_promptable.gui.work.worker import Task, TaskControl
from napari_promptable.planes import SliceLine
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.prompts import PlanePrompts
from napari_promptable.propagation.chains import PropagatedMask
from napari_promptable.propagation.gaps import find_gaps
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.propagation.volume import VolumeMasks, propagate_prompts

_STEP_S = 0.1  # how long a click waits; a slice that takes longer is not interrupted


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
        self._values: Iterator[PropagatedMask] | None = None

    def step(self, encoder: PlaneEncoder, control: TaskControl) -> list[PropagatedMask]:
        """Propagate for a moment, in a thread; returns the masks found in it."""
        self._control = control
        if self._values is None:
            self._values = self._propagate(encoder)
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

    def _propagate(self, encoder: PlaneEncoder) -> Iterator[PropagatedMask]:
        def embed(position: int) -> ImageEmbedding:
            return encoder.embed(self.line.at(position), self._control)

        return propagate_prompts(
            encoder.model,
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


@dataclass(frozen=True, eq=False)
class _Running:
    """A running propagation and its callbacks; see `Propagation.start`."""

    run: PropagationRun
    found: Callable[[list[PropagatedMask]], None]
    done: Callable[[], None]
    failed: Callable[[PromptableError | None], None]


class Propagation:
    """Source of the steps of a propagation.

    Parameters
    ----------
    encoding : Encoding
        Encodes the planes.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._running: _Running | None = None

    @property
    def is_running(self) -> bool:
        """Whether a propagation is neither done nor dropped."""
        return self._running is not None

    def start(
        self,
        run: PropagationRun,
        found: Callable[[list[PropagatedMask]], None],
        done: Callable[[], None],
        failed: Callable[[PromptableError | None], None],
    ) -> None:
        """Carry objects through a stack.

        Parameters
        ----------
        run : PropagationRun
            The objects and the stack.
        found, done, failed : callable
            Called with the masks found in a step; when no slice is left; and with the error
            that ended the propagation, or None after a cancellation.
        """
        self._running = _Running(run, found, done, failed)

    def drop(self) -> None:
        """Drop the propagation without calling its callbacks."""
        self._running = None

    def cancel(self) -> None:
        """End the propagation as the user's Cancel does."""
        running, self._running = self._running, None
        if running is not None:
            running.failed(None)

    def next_task(self) -> Task | None:
        """Return the task that takes the next step."""
        running, encoder = self._running, self._encoding.encoder()
        if running is None or encoder is None:
            return None

        def done(values: list[PropagatedMask]) -> None:
            if running is self._running:
                running.found(values)
                if running.run.is_done:
                    self._running = None
                    running.done()

        def failed(error: PromptableError) -> None:
            if running is self._running:
                self._running = None
                running.failed(error)

        return Task(
            "propagating", lambda control: running.run.step(encoder, control), done, failed
        )
