"""Export to other programs and import from them."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QComboBox, QFileDialog, QGridLayout, QLabel, QWidget

from napari_promptable.files.formats.as_prompts import BOX, POINT
from napari_promptable.files.formats.exchange import FORMATS
from napari_promptable.gui.panels.controls import SPACING, make_button, name_widget

LABELS = "labels"
_KINDS = {"as labels": LABELS, "as boxes": BOX, "as points": POINT}
_FOLDER_FORMATS = "OME-Zarr, CTC and GEFF are folders"


class ExchangePanel(QWidget):
    """Asks for files. A file dropped on it is imported, too."""

    export_requested = Signal(str, str)  # path, name of the format
    import_requested = Signal(str, str)  # path; LABELS, BOX or POINT

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAcceptDrops(True)
        self._format = name_widget(QComboBox(), "export_format", "Format of the file")
        for name, each in FORMATS.items():
            self._format.addItem(each.title, name)
        self._format.currentIndexChanged.connect(self._show_loss)
        self._loss = name_widget(QLabel(), "export_loss", "What the file will not hold")
        self._loss.setWordWrap(True)
        self._kind = name_widget(
            QComboBox(),
            "import_as",
            "What the objects of the file become: labels to edit, or prompts to segment from",
        )
        for text, kind in _KINDS.items():
            self._kind.addItem(text, kind)
        self._lay_out()
        self._show_loss()

    def _lay_out(self) -> None:
        write = make_button("Export…", "export", "Write all saved objects to a file")
        write.clicked.connect(self._choose_target)
        read = make_button(
            "Import…",
            "import_objects",
            "Read objects from a file, or drop the file on this window or the canvas",
        )
        read.clicked.connect(self._choose_source)
        folder = make_button("Folder…", "import_folder", f"Import a folder: {_FOLDER_FORMATS}")
        folder.clicked.connect(self._choose_folder)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(SPACING)
        grid.addWidget(self._format, 0, 0, 1, 2)
        grid.addWidget(write, 0, 2)
        grid.addWidget(self._loss, 1, 0, 1, 3)
        grid.addWidget(self._kind, 2, 0)
        grid.addWidget(read, 2, 1)
        grid.addWidget(folder, 2, 2)

    @property
    def kind(self) -> str:
        """What an imported file becomes: LABELS, BOX or POINT."""
        return str(self._kind.currentData())

    def _show_loss(self) -> None:
        loss = FORMATS[self._format.currentData()].loss
        self._loss.setText(
            f"Not in the file: {loss}." if loss else "The file keeps everything."
        )

    def _choose_target(self) -> None:
        name = self._format.currentData()
        suffixes = FORMATS[name].suffixes or (".json",)
        patterns = " ".join(f"*{suffix}" for suffix in suffixes)
        path, _ = QFileDialog.getSaveFileName(
            self,
            "Export objects",
            f"objects{suffixes[0]}",
            f"{FORMATS[name].title} ({patterns})",
        )
        if path:
            self.export_requested.emit(path, name)

    def _choose_source(self) -> None:
        suffixes = [s for each in FORMATS.values() if each.read for s in each.suffixes]
        patterns = " ".join(f"*{s}" for s in suffixes if s.startswith("."))
        path, _ = QFileDialog.getOpenFileName(self, "Import", filter=f"Objects ({patterns})")
        if path:
            self.import_requested.emit(path, self.kind)

    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Import a folder")
        if path:
            self.import_requested.emit(path, self.kind)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        """Accept files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        """Import each file."""
        for url in event.mimeData().urls():
            self.import_requested.emit(url.toLocalFile(), self.kind)
        event.acceptProposedAction()
