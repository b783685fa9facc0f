"""Image, channel, model, device and labels: what is worked on, and with what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QLabel,
    QMenu,
    QToolButton,
    QWidget,
)

from napari_promptable.gui.panels.controls import (
    name_widget,
)

Choices = Callable[[], Sequence[tuple[str, Any]]]

_NOTHING = object()
_ADJUST_TO_MINIMUM = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon


class ChoicePanel(QWidget):
    """Image, channel, model, device and where objects go.

    Parameters
    ----------
    choices : dict of str to callable
        For each of the five names, a function that returns (text, value) pairs.
    """

    changed = Signal(str, object)  # name, value
    model_info_requested = Signal()
    model_file_chosen = Signal(str)

    _ROWS = (
        ("image", "Image", "The image to segment"),
        ("channel", "Channel", "The channel that the model sees, or three of them as RGB"),
        ("model", "Model", "The network; tiny comes with the plugin and works offline"),
        ("device", "Device", "Where the network runs; auto takes a GPU if there is one"),
        ("labels", "Labels", "The layer that committed objects are written to"),
    )

    def __init__(self, choices: dict[str, Choices], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._choices = choices
        self._is_silent = False
        self._boxes: dict[str, ComboBox] = {}
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setColumnStretch(1, 1)
        for row, (name, title, tooltip) in enumerate(self._ROWS):
            # a function: magicgui would keep a first list, and so its layers
            box = ComboBox(choices=partial(self._offered, name), nullable=name == "image")
            name_widget(box.native, name, tooltip)
            box.native.setSizeAdjustPolicy(_ADJUST_TO_MINIMUM)  # long names may be cut
            box.native.setMinimumContentsLength(12)
            box.changed.connect(lambda value, name=name: self._report(name, value))
            self._boxes[name] = box
            layout.addWidget(QLabel(title), row, 0)
            layout.addWidget(box.native, row, 1, 1, 1 if name == "model" else 2)
        more = name_widget(QToolButton(), "model_menu", "About this model; use a weights file")
        more.setText("⋯")
        more.setMinimumWidth(28)
        more.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(more)
        menu.addAction("About this model").triggered.connect(self.model_info_requested)
        menu.addAction("Use a weights file…").triggered.connect(self._choose_model_file)
        more.setMenu(menu)
        layout.addWidget(more, list(self._boxes).index("model"), 2)

    def _choose_model_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Weights of SAM or MobileSAM", filter="Weights (*.pth *.pt *.safetensors)"
        )
        if path:
            self.model_file_chosen.emit(path)

    def _offered(self, name: str, _box: ComboBox) -> list[tuple[str, Any]]:
        """Choices of today; magicgui would not report None as a choice."""
        return [
            (text, _NOTHING if value is None else value)
            for text, value in self._choices[name]()
        ]

    def refresh(self, name: str, value: Any = None) -> None:
        """Offer the choices of today and choose one of them, without a report.

        Parameters
        ----------
        name : str
            Which of the choices.
        value : object, optional
            What to choose; by default what was chosen before, or the first.
        """
        box = self._boxes[name]
        self._is_silent = True
        try:
            box.reset_choices()
            if value is not None and value in box.choices:
                box.value = value
        finally:
            self._is_silent = False
        box.native.setEnabled(name != "channel" or len(box.choices) > 1)

    def value(self, name: str) -> Any:
        """Return what is chosen."""
        value = self._boxes[name].value
        return None if value is _NOTHING else value

    def set_value(self, name: str, value: Any) -> None:
        """Choose; reported like a user's choice."""
        self._boxes[name].value = value

    def _report(self, name: str, value: Any) -> None:
        if not self._is_silent:
            self.changed.emit(name, None if value is _NOTHING else value)
