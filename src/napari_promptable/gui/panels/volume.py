"""Controls for stacks: propagate objects through slices and review the result."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSpinBox,
    QWidget,
)

from napari_promptable.gui.panels.confidence_strip import ConfidenceStrip
from napari_promptable.gui.panels.controls import (
    SPACING,
    Section,
    column_in,
    make_button,
    name_widget,
    row_of,
)
from napari_promptable.gui.panels.settings_form import SettingsForm, make_control
from napari_promptable.propagation.settings import DEFAULT_SETTINGS, PropagationSettings
from napari_promptable.wording import count_of

_RULES = (
    "split",
    "lost_iou",
    "min_predicted_iou",
    "min_likeness",
    "max_overlap",
    "min_area",
    "max_area",
)


class VolumePanel(QWidget):
    """Range, direction and stop rules of a propagation, and the confidence of each slice."""

    propagate_requested = Signal()
    next_doubtful_requested = Signal()
    looks_right_requested = Signal()
    not_here_requested = Signal()
    axis_chosen = Signal(int)
    keep_chosen = Signal(bool)  # False: discard

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._direction = make_control(DEFAULT_SETTINGS, "direction")
        self._rules = SettingsForm(DEFAULT_SETTINGS, _RULES, columns=2)
        self.strip = ConfidenceStrip()
        self._question = self._make_question()
        layout = column_in(self)
        layout.addLayout(self._make_range())
        layout.addLayout(self._make_start())
        layout.addWidget(Section("Stop rules", "stop_rules", self._rules))
        layout.addWidget(self.strip)
        layout.addLayout(self._make_review())
        layout.addWidget(self._question)

    def _make_range(self) -> QHBoxLayout:
        self._axis = name_widget(QComboBox(), "axis", "The axis to propagate along")
        self._axis.activated.connect(lambda _: self.axis_chosen.emit(self.axis))
        self._first = name_widget(QSpinBox(), "first_slice", "First slice that may be filled")
        self._last = name_widget(QSpinBox(), "last_slice", "Last slice that may be filled")
        self._first.valueChanged.connect(self._last.setMinimum)
        self._last.valueChanged.connect(self._first.setMaximum)
        spins = self._first, self._last
        return row_of(self._axis, self._first, QLabel("–"), self._last, wide=spins)

    def _make_start(self) -> QGridLayout:
        propagate = make_button(
            "Propagate",
            "propagate",
            "Extend the object from prompted slices to the others; after a correction only "
            "affected slices are redone",
        )
        propagate.clicked.connect(self.propagate_requested)
        self._all = name_widget(
            QCheckBox("All prompted objects"),
            "propagate_all",
            "Propagate every object that has prompts, not only the current one",
        )
        grid = QGridLayout()
        grid.setSpacing(SPACING)
        grid.addWidget(self._direction.native, 0, 0)
        grid.addWidget(propagate, 0, 1)
        grid.addWidget(self._all, 1, 0, 1, 2)
        return grid

    def _make_review(self) -> QHBoxLayout:
        doubtful = make_button(
            "Next doubtful (D)", "next_doubtful", "Go to the next doubtful slice (D)"
        )
        doubtful.clicked.connect(self.next_doubtful_requested)
        right = make_button(
            "Looks right",
            "looks_right",
            "Accept it, and go to the next doubtful slice (Y)",
        )
        right.clicked.connect(self.looks_right_requested)
        absent = make_button(
            "Not here",
            "not_here",
            "The object is not on this slice: remove it here and beyond, and stop "
            "propagation here (H)",
        )
        absent.clicked.connect(self.not_here_requested)
        return row_of(doubtful, right, absent)

    def _make_question(self) -> QWidget:
        question = QWidget()
        self._asked = QLabel()
        keep = make_button("Keep", "keep_propagated", "Commit the finished slices")
        keep.clicked.connect(lambda: self._answer(True))
        discard = make_button("Discard", "discard_propagated", "Drop the finished slices")
        discard.clicked.connect(lambda: self._answer(False))
        layout = column_in(question)
        layout.addWidget(self._asked)
        layout.addLayout(row_of(keep, discard))
        question.hide()
        return question

    def ask_to_keep(self, count: int) -> None:
        """Ask whether to keep the slices that were finished before the propagation ended."""
        self._asked.setText(f"Keep the {count_of(count, 'finished slice')}?")
        self._question.show()

    def _answer(self, is_kept: bool) -> None:
        self._question.hide()
        self.keep_chosen.emit(is_kept)

    def hide_question(self) -> None:
        """Hide the question whether to keep the finished slices."""
        self._question.hide()

    # choices

    @property
    def axis(self) -> int:
        """Chosen axis of the image, −1 if there is none to choose."""
        return -1 if self._axis.currentData() is None else int(self._axis.currentData())

    @property
    def is_for_all(self) -> bool:
        """Whether to propagate all prompted objects, not only the current one."""
        return bool(self._all.isChecked())

    def set_axes(self, axes: Sequence[tuple[str, int]]) -> None:
        """Offer (name, axis) pairs and choose the first one."""
        self._axis.clear()
        for text, axis in axes:
            self._axis.addItem(text, axis)
        self._axis.setCurrentIndex(0)
        self._axis.setEnabled(len(axes) > 1)

    def set_length(self, length: int) -> None:
        """Offer this many slices and choose all of them."""
        for box, value in ((self._last, length - 1), (self._first, 0)):
            box.setRange(0, length - 1)
            box.setValue(value)

    def settings(self) -> PropagationSettings:
        """Return the chosen range, direction and stop rules."""
        return PropagationSettings(
            first=self._first.value(),
            last=self._last.value(),
            direction=self._direction.value,
            **self._rules.values(),
        )
