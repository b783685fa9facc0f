"""The dock widget "See inside the mask decoder"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QWidget

from napari_promptable.gui.docked import DockedWidget
from napari_promptable.gui.inspector.inspector import Inspector
from napari_promptable.gui.layers.adapters import unwrap
from napari_promptable.gui.widget import find_or_open_controller

if TYPE_CHECKING:
    import napari

_MIN_WIDTH, _MIN_HEIGHT = 300, 200  # px


class DecoderInspectorWidget(DockedWidget):
    """See how the mask decoder answers the prompts of the segmentation widget.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer, given by napari under this parameter name. The segmentation widget is
        opened in it unless it is open.
    """

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        viewer = unwrap(napari_viewer)
        controller = find_or_open_controller(viewer)
        inspector = self.inspector = Inspector(viewer, controller)
        area = QScrollArea()
        area.setWidget(inspector.panel)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setMinimumSize(_MIN_WIDTH, _MIN_HEIGHT)
        self.fill(area, inspector.close, inspector.stop)
