"""Controls to find all objects, and to choose among the found ones."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QWidget
from superqt import QLabeledDoubleSlider

from napari_promptable.gui.panels.controls import (
    Section,
    column_in,
    make_button,
    name_widget,
    row_of,
)
from napari_promptable.gui.panels.settings_form import SettingsForm
from napari_promptable.instances.settings import AutomaticSettings

_DEFAULT = AutomaticSettings()
_FORM = ("seeds", "max_overlap", "min_stability", "max_containment", "min_area")


class Where(StrEnum):
    """Where to look for objects."""

    SLICE = "Whole slice"
    VIEW = "Visible field"
    SHAPE = "Selected shapes"
    STACK = "All slices"


class AutomaticPanel(QWidget):
    """Where to look, thresholds that act at once, and what becomes of the result."""

    find_requested = Signal()
    commit_requested = Signal()
    discard_requested = Signal()
    close_requested = Signal()
    settings_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._form = SettingsForm(_DEFAULT, _FORM, columns=2)
        self._form.changed.connect(self.settings_changed)
        layout = column_in(self)
        layout.addLayout(self._make_start())
        layout.addLayout(self._make_threshold())
        layout.addWidget(Section("More thresholds", "auto_fold", self._form))
        self._count = QLabel()
        self._count.setObjectName("auto_count")
        layout.addWidget(self._count)
        layout.addLayout(self._make_decision())
        self.set_found(None)

    def _make_start(self) -> QHBoxLayout:
        self._where = name_widget(
            QComboBox(), "auto_where", "Where to look; existing labels are never changed"
        )
        for where in Where:
            self._where.addItem(str(where), where)
        find = make_button("Find objects", "auto_find", "Find all objects without a click")
        find.clicked.connect(self.find_requested)
        close = make_button("Back", "auto_close", "Go back to one object at a time")
        close.clicked.connect(self.close_requested)
        return row_of(self._where, find, close)

    def _make_threshold(self) -> QHBoxLayout:
        self._confidence = name_widget(
            QLabeledDoubleSlider(Qt.Orientation.Horizontal),
            "auto_confidence",
            "Leave out objects that are less certain; acts at once",
        )
        self._confidence.setRange(0.0, 1.0)
        self._confidence.setDecimals(2)
        self._confidence.setValue(_DEFAULT.min_confidence)
        self._confidence.valueChanged.connect(lambda _: self.settings_changed.emit())
        return row_of(QLabel("Min. confidence"), self._confidence)

    def _make_decision(self) -> QHBoxLayout:
        self._commit = make_button(
            "Commit all", "auto_commit", "Save all found objects beside the existing labels"
        )
        self._commit.clicked.connect(self.commit_requested)
        self._discard = make_button("Discard", "auto_discard", "Drop the found objects")
        self._discard.clicked.connect(self.discard_requested)
        return row_of(self._commit, self._discard)

    @property
    def where(self) -> Where:
        """Where to look."""
        return Where(self._where.currentData())

    def set_stack(self, is_stack: bool) -> None:
        """Offer all slices, or not."""
        item = self._where.model().item(list(Where).index(Where.STACK))
        item.setEnabled(is_stack)
        if not is_stack and self.where is Where.STACK:
            self._where.setCurrentIndex(0)

    def changes(self) -> dict[str, Any]:
        """Return the values that differ from the defaults."""
        values = {"min_confidence": round(self._confidence.value(), 3), **self._form.values()}
        return {
            name: value for name, value in values.items() if value != getattr(_DEFAULT, name)
        }

    def set_settings(self, settings: AutomaticSettings) -> None:
        """Show the settings in use."""
        for part in (self, self._form):
            part.blockSignals(True)
        self._confidence.setValue(settings.min_confidence)
        self._form.set_values(settings)
        for part in (self, self._form):
            part.blockSignals(False)

    def settings(self) -> AutomaticSettings:
        """Return the settings as they are shown."""
        values = {"min_confidence": self._confidence.value(), **self._form.values()}
        return AutomaticSettings(**values)

    def set_found(self, text: str | None) -> None:
        """Say how many objects were found, or that there is nothing to decide on."""
        self._count.setText(text or "Existing labels stay as they are.")
        self._commit.setEnabled(text is not None)
        self._discard.setEnabled(text is not None)
