"""Buttons to load prompts, to save labels and to take prompts from other layers."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_promptable.gui.panels.controls import make_button, row_of
from napari_promptable.gui.panels.sources import SourcePanel

_LABELS = "TIFF (*.tif);;OME-Zarr (*.ome.zarr)"


class FilePanel(QWidget):
    """Asks for the files."""

    load_prompts_requested = Signal(str)  # path
    save_labels_requested = Signal(str)  # path

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        load = make_button(
            "Load prompts…",
            "load_prompts",
            "Add the objects of a prompts.json; you can also drop the file on the viewer",
        )
        load.clicked.connect(self._choose_prompts)
        save = make_button(
            "Save labels…", "save_labels", "Save the labels layer as TIFF or OME-Zarr"
        )
        save.clicked.connect(self._choose_labels)
        self.sources = SourcePanel()
        self.setLayout(row_of(load, save, self.sources))

    def _choose_prompts(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load prompts", filter="*.json")
        if path:
            self.load_prompts_requested.emit(path)

    def _choose_labels(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save labels", "labels.tif", _LABELS)
        if path:
            self.save_labels_requested.emit(path)
