"""How far work of many equal parts has come, and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Callable

_MINUTE_S = 60


class Meter:
    """Counts parts of work.

    Parameters
    ----------
    total : int
        How many parts there are.
    clock : callable, optional
        Returns seconds.

    Attributes
    ----------
    num_begun : int
        How many of them were begun.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self._clock = total, clock
        self.num_begun = 0
        self._start = clock()

    def describe(self) -> str:
        """Begin the next part, and say which it is and how long the rest will take."""
        done, self.num_begun = self.num_begun, self.num_begun + 1
        text = f"slice {self.num_begun} of {self.total}"
        if done == 0:
            return text
        rest_s = (self._clock() - self._start) / done * (self.total - done)
        if rest_s < _MINUTE_S:
            return f"{text}, {rest_s:.0f} s left"
        return f"{text}, {rest_s / _MINUTE_S:.0f} min left"
