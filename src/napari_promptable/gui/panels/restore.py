"""The offer to restore an earlier session."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QWidget

from napari_promptable.gui.panels.controls import column_in, make_button, row_of


class RestorePanel(QWidget):
    """Offers an unfinished session. It is hidden when there is none."""

    restore_requested = Signal()
    discard_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = column_in(self)
        self._text = QLabel()
        self._text.setWordWrap(True)
        restore = make_button("Restore", "restore_session", "Restore these objects")
        restore.clicked.connect(self.restore_requested)
        discard = make_button("Discard", "discard_session", "Delete this saved session")
        discard.clicked.connect(self.discard_requested)
        layout.addWidget(self._text)
        layout.addLayout(row_of(restore, discard))
        self.hide()

    @property
    def text(self) -> str:
        """The text of the offer."""
        return str(self._text.text())

    def offer(self, text: str) -> None:
        """Offer a session in words. An empty text hides the offer."""
        self._text.setText(text)
        self.setVisible(bool(text))
