"""Small parts that all panels are built from: buttons, rows, lines, sections."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget
from superqt import QCollapsible

SPACING = 2  # px between controls; the whole panel fits beside an image
STYLE = """
QPushButton { padding: 2px 3px; }
QComboBox { padding: 1px 4px; }
QAbstractSpinBox { padding: 0px 4px; min-width: 28px; }
QLineEdit { min-height: 18px; padding: 1px; }
"""
"""napari's style with less padding."""

_TITLE_STYLE = """
QPushButton { background: transparent; text-align: left; padding: 0px; font-weight: bold; }
"""
_UNLIMITED = 2**24 - 1  # QWIDGETSIZE_MAX, which qtpy lacks


def name_widget(widget: Any, name: str, tooltip: str) -> Any:
    """Give a control its object name and tooltip, and return it."""
    widget.setObjectName(name)
    widget.setToolTip(tooltip)
    return widget


def make_button(text: str, name: str, tooltip: str) -> Any:
    """Make a named push button."""
    return name_widget(QPushButton(text), name, tooltip)


def row_of(*widgets: QWidget, wide: Collection[QWidget] = ()) -> QHBoxLayout:
    """Place controls side by side. The wide ones, or else all, share the spare room."""
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(SPACING)
    for widget in widgets:
        row.addWidget(widget, int(widget in wide))
    return row


def column_in(parent: QWidget) -> QVBoxLayout:
    """Give a widget a layout that stacks controls without margins."""
    column = QVBoxLayout(parent)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(SPACING)
    return column


def make_line() -> QFrame:
    """Make a line between sections."""
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    return line


class Section(QCollapsible):
    """A section that a click on its title folds. It is folded at first.

    Parameters
    ----------
    title : str
        Text of the title.
    name : str
        Object name of the button that shows the title.
    content : QWidget
        What the section shows when it is open.
    """

    def __init__(self, title: str, name: str, content: QWidget) -> None:
        # An arrow in the title takes the theme's colour; superqt's icons are drawn too early.
        super().__init__(expandedIcon=QIcon(), collapsedIcon=QIcon())
        self._title = title
        name_widget(self.toggleButton(), name, "Click to fold or unfold")
        self.toggleButton().setStyleSheet(_TITLE_STYLE)
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.layout().setSpacing(SPACING)
        self.setDuration(0)
        self.setContent(content)
        self.toggled.connect(self._show)
        self._show(False)

    def set_title(self, title: str) -> None:
        """Change the title."""
        self._title = title
        text = f"{'▾' if self.isExpanded() else '▸'} {title}"
        if text != self.text():  # Qt would lay out all that is around it
            self.setText(text)

    def set_open(self, is_open: bool) -> None:
        """Fold or unfold."""
        self.toggleButton().setChecked(is_open)

    def _show(self, is_open: bool) -> None:
        """Take folded controls out of the tab order. Let open ones grow."""
        self.content().setVisible(is_open)
        self.content().setMaximumHeight(_UNLIMITED if is_open else 0)
        self.set_title(self._title)
