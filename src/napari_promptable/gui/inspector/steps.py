"""A drawing of the two-way decoder. A click on a step chooses it."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QButtonGroup, QGridLayout, QLabel, QPushButton, QWidget

from napari_promptable.gui.panels.controls import SPACING, name_widget
from napari_promptable.predict.explanation import AttentionStep

_ARROW = "↓"
_TOOLTIPS = {
    "tokens → tokens": "Tokens attend to each other: masks learn of the prompts",
    "tokens → image": "Each token reads from the cells that matter to it",
    "image → tokens": "Each cell reads what the prompts ask for",
}
_PLACES = {
    "tokens → tokens": (1, "tokens"),
    "tokens → image": (2, "→ image"),
    "image → tokens": (3, "image →"),
}
"""Column and text of a step; the side that its text leaves out is the tokens."""


class StepDiagram(QWidget):
    """Blocks from top to bottom, their attentions from left to right."""

    chosen = Signal(int)  # number of the step

    def __init__(self) -> None:
        super().__init__()
        self._layout = QGridLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(SPACING)
        self._group = QButtonGroup(self)
        self._group.idClicked.connect(self.chosen.emit)
        self._names: tuple[tuple[int, str], ...] = ()

    @property
    def current(self) -> int:
        """Number of the chosen step, −1 before there are any."""
        return int(self._group.checkedId())

    def set_steps(self, steps: tuple[AttentionStep, ...], num_blocks: int) -> None:
        """Draw these steps. The last one is chosen at first."""
        names = tuple((step.block, step.direction) for step in steps)
        if names == self._names:
            return
        self._names = names
        for number, (block, direction) in enumerate(names):
            row = 2 * block
            title = "final" if block == num_blocks else f"block {block + 1}"
            self._layout.addWidget(QLabel(title), row, 0)
            column, text = _PLACES[direction]
            button = QPushButton(text)
            button.setCheckable(True)
            name_widget(button, f"step_{number}", _TOOLTIPS[direction])
            self._group.addButton(button, number)
            self._layout.addWidget(button, row, column)
            if block < num_blocks:
                arrow = QLabel(_ARROW)
                arrow.setAlignment(Qt.AlignmentFlag.AlignCenter)
                self._layout.addWidget(arrow, row + 1, 2)
        self._group.button(len(names) - 1).setChecked(True)
