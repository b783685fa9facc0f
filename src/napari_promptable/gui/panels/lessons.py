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
            QCheckBox("similar sizes"),
            "expect_sizes",
            "Expect the next object to be about as large as the ones you committed",
        )
        self._sizes.setChecked(True)
        self._sizes.clicked.connect(self.sizes_chosen)
        row = row_of(self._sizes)
        row.addStretch()
        self.setLayout(row)
