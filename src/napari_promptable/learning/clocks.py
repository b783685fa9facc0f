"""The time that learning counts: its own work, so that a busy machine takes nothing away."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Tells the time in seconds."""

LONGEST_WAIT = 4.0
"""Seconds on the wall that count as one second of work at most, however busy the machine is."""


class WorkClock:
    """Counts processor seconds of this process, and a fourth of the time on the wall at least.

    On a quiet machine both are the same for work on one thread. On a busy one, learning gets as
    many steps as on a quiet one, but it takes at most four times as long.
    """

    def __init__(self) -> None:
        self._work, self._wall = time.process_time(), time.monotonic()

    def __call__(self) -> float:
        """Return the seconds since the clock was made."""
        wall = time.monotonic() - self._wall
        return max(time.process_time() - self._work, wall / LONGEST_WAIT)
