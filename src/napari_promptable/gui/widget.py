"""The dock widget that napari opens."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from napari.components import ViewerModel
from qtpy.QtWidgets import QWidget

from napari_promptable.gui.controller import PromptController
from napari_promptable.gui.docked import DockedWidget

if TYPE_CHECKING:
    import napari

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
        self.fill(controller.panel, controller.close)


def find_controller(viewer: ViewerModel) -> PromptController | None:
    """Return the controller of the segmentation widget that is open in a viewer."""
    return next((each for each in _CONTROLLERS if each.is_open_in(viewer)), None)
