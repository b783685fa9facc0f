"""Function calls in a thread, answered in the main thread."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, QThreadPool
from superqt.utils import create_worker


def call_in_thread(
    function: Callable[[], Any],
    returned: Callable[[Any], None],
    errored: Callable[[Exception], None],
) -> None:
    """Call a function in a thread.

    Parameters
    ----------
    function : callable
        Touches no layer and no widget.
    returned, errored : callable
        One of them is called in the main thread, with the result or the exception.
    """
    call = _Call(returned, errored)
    _CALLS.add(call)
    create_worker(function, _connect={"returned": call.deliver, "errored": call.fail})


class _Call(QObject):
    """Receives the outcome of a call, and then lets go of what it refers to.

    Connected callables of other kinds would not do: the binding sometimes never frees them
    when a thread has emitted the signal, and with them all that they refer to. Methods of a
    QObject are held weakly.
    """

    def __init__(
        self, returned: Callable[[Any], None], errored: Callable[[Exception], None]
    ) -> None:
        super().__init__()
        self._returned, self._errored = returned, errored

    def deliver(self, result: Any) -> None:
        """Pass the result on."""
        _CALLS.discard(self)
        self._returned(result)

    def fail(self, error: Exception) -> None:
        """Pass the exception on."""
        _CALLS.discard(self)
        self._errored(error)


_CALLS: set[_Call] = set()
"""Keeps running calls alive."""

_LONGEST_WAIT_MS = 10_000


@atexit.register
def _wait_for_calls() -> None:
    """Let cancelled calls end: in a thread that outlives Qt's objects, Python aborts."""
    QThreadPool.globalInstance().waitForDone(_LONGEST_WAIT_MS)
