"""The dock widget that napari opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_promptable.gui.controller import PromptController

if TYPE_CHECKING:
    import napari


class PromptableWidget(QWidget):
    """Promptable segmentation in a dock.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer, given by napari under this parameter name.
    """

    def __init__(self, napari_viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._was_docked = False
        controller = self.controller = PromptController(napari_viewer)
        # with the window, of which the widget is not told; its own methods are gone by then
        self.destroyed.connect(lambda: controller.close())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.controller.panel)
        # so that napari lets it fill the dock from top to bottom
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def event(self, event: QEvent) -> bool:
        """Close with the dock, which takes its content out before it goes."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._was_docked = True
            elif self._was_docked:
                self.controller.close()
        return bool(super().event(event))

    def closeEvent(self, event: Any) -> None:  # noqa: N802
        """Close where the widget is a window of its own."""
        self.controller.close()
        super().closeEvent(event)
