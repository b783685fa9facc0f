"""Controls for stacks: carry objects through slices, and look at what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_promptable.gui.panels.confidence_strip import ConfidenceStrip
from napari_promptable.gui.panels.controls import Fold, make_button, name_widget, row_of
from napari_promptable.propagation.settings import PropagationSettings

_DIRECTIONS = (("⟵ both ⟶", "both"), ("forward ⟶", "forward"), ("⟵ backward", "backward"))
_SPLITS = (
    ("the nearest", "overlapping"),
    ("the largest", "largest"),
    ("all", "all"),
)
_RULES = (
    ("lost_iou", "overlap, least", 1.0, "IoU of a mask with that of the slice before"),
    ("min_predicted_iou", "confidence, least", 1.0, "Predicted IoU, × that of the first mask"),
    ("min_likeness", "likeness, least", 1.0, "Colour: 1 the first mask's, 0 its surroundings'"),
    ("min_area", "area, least", 1.0, "Area, × that of the first mask"),
    ("max_area", "area, most", 100.0, "Area, × that of the first mask"),
    ("max_overlap", "covered, most", 1.0, "Share of a mask that other objects may cover"),
)
"""Name in the settings, words, upper limit, tooltip."""


class VolumePanel(QWidget):
    """Range, direction, stop rules, confidence of each slice, and what to do when cancelled."""

    propagate_requested = Signal()
    next_doubtful_requested = Signal()
    axis_chosen = Signal(int)
    keep_chosen = Signal(bool)  # False: discard

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._axis = name_widget(QComboBox(), "axis", "The axis along which to go")
        self._axis.activated.connect(lambda _: self.axis_chosen.emit(self.axis))
        self._first = name_widget(QSpinBox(), "first_slice", "First slice that may be filled")
        self._last = name_widget(QSpinBox(), "last_slice", "Last slice that may be filled")
        self._first.valueChanged.connect(self._last.setMinimum)
        self._last.valueChanged.connect(self._first.setMaximum)
        layout.addLayout(row_of(self._axis, self._first, QLabel("–"), self._last))
        self._direction = name_widget(
            QComboBox(), "direction", "Where to go from a prompted slice"
        )
        _fill(self._direction, _DIRECTIONS)
        propagate = make_button(
            "Propagate",
            "propagate",
            "Carry the object from its prompted slices to the others; after a correction, only "
            "what depends on it is done again",
        )
        propagate.clicked.connect(self.propagate_requested)
        layout.addLayout(row_of(self._direction, propagate))
        self._all = name_widget(
            QCheckBox("all objects that have prompts"),
            "propagate_all",
            "Carry all of them, not only the current one",
        )
        layout.addWidget(self._all)
        layout.addWidget(Fold("Stop rules", "stop_rules", self._make_rules()))
        self.strip = ConfidenceStrip()
        layout.addWidget(self.strip)
        doubtful = make_button(
            "Next doubtful (D)", "next_doubtful", "Go to the next slice to look at (D)"
        )
        doubtful.clicked.connect(self.next_doubtful_requested)
        layout.addWidget(doubtful)
        layout.addWidget(self._make_question())

    def _make_rules(self) -> QWidget:
        content = QWidget()
        form = QFormLayout(content)
        form.setContentsMargins(0, 0, 0, 0)
        default = PropagationSettings()
        self._split = name_widget(QComboBox(), "split", "What to follow where it falls apart")
        _fill(self._split, _SPLITS)
        self._split.setCurrentIndex(self._split.findData(str(default.split)))
        form.addRow("of parts, follow", self._split)
        self._rules: dict[str, QDoubleSpinBox] = {}
        for name, text, limit, tooltip in _RULES:
            box = name_widget(QDoubleSpinBox(), name, tooltip)
            box.setRange(1.0 if name == "max_area" else 0.0, limit)
            box.setSingleStep(0.05)
            box.setValue(getattr(default, name))
            form.addRow(text, box)
            self._rules[name] = box
        return content

    def _make_question(self) -> QWidget:
        self._question = QWidget()
        self._asked = QLabel()
        keep = make_button("Keep", "keep_propagated", "Commit the slices that are done")
        keep.clicked.connect(lambda: self._answer(True))
        discard = make_button(
            "Discard", "discard_propagated", "Forget the slices that are done"
        )
        discard.clicked.connect(lambda: self._answer(False))
        self._question.setLayout(row_of(self._asked, keep, discard))
        self._question.hide()
        return self._question

    def ask_to_keep(self, count: int) -> None:
        """Ask whether slices that are done are to be kept."""
        self._asked.setText(f"{count} slices are done:")
        self._question.show()

    def _answer(self, is_kept: bool) -> None:
        self._question.hide()
        self.keep_chosen.emit(is_kept)

    def hide_question(self) -> None:
        """Take a question back that nobody needs to answer any more."""
        self._question.hide()

    # what is chosen

    @property
    def axis(self) -> int:
        """Chosen axis of the image; −1 where there is none."""
        return -1 if self._axis.currentData() is None else int(self._axis.currentData())

    @property
    def is_for_all(self) -> bool:
        """Whether all objects that have prompts are meant."""
        return bool(self._all.isChecked())

    def set_axes(self, axes: Sequence[tuple[str, int]]) -> None:
        """Offer axes; the last of them is chosen."""
        self._axis.clear()
        _fill(self._axis, axes)
        self._axis.setCurrentIndex(len(axes) - 1)
        self._axis.setEnabled(len(axes) > 1)

    def set_length(self, length: int) -> None:
        """Offer so many slices, and choose all."""
        for box, value in ((self._last, length - 1), (self._first, 0)):
            box.setRange(0, length - 1)
            box.setValue(value)

    def settings(self) -> PropagationSettings:
        """Read what is chosen."""
        return PropagationSettings(
            first=self._first.value(),
            last=self._last.value(),
            direction=self._direction.currentData(),
            split=self._split.currentData(),
            **{name: box.value() for name, box in self._rules.items()},
        )


def _fill(box: Any, choices: Sequence[tuple[str, Any]]) -> None:
    for text, value in choices:
        box.addItem(text, value)
