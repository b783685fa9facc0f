"""The choice among the masks that answer the same prompts."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QEvent, QObject, QSize, Signal
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QLabel, QRadioButton, QWidget

from napari_promptable.gui.panels.controls import name_widget, row_of

NUM_CANDIDATES = 3
_NO_NUMBER, _WIDEST = "–", "0.00"


class _NumberButton(QRadioButton):
    """Radio button that takes the same room with a number as without: nothing moves."""

    def sizeHint(self) -> QSize:  # noqa: N802
        metrics, hint = self.fontMetrics(), super().sizeHint()
        spare = metrics.horizontalAdvance(_WIDEST) - metrics.horizontalAdvance(self.text())
        return QSize(hint.width() + max(0, spare), hint.height())

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return self.sizeHint()


class CandidatePanel(QWidget):
    """Three radio buttons with predicted IoU, and whether to keep one part of the mask.

    Pointing at a button previews its mask.
    """

    chosen = Signal(int)
    one_part_chosen = Signal(bool)
    hovered = Signal(int)  # −1 when the pointer leaves

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        name_widget(
            self,
            "candidate",
            "Masks for the same prompts, each with its predicted IoU (M: next)",
        )
        self._group = QButtonGroup(self)
        self._buttons = [_NumberButton(_NO_NUMBER) for _ in range(NUM_CANDIDATES)]
        for number, button in enumerate(self._buttons):
            self._group.addButton(button, number)
            button.installEventFilter(self)
        self._one_part = name_widget(
            QCheckBox("1 part"),
            "one_part",
            "Keep only the part that holds your + clicks, and fill small holes; off: all parts",
        )
        self._one_part.setChecked(True)
        self._one_part.clicked.connect(self.one_part_chosen)
        row = row_of(QLabel("Mask"), *self._buttons)
        row.addStretch()
        row.addWidget(self._one_part)
        self.setLayout(row)
        self._group.idClicked.connect(self.chosen)
        self.show_candidates((), None)

    def show_candidates(self, predicted_iou: Sequence[float], chosen: int | None) -> None:
        """Show the predicted IoU of each candidate, and mark the chosen one."""
        self._group.setExclusive(False)
        for number, button in enumerate(self._buttons):
            is_there = number < len(predicted_iou)
            button.setEnabled(is_there)
            button.setText(f"{predicted_iou[number]:.2f}" if is_there else _NO_NUMBER)
            button.setChecked(number == chosen)
        self._group.setExclusive(True)

    def set_one_part(self, is_on: bool) -> None:
        """Show whether one part is kept."""
        self._one_part.setChecked(is_on)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Report when the pointer enters or leaves a button."""
        if event.type() == QEvent.Type.Enter and watched.isEnabled():
            self.hovered.emit(self._group.id(watched))
        elif event.type() == QEvent.Type.Leave:
            self.hovered.emit(-1)
        return bool(super().eventFilter(watched, event))
