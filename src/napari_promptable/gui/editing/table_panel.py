"""The table of measurements."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFileDialog,
    QSizePolicy,
    QTableView,
    QWidget,
)

from napari_promptable.gui.panels.controls import column_in, make_button, name_widget, row_of

if TYPE_CHECKING:
    import pandas as pd

_ROW_HEIGHT, _MIN_HEIGHT = 18, 90  # px
_ROLE = Qt.ItemDataRole
_FILES = "CSV (*.csv);;Parquet (*.parquet)"


class _Measurements(QAbstractTableModel):
    """A data frame for Qt's table."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.table: pd.DataFrame | None = None

    def show(self, table: pd.DataFrame | None) -> None:
        """Show another table, or for None an empty one."""
        self.beginResetModel()
        self.table = table
        self.endResetModel()

    def rowCount(self, _parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        return 0 if self.table is None else len(self.table)

    def columnCount(self, _parent: QModelIndex = QModelIndex()) -> int:  # noqa: N802, B008
        return 0 if self.table is None else len(self.table.columns)

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = _ROLE.DisplayRole
    ) -> Any:
        if self.table is None or role != _ROLE.DisplayRole:
            return None
        is_column = orientation == Qt.Orientation.Horizontal
        return str(self.table.columns[section]) if is_column else None

    def data(self, index: QModelIndex, role: int = _ROLE.DisplayRole) -> Any:
        if self.table is None or role not in (_ROLE.DisplayRole, _ROLE.UserRole):
            return None
        value: Any = self.table.iat[index.row(), index.column()]
        value = value.item() if isinstance(value, np.generic) else value
        if role == _ROLE.UserRole or not isinstance(value, float):
            return value
        return "" if isnan(value) else f"{value:.4g}"


class TablePanel(QWidget):
    """Asks for measurements and shows them. A click on a row goes to its object."""

    measure_requested = Signal(bool)  # slice by slice
    save_requested = Signal(str, object)  # path, table
    object_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = _Measurements(self)
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self._model)
        self._sorted.setSortRole(_ROLE.UserRole)
        self._view = name_widget(
            QTableView(), "measurements", "Click a row to go to its object, a title to sort"
        )
        self._view.setModel(self._sorted)
        self._view.setSortingEnabled(True)
        self._view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._view.verticalHeader().hide()
        self._view.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        self._view.setMinimumHeight(_MIN_HEIGHT)
        # without a wish of its own, so that a low dock gets no scroll bar
        self._view.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self._view.clicked.connect(self._report_click)
        layout = column_in(self)
        layout.addLayout(self._make_buttons())
        layout.addWidget(self._view, 1)
        self.show_table(None)

    def _make_buttons(self) -> Any:
        measure = make_button(
            "Measure", "measure", "Measure all saved objects, in the units of the layer's scale"
        )
        self._per_slice: QCheckBox = name_widget(
            QCheckBox("slice by slice"), "per_slice", "A row for each slice instead of in 3D"
        )
        measure.clicked.connect(
            lambda: self.measure_requested.emit(self._per_slice.isChecked())
        )
        self._save = make_button("Save table…", "save_table", "Save as CSV or Parquet")
        self._save.clicked.connect(self._choose_file)
        row = row_of(measure, self._per_slice, self._save)
        row.addStretch()
        return row

    def set_stack(self, is_stack: bool) -> None:
        """Offer to measure slice by slice where there are several slices."""
        self._per_slice.setVisible(is_stack)

    @property
    def table(self) -> pd.DataFrame | None:
        """The measurements in view, or None if there are none."""
        return self._model.table

    def show_table(self, table: pd.DataFrame | None) -> None:
        """Show measurements, or an empty table."""
        self._model.show(table)
        self._save.setEnabled(table is not None)
        self._view.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self._view.resizeColumnsToContents()

    def _report_click(self, index: QModelIndex) -> None:
        assert self.table is not None
        row = self._sorted.mapToSource(index).row()
        object_id: Any = self.table["object_id"].iat[row]
        self.object_chosen.emit(int(object_id))

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save table", "objects.csv", _FILES)
        if path:
            self.save_requested.emit(path, self.table)
