"""Which tool the next click uses, as layers and modes say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.components import ViewerModel
from napari.layers import Points, Shapes
from psygnal import Signal

from napari_promptable.gui.layers.adapters import POSITIVE, next_click

POINTS_MODE, SCRIBBLE = "add", "scribble"
BOX_MODES = {"box": "add_rectangle", "outline": "add_polygon_lasso", SCRIBBLE: "add_path"}
_MODES_OF_NAPARI = {
    "polygon": "add_polygon",
    "ellipse": "add_ellipse",
    "line": "add_line",
    "polyline": "add_polyline",
}
"""Modes that draw prompts, too, but have no button of ours."""

PromptLayerPair = tuple[Points | None, Shapes | None]


class ToolWatch:
    """Reports the active tool: none if another layer, another mode or a volume is shown.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layers are.
    layers : callable
        Returns the layers for clicks and for boxes.

    Attributes
    ----------
    changed : psygnal.Signal
        Emits the name of the tool that became active, or an empty string.
    active : str
        Name of the active tool, one of ours or of napari; empty if none is.
    latest : str
        Name of the tool of ours that was active last.
    """

    changed = Signal(str)

    def __init__(self, viewer: ViewerModel, layers: Callable[[], PromptLayerPair]) -> None:
        self._viewer, self._layers = viewer, layers
        self.active, self.latest = "", POSITIVE
        for event in self._viewer_events():
            event.connect(self.update)

    def close(self) -> None:
        """Disconnect from the viewer."""
        for event in self._viewer_events():
            event.disconnect(self.update)

    def _viewer_events(self) -> tuple[Any, ...]:
        viewer = self._viewer
        return viewer.layers.selection.events.active, viewer.dims.events.ndisplay

    def follow(self, layer: Points | Shapes) -> None:
        """React to the mode of a layer."""
        layer.events.mode.connect(self.update)

    def update(self, _event: Any = None) -> None:
        """Find the active tool, and report it if it is another one."""
        tool = self._find()
        if tool != self.active:
            self.active = tool
            if tool and tool not in _MODES_OF_NAPARI:
                self.latest = tool
            self.changed.emit(tool)

    def _find(self) -> str:
        (points, boxes), layer = self._layers(), self._viewer.layers.selection.active
        if self._viewer.dims.ndisplay != 2:
            return ""
        if points is not None and layer is points and points.mode == POINTS_MODE:
            return next_click(points)
        if boxes is not None and layer is boxes:
            modes = BOX_MODES | _MODES_OF_NAPARI
            return next((tool for tool, mode in modes.items() if boxes.mode == mode), "")
        return ""
