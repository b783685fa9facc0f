"""The table of the objects in the labels layer, and the buttons that act on its rows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent, QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QInputDialog,
    QLabel,
    QTableView,
    QWidget,
)

from napari_promptable.gui.panels.controls import column_in, make_button, name_widget, row_of
from napari_promptable.gui.panels.lessons import LessonPanel

_MAX_ID = 2**31 - 1
_ROW_HEIGHT, _MIN_ROWS = 18, 2  # px; the header counts as a row
_COLUMNS = ("id", "class", "slices", "confidence")
_POLICIES = (
    ("Keep existing", "keep"),
    ("Overwrite", "replace"),
    ("Only add", "add"),
)
_NEEDED = (range(1, _MAX_ID), range(2, _MAX_ID), range(1, 2), range(1, _MAX_ID))
"""Numbers of selected rows for which each button is enabled."""

_MAX_SINGLY = 100
"""Rows that change one by one; with more it is faster to fill the table again."""

_PLAIN = (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
_ROLE = Qt.ItemDataRole


@dataclass(frozen=True)
class ObjectRow:
    """One row of the table.

    Attributes
    ----------
    object_id : int
        Its label.
    class_name : str
        Its class; empty if the user gave none.
    slices : str
        The slices it is on, in words.
    confidence : float
        The lowest confidence of its slices, 0 to 1; NaN if none is known.
    """

    object_id: int
    class_name: str
    slices: str
    confidence: float


class _ObjectTable(QAbstractTableModel):
    """Rows for Qt's table. The first column shows the colour and hides the object."""

    visibility_changed = Signal(object, bool)

    def __init__(self, color_of: Callable[[int], QColor], parent: QWidget) -> None:
        super().__init__(parent)
        self._color_of = color_of
        self.rows: list[ObjectRow] = []
        self.hidden: Collection[int] = ()

    def update(self, changed: Mapping[int, ObjectRow | None]) -> None:
        """Insert, replace and remove rows. They stay in the order of their ids."""
        for object_id, row in changed.items():
            place = bisect_left(self.rows, object_id, key=lambda each: each.object_id)
            is_listed = place < len(self.rows) and self.rows[place].object_id == object_id
            if row is not None and is_listed:
                self.rows[place] = row
                self.dataChanged.emit(
                    self.index(place, 0), self.index(place, len(_COLUMNS) - 1)
                )
            elif row is not None:
                self.beginInsertRows(QModelIndex(), place, place)
                self.rows.insert(place, row)
                self.endInsertRows()
            elif is_listed:
                self.beginRemoveRows(QModelIndex(), place, place)
                del self.rows[place]
                self.endRemoveRows()

    def reset(self, rows: list[ObjectRow]) -> None:
        """Replace all rows. They are in the order of their ids."""
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()

    def set_hidden(self, hidden: Collection[int]) -> None:
        """Show colours again, and no check mark at these ids."""
        self.hidden = hidden
        if self.rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.rows) - 1, 0))

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


class _TableView(QTableView):
    """Table that reports the Del key and the numbers of classes."""

    delete_pressed = Signal()
    number_pressed = Signal(int)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if event.matches(QKeySequence.StandardKey.Delete):
            self.delete_pressed.emit()
        elif event.text().isdecimal() and event.modifiers() in _PLAIN:
            self.number_pressed.emit(int(event.text()))
        else:
            super().keyPressEvent(event)


