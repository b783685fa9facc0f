"""The list of objects in the labels: what is known of each, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QInputDialog,
    QLabel,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_promptable.gui.panels.controls import make_button, name_widget, row_of

_MAX_ID = 2**31 - 1
_COLUMNS = ("id", "class", "slices", "confidence")
_POLICIES = (
    ("others keep theirs", "keep"),
    ("new object wins", "replace"),
    ("object only grows", "add"),
)
_NEEDED = (range(1, _MAX_ID), range(2, _MAX_ID), range(1, 2), range(1, _MAX_ID))
"""How many rows have to be selected for each button."""

_ROLE = Qt.ItemDataRole


@dataclass(frozen=True)
class ObjectRow:
    """One object as the list shows it.

    Attributes
    ----------
    object_id : int
        Its label.
    class_name : str
        What the user says it is.
    slices : str
        Where it is, in words.
    confidence : float
        Of its most doubtful slice; NaN where nothing is known.
    """

    object_id: int
    class_name: str
    slices: str
    confidence: float


class _ObjectTable(QAbstractTableModel):
    """Rows for Qt's table; the first column holds a box to hide the object, and its colour."""

    visibility_changed = Signal(int, bool)

    def __init__(self, color_of: Callable[[int], QColor], parent: QWidget) -> None:
        super().__init__(parent)
        self._color_of = color_of
        self.rows: list[ObjectRow] = []
        self.hidden: Collection[int] = ()

    def rowCount(self, _parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        return len(self.rows)

    def columnCount(self, _parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        return len(_COLUMNS)

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = _ROLE.DisplayRole
    ) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == _ROLE.DisplayRole:
            return _COLUMNS[section]
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsUserCheckable if index.column() == 0 else flags

    def data(self, index: QModelIndex, role: int = _ROLE.DisplayRole) -> Any:
        row = self.rows[index.row()]
        if role == _ROLE.DisplayRole:
            known = "" if isnan(row.confidence) else f"{row.confidence:.2f}"
            return (str(row.object_id), row.class_name, row.slices, known)[index.column()]
        if index.column() == 0 and role == _ROLE.DecorationRole:
            return self._color_of(row.object_id)
        if index.column() == 0 and role == _ROLE.CheckStateRole:
            is_hidden = row.object_id in self.hidden
            return Qt.CheckState.Unchecked if is_hidden else Qt.CheckState.Checked
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = _ROLE.EditRole) -> bool:  # noqa: N802
        if role != _ROLE.CheckStateRole:
            return False
        is_visible = Qt.CheckState(value) == Qt.CheckState.Checked
        self.visibility_changed.emit(self.rows[index.row()].object_id, is_visible)
        return True


class ObjectList(QWidget):
    """Table of objects, and buttons for the selected ones.

    Parameters
    ----------
    color_of : callable
        Returns the colour of an object id.
    """

    object_chosen = Signal(int)
    delete_requested = Signal(list)
    merge_requested = Signal(list)
    id_chosen = Signal(int, int)
    class_name_chosen = Signal(list, str)
    visibility_changed = Signal(int, bool)
    policy_chosen = Signal(str)
    count_changed = Signal(int)

    def __init__(
        self, color_of: Callable[[int], QColor], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._model = _ObjectTable(color_of, self)
        self._model.visibility_changed.connect(self.visibility_changed)
        self._table = name_widget(QTableView(), "object_list", "Click an object to go to it")
        self._table.setModel(self._model)
        self._table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.verticalHeader().hide()
        self._table.verticalHeader().setDefaultSectionSize(22)
        header = self._table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        self._table.setMinimumHeight(90)
        self._table.clicked.connect(self._report_click)
        self._table.selectionModel().selectionChanged.connect(self._show_possible)
        layout.addWidget(self._table)
        self._buttons = [
            make_button("Delete", "delete_objects", "Make the selected objects background"),
            make_button("Merge", "merge_objects", "Make one object of the selected ones"),
            make_button("Id…", "relabel", "Give the selected object another id"),
            make_button("Class…", "rename_class", "Say what the selected objects are"),
        ]
        delete, merge, relabel, rename = self._buttons
        delete.clicked.connect(lambda: self.delete_requested.emit(self.selected))
        merge.clicked.connect(lambda: self.merge_requested.emit(self.selected))
        relabel.clicked.connect(self._ask_id)
        rename.clicked.connect(self._ask_class)
        layout.addLayout(row_of(*self._buttons))
        self._policy = name_widget(
            QComboBox(), "overlap", "What happens where a new object meets others"
        )
        for text, policy in _POLICIES:
            self._policy.addItem(text, policy)
        self._policy.activated.connect(lambda _: self.policy_chosen.emit(self.policy))
        self._policy.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._policy.setMinimumContentsLength(8)
        layout.addLayout(row_of(QLabel("Overlap"), self._policy))
        self._show_possible()

    @property
    def policy(self) -> str:
        """What is chosen for where objects meet."""
        return str(self._policy.currentData())

    @property
    def selected(self) -> list[int]:
        """Ids of the selected objects, in the order of the list."""
        rows = sorted(index.row() for index in self._table.selectionModel().selectedRows())
        return [self._model.rows[row].object_id for row in rows]

    def set_rows(self, rows: Sequence[ObjectRow], hidden: Collection[int]) -> None:
        """Show these objects; those selected stay selected where they are still there."""
        selected = set(self.selected)
        self._model.beginResetModel()
        self._model.rows, self._model.hidden = list(rows), frozenset(hidden)
        self._model.endResetModel()
        self.count_changed.emit(len(rows))
        flags = QItemSelectionModel.SelectionFlag
        for number, row in enumerate(rows):
            if row.object_id in selected:
                index = self._model.index(number, 0)
                self._table.selectionModel().select(index, flags.Select | flags.Rows)
        self._show_possible()

    def _report_click(self, index: QModelIndex) -> None:
        self.object_chosen.emit(self._model.rows[index.row()].object_id)

    def _ask_id(self) -> None:
        [object_id] = self.selected
        text = f"New id of object {object_id}:"
        new_id, is_given = QInputDialog.getInt(self, "Id", text, object_id, 1, _MAX_ID)
        if is_given and new_id != object_id:
            self.id_chosen.emit(object_id, new_id)

    def _ask_class(self) -> None:
        names = sorted({row.class_name for row in self._model.rows if row.class_name})
        name, is_given = QInputDialog.getItem(
            self, "Class", "These objects are:", names, 0, True
        )
        if is_given:
            self.class_name_chosen.emit(self.selected, name.strip())

    def _show_possible(self, *_: object) -> None:
        count = len(self._table.selectionModel().selectedRows())
        for button, counts in zip(self._buttons, _NEEDED, strict=True):
            button.setEnabled(count in counts)
