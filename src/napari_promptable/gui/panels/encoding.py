"""Controls for encoding ahead: all slices, on disk, on another computer."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QLabel, QLineEdit, QVBoxLayout, QWidget

from napari_promptable.gui.panels.controls import make_button, name_widget, row_of


class EncodingPanel(QWidget):
    """Whether embeddings are kept on disk, where planes are encoded, and a button for all."""

    encode_all_requested = Signal()
    keep_changed = Signal(bool)
    scheduler_changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        encode = make_button(
            "Encode all slices",
            "encode_all",
            "Encode every slice ahead of time and keep it on disk; clicks come first",
        )
        encode.clicked.connect(self.encode_all_requested)
        self._keep = name_widget(
            QCheckBox("keep on disk"),
            "keep_embeddings",
            "Encode each slice only once, also when napari is opened again",
        )
        self._keep.toggled.connect(self.keep_changed)
        layout.addLayout(row_of(encode, self._keep))
        self._scheduler = name_widget(
            QLineEdit(),
            "scheduler",
            "Encode on the workers of a dask.distributed scheduler; empty: on this computer",
        )
        self._scheduler.setPlaceholderText("tcp://address:8786")
        self._scheduler.editingFinished.connect(
            lambda: self.scheduler_changed.emit(self._scheduler.text().strip())
        )
        layout.addLayout(row_of(QLabel("Scheduler"), self._scheduler))

    def set_kept(self, is_kept: bool) -> None:
        """Show whether embeddings are kept on disk; reported like a user's choice."""
        self._keep.setChecked(is_kept)