class ObjectList(QWidget):
    """Table of objects, and buttons for the selected ones.

    Parameters
    ----------
    color_of : callable
        Returns the colour of an object id.
    """

    object_chosen = Signal(object)  # ids of 64 bits do not fit an int of Qt
    delete_requested = Signal(list)
    merge_requested = Signal(list)
    id_chosen = Signal(object, object)
    class_name_chosen = Signal(list, str)
    selection_changed = Signal(list)
    visibility_changed = Signal(object, bool)
    policy_chosen = Signal(str)
    count_changed = Signal(int)
    learn_requested = Signal()
    edit_requested = Signal()
    class_key_pressed = Signal(int)

    def __init__(
        self, color_of: Callable[[int], QColor], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        layout = column_in(self)
        self._is_updating = False
        self._model = _ObjectTable(color_of, self)
        self._model.visibility_changed.connect(self.visibility_changed)
        layout.addWidget(self._make_table())
        layout.addLayout(self._make_buttons())
        layout.addLayout(self._make_policy())
        self._show_possible()

    def _make_table(self) -> QTableView:
        self._table = name_widget(_TableView(), "object_list", "Click an object to go to it")
        self._table.setModel(self._model)
        self._table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.verticalHeader().hide()
        self._table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        header = self._table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        self._table.setMinimumHeight(_MIN_ROWS * _ROW_HEIGHT)
        self._table.clicked.connect(self._report_click)
        self._table.selectionModel().selectionChanged.connect(self._follow_selection)
        self._table.delete_pressed.connect(self._delete_selected)
        self._table.number_pressed.connect(self.class_key_pressed)
        return self._table

    def _make_buttons(self) -> QHBoxLayout:
        self._buttons = [
            make_button("Delete", "delete_objects", "Delete the selected objects (Del)"),
            make_button("Merge", "merge_objects", "Merge the selected objects into one"),
            make_button("Id…", "relabel", "Give the selected object another id"),
            make_button("Class…", "rename_class", "Set the class of the selected objects"),
        ]
        delete, merge, relabel, rename = self._buttons
        delete.clicked.connect(self._delete_selected)
        merge.clicked.connect(lambda: self.merge_requested.emit(self.selected))
        relabel.clicked.connect(self._ask_id)
        rename.clicked.connect(self._ask_class)
        edit = make_button(
            "Edit…", "edit_objects", "Classes, shapes, measurements, export and import"
        )
        edit.clicked.connect(self.edit_requested)
        return row_of(*self._buttons, edit)

    def _make_policy(self) -> QHBoxLayout:
        self._policy = name_widget(
            QComboBox(),
            "overlap",
            "What to do where an object overlaps others: keep their pixels, overwrite them, or "
            "keep them and never remove pixels of the object itself",
        )
        for text, policy in _POLICIES:
            self._policy.addItem(text, policy)
        self._policy.activated.connect(lambda _: self.policy_chosen.emit(self.policy))
        self._policy.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._policy.setMinimumContentsLength(6)
        learn = make_button(
            "Learn",
            "learn",
            "Learn from the objects you committed or checked (2 minutes, in the background)",
        )
        learn.clicked.connect(self.learn_requested)
        self.lessons = LessonPanel()
        return row_of(QLabel("Overlap"), self._policy, self.lessons, learn, wide=[self._policy])

    @property
    def policy(self) -> str:
        """The chosen policy for overlaps: "keep", "replace" or "add"."""
        return str(self._policy.currentData())

    @property
    def selected(self) -> list[int]:
        """Ids of the selected objects, in the order of the list."""
        rows = sorted(index.row() for index in self._table.selectionModel().selectedRows())
        return [self._model.rows[row].object_id for row in rows]

    def update_rows(self, changed: Mapping[int, ObjectRow | None]) -> None:
        """Show new and changed objects, and remove the ones that are None.

        The selection stays where its objects still exist.
        """
        selected, rows = self.selected, self._model.rows
        self._is_updating = True
        if len(changed) <= _MAX_SINGLY:
            self._model.update(changed)
        else:
            listed = {**{row.object_id: row for row in rows}, **changed}
            self._model.reset([row for _, row in sorted(listed.items()) if row is not None])
            self._add_to_selection(selected)
        self._is_updating = False
        self.count_changed.emit(len(self._model.rows))
        self._hide_empty_columns()
        self._follow_selection()

    def clear(self) -> None:
        """Show no object."""
        self._model.reset([])

    def set_hidden(self, hidden: Collection[int]) -> None:
        """Show which objects are hidden, and all of them in their present colours."""
        self._model.set_hidden(frozenset(hidden))

    def _add_to_selection(self, object_ids: Collection[int]) -> None:
        flags = QItemSelectionModel.SelectionFlag
        for number, row in enumerate(self._model.rows):
            if row.object_id in object_ids:
                index = self._model.index(number, 0)
                self._table.selectionModel().select(index, flags.Select | flags.Rows)

    def select(self, object_ids: Collection[int]) -> None:
        """Select these objects and no others."""
        self.clear_selection()
        self._add_to_selection(object_ids)

    def clear_selection(self) -> None:
        """Select no object."""
        self._table.clearSelection()

    def _hide_empty_columns(self) -> None:
        rows = self._model.rows
        is_used = (
            any(row.class_name for row in rows),
            any(row.slices for row in rows),
            not all(isnan(row.confidence) for row in rows),
        )
        for column, is_shown in enumerate(is_used, start=1):
            self._table.setColumnHidden(column, not is_shown)

    def _follow_selection(self, *_: object) -> None:
        """Report the selected objects, and enable the buttons for them."""
        if not self._is_updating:
            self._show_possible()
            self.selection_changed.emit(self.selected)

    def _delete_selected(self) -> None:
        if self.selected:
            self.delete_requested.emit(self.selected)

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
        name, is_given = QInputDialog.getItem(self, "Class", "Class:", names, 0, True)
        if is_given:
            self.class_name_chosen.emit(self.selected, name.strip())

    def _show_possible(self) -> None:
        count = len(self._table.selectionModel().selectedRows())
        for button, counts in zip(self._buttons, _NEEDED, strict=True):
            button.setEnabled(count in counts)
