"""What the model may take from the objects that the user has committed."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QWidget

from napari_promptable.gui.panels.controls import name_widget, row_of


class LessonPanel(QWidget):
    """Switches beside the button *Learn*."""

    sizes_chosen = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sizes = name_widget(
            QCheckBox("sizes"),
            "expect_sizes",
            "Similar sizes: expect the next object to be as large as the committed ones",
        )
        self._sizes.setChecked(True)
        self._sizes.clicked.connect(self.sizes_chosen)
        self.setLayout(row_of(self._sizes))
