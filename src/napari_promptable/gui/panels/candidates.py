"""The choice among the masks that answer the same prompts."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QEvent, QObject, Signal
from qtpy.QtWidgets import QButtonGroup, QLabel, QRadioButton, QWidget

from napari_promptable.gui.panels.controls import name_widget, row_of

NUM_CANDIDATES = 3


class CandidatePanel(QWidget):
    """Three radio buttons with predicted IoU; pointing at one previews its mask."""

    chosen = Signal(int)
    hovered = Signal(int)  # −1 when the pointer leaves

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        name_widget(
            self,
            "candidate",
            "Masks for the same prompts, each with its predicted IoU (M: next)",
        )
        self._group = QButtonGroup(self)
        self._buttons = [QRadioButton("–") for _ in range(NUM_CANDIDATES)]
        for number, button in enumerate(self._buttons):
            self._group.addButton(button, number)
            button.installEventFilter(self)
        row = row_of(QLabel("Candidate"), *self._buttons)
        row.addStretch()
        self.setLayout(row)
        self._group.idClicked.connect(self.chosen)
        self.show_candidates((), None)

    def show_candidates(self, predicted_iou: Sequence[float], chosen: int | None) -> None:
        """Show the predicted IoU of each candidate, and mark the chosen one."""
        self._group.setExclusive(False)
        for number, button in enumerate(self._buttons):
            is_there = number < len(predicted_iou)
            button.setEnabled(is_there)
            button.setText(f"{predicted_iou[number]:.2f}" if is_there else "–")
            button.setChecked(number == chosen)
        self._group.setExclusive(True)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Report when the pointer enters or leaves a button."""
        if event.type() == QEvent.Type.Enter and watched.isEnabled():
            self.hovered.emit(self._group.id(watched))
        elif event.type() == QEvent.Type.Leave:
            self.hovered.emit(-1)
        return bool(super().eventFilter(watched, event))
