"""The list of classes, and buttons that change it."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QColorDialog,
    QInputDialog,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_promptable.gui.actions.classes import CLASS_KEYS
from napari_promptable.gui.panels.controls import column_in, make_button, name_widget, row_of

_NONE = "no class"
_SWATCH, _HEIGHT = 12, 88  # px
_NAME = Qt.ItemDataRole.UserRole


class ClassPanel(QWidget):
    """Lists the classes. The highlighted one is the class that new objects take."""

    chosen = Signal(str)  # name; empty: no class
    assign_requested = Signal(str)
    defined = Signal(str, str)  # name, color; empty: one that is free
    renamed = Signal(str, str)
    removed = Signal(str)
    by_class_changed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._list = name_widget(
            QListWidget(),
            "classes",
            "Click the class that new objects take (Ctrl+1 to Ctrl+9, Ctrl+0 for none)",
        )
        self._list.setFixedHeight(_HEIGHT)
        # Queued: the answer to the choice fills the list again.
        self._list.currentRowChanged.connect(
            self._report_choice, Qt.ConnectionType.QueuedConnection
        )
        layout = column_in(self)
        top = row_of(self._list)
        top.addLayout(self._make_buttons())
        layout.addLayout(top)
        assign = make_button(
            "Set for selected",
            "assign_class",
            "Give the objects selected in the list this class (1 to 9 in the list)",
        )
        assign.clicked.connect(lambda: self.assign_requested.emit(self.current))
        by_class = name_widget(
            QCheckBox("color by class"), "color_by_class", "Show objects in their class's color"
        )
        by_class.toggled.connect(self.by_class_changed)
        layout.addLayout(row_of(assign, by_class))
        self.show_classes({}, "")

    def _make_buttons(self) -> QVBoxLayout:
        add = make_button("Add…", "add_class", "Add a class; new objects take it")
        self._of_one = [
            make_button("Rename…", "rename_this_class", "Rename the class and its objects'"),
            make_button("Color…", "color_class", "Choose the color of the class"),
            make_button(
                "Remove", "remove_class", "Remove the class; its objects have none then"
            ),
        ]
        add.clicked.connect(self._ask_new)
        for button, slot in zip(
            self._of_one, (self._ask_name, self._ask_color, self._remove), strict=True
        ):
            button.clicked.connect(slot)
        column = QVBoxLayout()
        column.setSpacing(1)
        for button in (add, *self._of_one):
            column.addWidget(button)
        return column

    @property
    def current(self) -> str:
        """Name of the highlighted class, empty for no class."""
        item = self._list.currentItem()
        return "" if item is None else str(item.data(_NAME))

    def show_classes(self, colors: Mapping[str, str], current: str) -> None:
        """List classes by name with their colors, and highlight one."""
        self._colors = dict(colors)
        self._list.blockSignals(True)
        self._list.clear()
        for number, name in enumerate(["", *colors]):
            key = f"{number}  " if number in CLASS_KEYS else "    "
            item = QListWidgetItem(key + (name or _NONE))
            item.setData(_NAME, name)
            swatch = QPixmap(_SWATCH, _SWATCH)
            swatch.fill(QColor(colors[name]) if name else QColor(0, 0, 0, 0))
            item.setData(Qt.ItemDataRole.DecorationRole, swatch)
            self._list.addItem(item)
            if name == current:
                self._list.setCurrentItem(item)
        self._list.blockSignals(False)
        for button in self._of_one:
            button.setEnabled(bool(self.current))

    def _report_choice(self, _row: int) -> None:
        self.chosen.emit(self.current)

    def _ask_new(self) -> None:
        name, is_given = QInputDialog.getText(self, "Class", "Name of the new class:")
        if is_given and name.strip():
            self.defined.emit(name.strip(), "")
            self.chosen.emit(name.strip())

    def _ask_name(self) -> None:
        name, is_given = QInputDialog.getText(
            self, "Class", f"New name of {self.current}:", text=self.current
        )
        if is_given:
            self.renamed.emit(self.current, name)

    def _ask_color(self) -> None:
        former = QColor(self._colors[self.current])
        color = QColorDialog.getColor(former, self, f"Color of {self.current}")
        if color.isValid():
            self.defined.emit(self.current, color.name())

    def _remove(self) -> None:
        self.removed.emit(self.current)
