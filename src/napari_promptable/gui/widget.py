"""The dock widget that napari opens."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_promptable.gui.controller import PromptController
from napari_promptable.gui.docked import DockedWidget

if TYPE_CHECKING:
    import napari

_PLUGIN, _SEGMENTATION = "napari-promptable", "Promptable segmentation"
_EDITOR = "Edit and measure objects"
_CONTROLLERS: WeakSet[PromptController] = WeakSet()


class PromptableWidget(DockedWidget):
    """Promptable segmentation in a dock.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer, given by napari under this parameter name.
    """

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        controller = self.controller = PromptController(napari_viewer)
        _CONTROLLERS.add(controller)
        controller.panel.objects.edit_requested.connect(lambda: _open_editor(napari_viewer))
        self.fill(controller.panel, controller.close, controller.stop)


def find_controller(viewer: ViewerModel) -> PromptController | None:
    """Return the controller of the segmentation widget that is open in a viewer."""
    return next((each for each in _CONTROLLERS if each.is_open_in(viewer)), None)


def find_or_open_controller(viewer: napari.Viewer) -> PromptController:
    """Return the controller of a viewer's segmentation widget, which is opened if need be."""
    controller = find_controller(viewer)
    if controller is None:
        _, widget = viewer.window.add_plugin_dock_widget(_PLUGIN, _SEGMENTATION)
        controller = widget.controller
    assert controller is not None
    return controller


def _open_editor(viewer: napari.Viewer) -> None:
    """Open the window for editing objects under the canvas, where its table has room."""
    dock, widget = viewer.window.add_plugin_dock_widget(_PLUGIN, _EDITOR)
    if not widget.is_placed:
        widget.is_placed = True
        dock.parentWidget().addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)
