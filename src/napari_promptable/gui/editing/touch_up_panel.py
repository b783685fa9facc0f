"""Buttons that correct the shape of objects."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QWidget

from napari_promptable.annotation.history import Verb
from napari_promptable.gui.panels.controls import SPACING, make_button, name_widget

_BUTTONS = (
    ("Fill holes", "fill_holes", Verb.FILL, "Fill all holes"),
    ("Smooth", "smooth", Verb.SMOOTH, "Smooth the outline; press again for more"),
    ("Remove specks", "remove_specks", Verb.CLEAN, "Remove parts under 5 % of the largest"),
    ("Grow", "grow", Verb.GROW, "Add one pixel all around, on background only"),
    ("Shrink", "shrink", Verb.SHRINK, "Remove one pixel all around; no object disappears"),
)
_WHOM = "the selected objects, or the current one"


class TouchUpPanel(QWidget):
    """Emits what is to be done to the selected objects."""

    requested = Signal(object)  # a verb
    split_requested = Signal()
    all_slices_changed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(SPACING)
        split = make_button(
            "Split…", "split", "Draw a line across an object; each side becomes an object"
        )
        split.clicked.connect(self.split_requested)
        grid.addWidget(split, 0, 0)
        for place, (text, name, verb, tip) in enumerate(_BUTTONS, start=1):
            button = make_button(text, name, f"{tip}: {_WHOM}")
            button.clicked.connect(lambda _, verb=verb: self.requested.emit(verb))
            grid.addWidget(button, *divmod(place, 3))
        self._all = name_widget(
            QCheckBox("on all slices of the object"),
            "all_slices",
            "Correct every slice of the object, or only the one in view",
        )
        self._all.toggled.connect(self.all_slices_changed)
        grid.addWidget(self._all, 2, 0, 1, 3)

    def set_stack(self, is_stack: bool) -> None:
        """Offer all slices where there are several."""
        self._all.setVisible(is_stack)
