"""The viewer's canvas: keys on layers, the resting pointer, and a guard for layer removal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.key_bindings import coerce_keybinding
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_promptable.planes import Index

_REST_MS = 60  # people take longer from the end of a movement to the click

Place = tuple[Index, npt.NDArray[np.floating]]
"""A plane and a position, (row, col), on it."""


_OF_OUR_LAYERS = ("Control-Z", "Control-Shift-Z")
"""Keys that undo something else wherever another layer is active."""


class LayerKeys:
    """Keys on our layers, and on the viewer for whenever no layer uses them itself.

    Parameters
    ----------
    actions : dict of str to callable
        Called with the active layer, by key.
    """

    def __init__(self, actions: Mapping[str, Callable[[Any], None]]) -> None:
        self._actions = actions

    def bind(self, layer: Layer | ViewerModel, leave: Iterable[Any] = ()) -> None:
        """Bind our keys, except some and except the ones that are bound on this layer."""
        taken = {*map(coerce_keybinding, leave), *layer.keymap}
        for key, action in self._actions.items():
            if coerce_keybinding(key) not in taken:
                layer.bind_key(key, action)

    def bind_viewer(self, viewer: ViewerModel) -> None:
        """Bind our keys where they are free: the active layer's keys come first."""
        self.bind(viewer, leave=[*_OF_OUR_LAYERS, *viewer.class_keymap])

    def unbind(self, layer: Layer | ViewerModel) -> None:
        """Remove our keys from a layer or the viewer."""
        for key, action in list(layer.keymap.items()):
            if action in self._actions.values():
                layer.bind_key(key, None)


class PointerWatch:
    """Reports where the mouse pointer rests on the image: the next click is likely there.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer itself, not napari's proxy of it.
    locate : callable
        Turns a world position into a `Place`, or None outside the image.

    Attributes
    ----------
    rested : psygnal.Signal
        Emits the index of the plane in view and the position, (row, col), on it.
    """

    rested = Signal(object, object)

    def __init__(
        self, viewer: ViewerModel, locate: Callable[[tuple[float, ...]], Place | None]
    ) -> None:
        self._viewer, self._locate = viewer, locate
        self._world: tuple[float, ...] = ()
        self._timer = QTimer(singleShot=True, interval=_REST_MS)
        self._timer.timeout.connect(self._report)
        viewer.mouse_move_callbacks.append(self._follow)

    def close(self) -> None:
        """Disconnect from the viewer."""
        self._timer.stop()
        self._viewer.mouse_move_callbacks.remove(self._follow)

    def place(self) -> Place | None:
        """Return where the pointer is, or None outside the plane in view."""
        return self._locate(self._world) if self._world else None

    def _follow(self, _viewer: ViewerModel, event: Any) -> None:
        self._world = tuple(event.position)
        self._timer.start()

    def _report(self) -> None:
        place = self.place()
        if place is not None:
            self.rested.emit(*place)


class CanvasGuard:
    """Keeps the removal of layers from crashing the graphics driver.

    When a layer is removed, napari (0.9.2, `VispyCanvas._clean_and_update_scenegraph`) deletes
    its OpenGL programs at once, in whichever context is current: often the one in which Qt
    composes the window. With Mesa's drivers, the next drawing can then crash the process. The
    guard makes the canvas's own context current first.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        The viewer itself, not napari's proxy of it; a model without a window needs no guard.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        viewer.layers.events.removing.connect(self._make_current)

    def close(self) -> None:
        """Disconnect from the viewer."""
        self._viewer.layers.events.removing.disconnect(self._make_current)

    def _make_current(self, _event: Any = None) -> None:
        with suppress(AttributeError, RuntimeError):  # no window, or one that is being closed
            self._viewer.window._qt_viewer.canvas.native.makeCurrent()
