"""Small parts that the panels are made of."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget


def name_widget(widget: Any, name: str, tooltip: str) -> Any:
    """Give a control its name and tooltip; returns it."""
    widget.setObjectName(name)
    widget.setToolTip(tooltip)
    return widget


def make_button(text: str, name: str, tooltip: str) -> Any:
    """Make a push button that takes no more room than its text needs."""
    button = name_widget(QPushButton(text), name, tooltip)
    button.setStyleSheet("QPushButton { padding: 4px; }")
    return button


def row_of(*widgets: QWidget) -> QHBoxLayout:
    """Place controls side by side."""
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget)
    return row


class Fold(QWidget):
    """A section that a click on its title folds; folded at first.

    Parameters
    ----------
    title : str
        Text of the title.
    name : str
        Name of the button that is the title.
    content : QWidget
        What is folded.
    """

    def __init__(self, title: str, name: str, content: QWidget) -> None:
        super().__init__()
        self._content = content
        self._button = name_widget(QToolButton(), name, "Click to fold and unfold")
        self._button.setStyleSheet("QToolButton { background: transparent; border: none; }")
        self._button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._button.setCheckable(True)
        self._button.toggled.connect(self._show)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)
        layout.addWidget(content)
        self.set_title(title)
        self._show(False)

    def set_title(self, title: str) -> None:
        """Change the title."""
        self._button.setText(title)

    def set_open(self, is_open: bool) -> None:
        """Fold or unfold."""
        self._button.setChecked(is_open)

    def _show(self, is_open: bool) -> None:
        arrow = Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow
        self._button.setArrowType(arrow)
        self._content.setVisible(is_open)


def make_line() -> QFrame:
    """Make a line between sections."""
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    return line
