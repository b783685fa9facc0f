"""All controls of the window for editing objects."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QBoxLayout, QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_promptable.gui.editing.class_panel import ClassPanel
from napari_promptable.gui.editing.exchange_panel import ExchangePanel
from napari_promptable.gui.editing.table_panel import TablePanel
from napari_promptable.gui.editing.touch_up_panel import TouchUpPanel
from napari_promptable.gui.panels.controls import SPACING, STYLE

_MARGIN, _COLUMN_WIDTH = 4, 290  # px
_WIDE = 3 * _COLUMN_WIDTH  # beyond, the parts stand side by side
_Direction = QBoxLayout.Direction


class EditorPanel(QWidget):
    """Classes, corrections, measurements, and files of other programs.

    In a wide dock, below the canvas, its parts stand side by side; in a narrow one, beside
    the canvas, one below the other.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("editor")
        self.setStyleSheet(STYLE)
        self.classes = ClassPanel()
        self.touch_up = TouchUpPanel()
        self.table = TablePanel()
        self.exchange = ExchangePanel()
        self.problem = QLabel()
        self.problem.setWordWrap(True)
        self.problem.hide()
        self._columns = [
            _column_of(("Classes", self.classes)),
            _column_of(("Shape", self.touch_up), ("Other programs", self.exchange)),
            _column_of(("Measurements", self.table), is_filled=True),
        ]
        self._controls = QWidget()
        self._row = QBoxLayout(_Direction.TopToBottom, self._controls)
        self._row.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, _MARGIN)
        for column in self._columns:
            self._row.addWidget(column)
        self._row.setStretch(len(self._columns) - 1, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.problem)
        layout.addWidget(_scrolled(self._controls))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """Arrange the parts for the room there is."""
        super().resizeEvent(event)
        is_wide = event.size().width() >= _WIDE
        self._row.setDirection(_Direction.LeftToRight if is_wide else _Direction.TopToBottom)
        for column in self._columns[:-1]:
            column.setMaximumWidth(_COLUMN_WIDTH if is_wide else self.maximumWidth())

    def show_problem(self, text: str) -> None:
        """Say why nothing can be done any more."""
        self.problem.setText(text)
        self.problem.show()
        self._controls.setEnabled(False)


def _column_of(*parts: tuple[str, QWidget], is_filled: bool = False) -> QWidget:
    """Stack parts, each under its title. They take all height or leave the rest empty."""
    widget = QWidget()
    column = QVBoxLayout(widget)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(SPACING)
    for title, part in parts:
        column.addWidget(QLabel(f"<b>{title}</b>"))
        column.addWidget(part, int(is_filled))
    if not is_filled:
        column.addStretch()
    return widget


def _scrolled(content: QWidget) -> QScrollArea:
    """Let content scroll up and down where the dock is low."""
    area = QScrollArea()
    area.setWidget(content)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area
