"""Long work in small steps, so that clicks can be answered in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from napari_promptable.errors import PromptableError
from napari_promptable.gui.work.encoding import Encoding, PlaneEncoder
from napari_promptable.gui.work.worker import Task, TaskControl

STEP_S = 0.1  # how long a click waits; a part that takes longer is not interrupted


class Run(Protocol):
    """Work that can be done step by step."""

    is_done: bool

    def step(self, encoder: PlaneEncoder, control: TaskControl) -> Any:
        """Work for a moment, in a thread, and return the findings."""
        ...


@dataclass(frozen=True, eq=False)
class _Running:
    """Running work and its callbacks. See `SteppedWork.start`."""

    run: Run
    found: Callable[[Any], None]
    done: Callable[[], None]
    failed: Callable[[PromptableError | None], None]


class SteppedWork:
    """Source of the steps of one run.

    Parameters
    ----------
    encoding : Encoding
        Encodes the planes.
    text : str
        Shown in the progress bar.
    """

    def __init__(self, encoding: Encoding, text: str) -> None:
        self._encoding, self._text = encoding, text
        self._running: _Running | None = None

    @property
    def is_running(self) -> bool:
        """Whether a run is neither done nor dropped."""
        return self._running is not None

    def start(
        self,
        run: Run,
        found: Callable[[Any], None],
        done: Callable[[], None],
        failed: Callable[[PromptableError | None], None],
    ) -> None:
        """Begin a run, in the place of any other.

        Parameters
        ----------
        run : Run
            What to do.
        found, done, failed : callable
            Called with what was found in a step; when nothing is left; and with the error
            that ended the run, or None after a cancellation.
        """
        self._running = _Running(run, found, done, failed)

    def drop(self) -> None:
        """Drop the run without calling its callbacks."""
        self._running = None

    def cancel(self) -> None:
        """End the run as the user's Cancel does."""
        running, self._running = self._running, None
        if running is not None:
            running.failed(None)

    def next_task(self) -> Task | None:
        """Return the task that takes the next step."""
        running, encoder = self._running, self._encoding.encoder()
        if running is None or encoder is None:
            return None

        def done(values: Any) -> None:
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
            self._text, lambda control: running.run.step(encoder, control), done, failed
        )
