"""One task at a time in a thread. The next one is chosen when a task has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from qtpy.QtCore import QObject, QThreadPool, Signal

from napari_promptable.errors import CancelledError, PromptableError
from napari_promptable.gui.work.threads import call_in_thread

_MIN_THREADS = 6  # loading, encoding, scanning, saving, and some for napari


class TaskControl(QObject):
    """Lets a running task report progress and poll for cancellation."""

    progressed = Signal(int, int)  # done, total; 0 where unknown

    def __init__(self) -> None:
        super().__init__()
        self._is_cancelled = False

    def cancel(self) -> None:
        """Ask the task to stop."""
        self._is_cancelled = True

    def is_cancelled(self) -> bool:
        """Whether the task should stop by raising CancelledError."""
        return self._is_cancelled

    def report(self, done: int, total: int | None) -> None:
        """Report progress, in thousandths. Safe in any thread."""
        if total:
            self.progressed.emit(round(1000 * done / total), 1000)


@dataclass(frozen=True, eq=False)
class Task:
    """A piece of work for a thread.

    Attributes
    ----------
    text : str
        Shown in the progress bar; empty for work that is too short to show.
    run : callable
        Called with a TaskControl in the thread; touches no layer and no widget.
    done : callable
        Called with the result in the main thread.
    failed : callable
        Called with the PromptableError in the main thread; not after a cancellation.
    """

    text: str
    run: Callable[[TaskControl], Any]
    done: Callable[[Any], None]
    failed: Callable[[PromptableError], None]


class Source(Protocol):
    """A kind of work."""

    def next_task(self) -> Task | None:
        """Return the task to run now, or None."""


class Worker(QObject):
    """Runs one task after the other.

    There is no queue: when a task has ended, the worker asks its sources for the next one, so
    that the newest prompts always win.

    Parameters
    ----------
    *sources : Source
        The most urgent first.
    """

    started = Signal(str)  # the task's text
    progressed = Signal(int, int)
    stopped = Signal()  # nothing left to do

    def __init__(self, *sources: Source) -> None:
        super().__init__()
        self._sources = sources
        self._control: TaskControl | None = None
        self._is_closed = False

    @property
    def is_busy(self) -> bool:
        """Whether a task is running."""
        return self._control is not None

    def wake(self) -> None:
        """Start the most urgent task, unless one is running."""
        if self._is_closed or self.is_busy:
            return
        tasks = (source.next_task() for source in self._sources)
        task = next((task for task in tasks if task is not None), None)
        if task is None:
            self.stopped.emit()
        else:
            self._start(task)

    def cancel(self) -> None:
        """Ask the running task to stop, and drop its result."""
        if self._control is not None:
            self._control.cancel()

    def close(self) -> None:
        """Cancel and accept no further tasks."""
        self._is_closed = True
        self.cancel()
        self.blockSignals(True)  # a running task may still report progress

    def _start(self, task: Task) -> None:
        control = self._control = TaskControl()
        control.progressed.connect(self.progressed)
        if task.text:
            self.started.emit(task.text)
        call_in_thread(
            partial(task.run, control),
            lambda result: self._finish(control, lambda: task.done(result)),
            lambda error: self._finish(control, lambda: _fail(task, error)),
        )

    def _finish(self, control: TaskControl, deliver: Callable[[], None]) -> None:
        """Deliver a result or an error, unless cancelled, and start the next task."""
        self._control = None
        if self._is_closed:
            return
        try:
            if not control.is_cancelled():
                deliver()
        finally:
            self.wake()


def _fail(task: Task, error: Exception) -> None:
    """Report an error. One that is not expected ends the task, too, and is raised."""
    if isinstance(error, CancelledError):
        return
    if isinstance(error, PromptableError):
        task.failed(error)
        return
    name = task.text or "reading the labels"
    task.failed(PromptableError(f"{name} failed ({type(error).__name__}: {error})"))
    raise error


def make_room_for_threads() -> None:
    """Let Qt run more threads than there are cores, so that an encoder holds up no save."""
    pool = QThreadPool.globalInstance()
    pool.setMaxThreadCount(max(pool.maxThreadCount(), _MIN_THREADS))
