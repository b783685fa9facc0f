"""Dialogs about models: what one is, whether to download it, why it failed."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QDialog, QLabel, QMessageBox, QWidget

from napari_promptable.gui.panels.controls import column_in, make_button, row_of
from napari_promptable.gui.panels.model_names import (
    citation_of,
    describe_model,
    describe_size,
    name_model,
)
from napari_promptable.weights.checkpoints import checkpoint_folder
from napari_promptable.weights.registry import MODELS

_MARGIN, _WIDTH = 12, 360  # px


class AboutModel(QDialog):
    """What a model is good for, its licence, and its citation to copy.

    Parameters
    ----------
    name_or_path : str
        The model.
    """

    def __init__(self, name_or_path: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("about_model")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(name_model(name_or_path))
        self.setFixedWidth(_WIDTH)
        layout = column_in(self)
        layout.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, _MARGIN)
        layout.setSpacing(_MARGIN)
        layout.addWidget(_make_text(describe_model(name_or_path)))
        close = make_button("Close", "close_about", "Close this window")
        close.clicked.connect(self.close)
        citation = citation_of(name_or_path)
        if not citation:
            layout.addLayout(row_of(close))
            return
        layout.addWidget(_make_text(f"Cite: {citation}"))
        copy = make_button("Copy citation", "copy_citation", "Copy it to the clipboard")
        copy.clicked.connect(lambda: QApplication.clipboard().setText(citation))
        layout.addLayout(row_of(copy, close))


def _make_text(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def ask_to_download(name: str, accept: Callable[[], None], parent: QWidget) -> QMessageBox:
    """Ask whether to download a model. `accept` is called if so. Does not block."""
    spec = MODELS[name]
    box = _make_box(
        "download_question",
        "Download model?",
        f"Download {name_model(name)} ({describe_size(spec)})?",
        f"{spec.description}. Licence: {spec.licence}. Kept in {checkpoint_folder()}.",
        parent,
    )
    download = box.addButton("Download", QMessageBox.ButtonRole.AcceptRole)
    box.setDefaultButton(download)
    box.addButton("Cancel", QMessageBox.ButtonRole.RejectRole)
    download.clicked.connect(lambda: accept())
    box.open()
    return box


def show_failure(text: str, details: str, parent: QWidget) -> QMessageBox:
    """Show why a model could not be loaded."""
    box = _make_box("model_failure", "Model not loaded", text, details, parent)
    box.open()
    return box


def _make_box(name: str, title: str, text: str, details: str, parent: QWidget) -> QMessageBox:
    box = QMessageBox(parent)
    box.setObjectName(name)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.setWindowTitle(title)
    box.setText(text)
    box.setInformativeText(details)
    box.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return box
