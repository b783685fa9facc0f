"""The image and labels to work on, and the model that answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QLabel,
    QMenu,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from napari_promptable.gui.panels.controls import SPACING, name_widget, row_of
from napari_promptable.gui.panels.model_names import describe_model

Choices = Callable[[], Sequence[tuple[str, Any]]]

_NOTHING = object()
_MIN_WIDTH = 70  # px
_IMAGE_WIDTH, _CHANNEL_WIDTH = 56, 97  # px, at least; "as shown" fits
_TOOLTIPS = (
    ("image", "The image to segment"),
    ("channel", "The channel that the model sees, or three of them as RGB"),
    ("model", "The network; tiny comes with the plugin and works offline"),
    ("device", "Where the network runs; auto takes a GPU if there is one"),
    ("labels", "The layer that committed objects are saved to"),
)
_ADJUST_TO_MINIMUM = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon


class ChoicePanel(QWidget):
    """Image, channel, model, device and the layer that objects are saved to.

    Parameters
    ----------
    choices : dict of str to callable
        For each of the five names, a function that returns (text, value) pairs.
    """

    changed = Signal(str, object)  # name, value
    model_info_requested = Signal()
    failure_requested = Signal()
    model_file_chosen = Signal(str)

    def __init__(self, choices: dict[str, Choices], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._choices = choices
        self._is_silent = False
        self._boxes = {name: self._make_box(name, tooltip) for name, tooltip in _TOOLTIPS}
        self._channel_title = QLabel("Channel")
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACING)
        layout.setColumnStretch(1, 1)
        image, channel, model, device, labels = (box.native for box in self._boxes.values())
        for row, (title, *controls) in enumerate(
            (
                (QLabel("Image"), image, self._channel_title, channel),
                (QLabel("Model"), model, self._make_model_menu()),
                (QLabel("Labels"), labels, QLabel("Device"), device),
            )
        ):
            layout.addWidget(title, row, 0)
            layout.addLayout(row_of(*controls), row, 1)
        image.setMinimumWidth(_IMAGE_WIDTH)
        channel.setMinimumWidth(_CHANNEL_WIDTH)
        for combo in (image, model, labels):  # names of layers and models need the room
            combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def _make_box(self, name: str, tooltip: str) -> ComboBox:
        # a function: magicgui would keep a first list, and so its layers
        box = ComboBox(choices=partial(self._offered, name), nullable=name == "image")
        name_widget(box.native, name, tooltip)
        box.native.setSizeAdjustPolicy(_ADJUST_TO_MINIMUM)  # the list shows long names in full
        box.native.setMinimumWidth(_MIN_WIDTH)
        box.changed.connect(lambda value: self._report(name, value))
        return box

    def _make_model_menu(self) -> QToolButton:
        more = name_widget(QToolButton(), "model_menu", "About this model; use a weights file")
        more.setText("⋯")
        more.setMinimumWidth(28)
        more.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(more)
        menu.addAction("About this model").triggered.connect(self.model_info_requested)
        menu.addAction("Use a weights file…").triggered.connect(self._choose_model_file)
        self._failure = menu.addAction("Why loading failed…")
        self._failure.triggered.connect(self.failure_requested)
        self._failure.setVisible(False)
        more.setMenu(menu)
        return more

    def offer_failure(self) -> None:
        """Offer to show why a model could not be loaded."""
        self._failure.setVisible(True)

    def _choose_model_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Weights of SAM or MobileSAM", filter="Weights (*.pth *.pt *.safetensors)"
        )
        if path:
            self.model_file_chosen.emit(path)

    def _offered(self, name: str, _box: ComboBox) -> list[tuple[str, Any]]:
        """Current choices, None replaced, because magicgui does not report a choice of None."""
        return [
            (text, _NOTHING if value is None else value)
            for text, value in self._choices[name]()
        ]

    def refresh(self, name: str, value: Any = None) -> None:
        """Refresh one list without emitting `changed`.

        Parameters
        ----------
        name : str
            "image", "channel", "model", "device" or "labels".
        value : object, optional
            The entry to choose; by default the current one, or the first if that is gone.
        """
        box = self._boxes[name]
        self._is_silent = True
        try:
            box.reset_choices()
            if value is not None and value in box.choices:
                box.value = value
        finally:
            self._is_silent = False
        if name == "channel":
            self._show_channel(len(box.choices) > 1)
        elif name == "model":
            self._describe_models()

    def _describe_models(self) -> None:
        """Give each model a tooltip."""
        box = self._boxes["model"]
        for number, name in enumerate(box.choices):
            box.native.setItemData(
                number, describe_model(str(name)), Qt.ItemDataRole.ToolTipRole
            )

    def _show_channel(self, is_choice: bool) -> None:
        """Hide the channel where there is nothing to choose."""
        for widget in (self._channel_title, self._boxes["channel"].native):
            widget.setVisible(is_choice)

    def value(self, name: str) -> Any:
        """Return the chosen value."""
        value = self._boxes[name].value
        return None if value is _NOTHING else value

    def set_value(self, name: str, value: Any) -> None:
        """Choose an entry. Emits `changed` as if the user had chosen it."""
        self._boxes[name].value = value

    def _report(self, name: str, value: Any) -> None:
        if not self._is_silent:
            self.changed.emit(name, None if value is _NOTHING else value)
