"""One job at a time in a worker thread; what comes next is asked for when a job is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QObject, Signal
from superqt.utils import create_worker

from napari_promptable.errors import CancelledError


class JobControl(QObject):
    """What a running job is given: a way to report progress and to hear of cancellation."""

    progressed = Signal(int, int)  # done, total; 0 where unknown

    def __init__(self) -> None:
        super().__init__()
        self._is_cancelled = False

    def cancel(self) -> None:
        """Ask the job to stop."""
        self._is_cancelled = True

    def is_cancelled(self) -> bool:
        """Whether the job should stop; it raises CancelledError then."""
        return self._is_cancelled

    def report(self, done: int, total: int | None) -> None:
        """Report progress; safe in any thread. Large numbers become thousandths."""
        if total:
            self.progressed.emit(round(1000 * done / total), 1000)


@dataclass(frozen=True, eq=False)
class Job:
    """Work for the engine.

    Attributes
    ----------
    text : str
        What the progress bar says; empty for work that is too short to be shown.
    run : callable
        Called with a JobControl in a worker thread; touches no layer and no widget.
    done : callable
        Called with the result in the main thread.
    failed : callable
        Called with the error in the main thread; not after a cancellation.
    """

    text: str
    run: Callable[[JobControl], Any]
    done: Callable[[Any], None]
    failed: Callable[[Exception], None]


class Engine(QObject):
    """Runs jobs one after the other.

    There is no queue: when the engine is free it asks for the job that matters most now, so
    that the newest prompt wins by itself.

    Parameters
    ----------
    next_job : callable
        Returns a Job, or None if there is nothing to do.
    """

    started = Signal(str)  # the job's text
    progressed = Signal(int, int)
    stopped = Signal()  # nothing left to do

    def __init__(self, next_job: Callable[[], Job | None]) -> None:
        super().__init__()
        self._next_job = next_job
        self._control: JobControl | None = None
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        """Whether a job is running."""
        return self._control is not None

    def wake(self) -> None:
        """Start the next job, unless one is running."""
        if self._is_closed or self.is_busy:
            return
        job = self._next_job()
        if job is None:
            self.stopped.emit()
            return
        control = JobControl()
        control.progressed.connect(self.progressed)
        self._control = control
        if job.text:
            self.started.emit(job.text)
        create_worker(
            job.run,
            control,
            _connect={
                "returned": lambda result: self._finish(control, lambda: job.done(result)),
                "errored": lambda error: self._finish(control, lambda: _fail(job, error)),
            },
        )

    def cancel(self) -> None:
        """Stop the running job as soon as it can, and drop its result at once."""
        if self._control is not None:
            self._control.cancel()

    def close(self) -> None:
        """Cancel, and start nothing any more."""
        self._is_closed = True
        self.cancel()

    def _finish(self, control: JobControl, deliver: Callable[[], None]) -> None:
        """Deliver a result or an error, unless cancelled, and go on."""
        self._control = None
        if self._is_closed:
            return
        try:
            if not control.is_cancelled():
                deliver()
        finally:
            self.wake()


def _fail(job: Job, error: Exception) -> None:
    if not isinstance(error, CancelledError):
        job.failed(error)
