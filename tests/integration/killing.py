"""Processes that die at a chosen moment, without a clock: see `kill_at`.

A moment is the number of a call by which Python opens, makes, renames, lists or deletes a file
or a folder, so that every step of writing can be the last.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable


def fork(work: Callable[[], object]) -> int:
    """Do something in a new process; returns its id."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def kill_at(moment: int, work: Callable[[], object]) -> None:
    """Do something in a process that is killed at a moment, from 1; waits for its end."""

    def work_and_die() -> None:
        moments = itertools.count(1)

        def die(event: str, _arguments: tuple[object, ...]) -> None:
            if _is_moment(event) and next(moments) == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(die)
        work()

    os.waitpid(fork(work_and_die), 0)


def _is_moment(event: str) -> bool:
    return event == "open" or (event.startswith("os.") and event != "os.kill")
