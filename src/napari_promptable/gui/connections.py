"""Connections of signals that are made and ended together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from psygnal import SignalInstance

Connection = tuple[SignalInstance, Callable[..., object]]
"""A signal and what it calls."""


class Connections:
    """Connections that last until others replace them."""

    def __init__(self) -> None:
        self._present: Sequence[Connection] = ()

    def replace(self, connections: Sequence[Connection] = ()) -> None:
        """End the present connections, and make these."""
        for signal, slot in self._present:
            signal.disconnect(slot)
        self._present = connections
        for signal, slot in connections:
            signal.connect(slot)
