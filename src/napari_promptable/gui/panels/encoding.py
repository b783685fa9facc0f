"""Controls for encoding ahead of time: all slices, on disk, on other computers."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QLineEdit, QWidget

from napari_promptable.gui.panels.controls import column_in, make_button, name_widget, row_of


class EncodingPanel(QWidget):
    """Where slices are encoded and kept, and a button that encodes all of them."""

    encode_all_requested = Signal()
    keep_changed = Signal(bool)
    scheduler_changed = Signal(str)
    whole_plane_changed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = column_in(self)
        encode = make_button(
            "Encode all slices",
            "encode_all",
            "Encode every slice now and keep it on disk; your clicks are still answered first",
        )
        encode.clicked.connect(self.encode_all_requested)
        self._keep = name_widget(
            QCheckBox("Keep on disk"),
            "keep_embeddings",
            "Keep encoded slices on disk, so that none is encoded again after a restart",
        )
        self._keep.toggled.connect(self.keep_changed)
        layout.addLayout(row_of(encode, self._keep))
        whole = name_widget(
            QCheckBox("Whole plane"),
            "whole_plane",
            "Always show the model the whole plane. Otherwise it sees what you have zoomed in "
            "to, so that small objects are as large as it expects",
        )
        whole.toggled.connect(self.whole_plane_changed)
        self._scheduler = name_widget(
            QLineEdit(),
            "scheduler",
            "Address of a dask.distributed scheduler whose workers encode. Clear the field to "
            "encode on this computer",
        )
        self._scheduler.setPlaceholderText("scheduler: tcp://address:8786")
        self._scheduler.editingFinished.connect(
            lambda: self.scheduler_changed.emit(self._scheduler.text().strip())
        )
        layout.addLayout(row_of(whole, self._scheduler))

    def set_kept(self, is_kept: bool) -> None:
        """Show whether embeddings are kept on disk. Emits `keep_changed`."""
        self._keep.setChecked(is_kept)
