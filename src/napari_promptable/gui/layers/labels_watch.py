"""Tracks planes of a labels layer that need a scan after painting."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from napari.layers import Labels
from psygnal import Signal

from napari_promptable.planes import Index, PlaneAxes


class LabelsWatch:
    """Knows which planes of a labels layer to scan: all at first, later the painted ones.

    Parameters
    ----------
    layer : Labels
        The labels layer.
    planes : PlaneAxes
        Its planes.
    is_new : bool
        Whether the layer is known to be empty.

    Attributes
    ----------
    painted : psygnal.Signal
        Emits the index of a plane that was painted on, perhaps by the plugin itself.
    """

    painted = Signal(tuple)

    def __init__(self, layer: Labels, planes: PlaneAxes, *, is_new: bool) -> None:
        self._layer, self._planes = layer, planes
        self.visible: Index | None = None
        self._painted: set[Index] = set()
        self._rest: Iterator[Index] = iter(())
        self._num_rest = 0
        if not is_new:
            self._look_everywhere()
        layer.events.data.connect(self._look_everywhere)
        layer.events.paint.connect(self._look_here)
        layer.events.labels_update.connect(self._look_here)
        layer.events.set_data.connect(self._look_again)  # napari's undo emits nothing else

    def close(self) -> None:
        """Disconnect from the layer."""
        self._layer.events.data.disconnect(self._look_everywhere)
        self._layer.events.paint.disconnect(self._look_here)
        self._layer.events.labels_update.disconnect(self._look_here)
        self._layer.events.set_data.disconnect(self._look_again)

    def _look_everywhere(self, _event: Any = None) -> None:
        self._rest = self._planes.indices()
        self._num_rest = prod(self._planes.shape[axis] for axis in self._planes.other_axes)

    def _look_here(self, _event: Any = None) -> None:
        self._look_again()
        if self.visible is not None:
            self.painted.emit(self.visible)

    def _look_again(self, _event: Any = None) -> None:
        if self.visible is not None:
            self._painted.add(self.visible)

    @property
    def num_unseen(self) -> int:
        """Number of planes that no scan was started for yet."""
        return self._num_rest

    def take(self) -> Index | None:
        """Return the plane to scan next; None if there is none."""
        if self._painted:
            return self._painted.pop()
        if self._num_rest:
            self._num_rest -= 1
            return next(self._rest)
        return None
