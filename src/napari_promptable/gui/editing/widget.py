"""The dock widget "Edit and measure objects"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_promptable.gui.docked import DockedWidget
from napari_promptable.gui.editing.editor import ObjectEditor
from napari_promptable.gui.layers.adapters import unwrap
from napari_promptable.gui.widget import find_or_open_controller

if TYPE_CHECKING:
    import napari


class ObjectEditorWidget(DockedWidget):
    """Classify, touch up and measure the objects of the segmentation widget.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer, given by napari under this parameter name. The segmentation widget is
        opened in it unless it is open.

    Attributes
    ----------
    is_placed : bool
        Whether the button that opened it has chosen where it is docked.
    """

    is_placed = False

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        viewer = unwrap(napari_viewer)
        editor = self.editor = ObjectEditor(viewer, find_or_open_controller(viewer))
        self.fill(editor.panel, editor.close, editor.stop)
