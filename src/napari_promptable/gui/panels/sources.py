"""Which of the user's layers hold prompts, in a menu that takes no room of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QLabel,
    QMenu,
    QPushButton,
    QWidget,
    QWidgetAction,
)

from napari_promptable.gui.panels.controls import SPACING, make_button, name_widget

POINTS, BOXES = "points_from", "boxes_from"
_TITLES = {POINTS: "Points", BOXES: "Boxes"}
_MARGIN = 6  # px


class SourcePanel(QPushButton):
    """Menu with the layers that hold prompts, and the button that makes objects of points."""

    chosen = Signal(str, object)  # POINTS or BOXES, and the layer; None: our own
    points_to_objects_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        name_widget(self, "prompt_sources", "Take prompts from layers of your own")
        self.setText("Layers…")
        self.setStyleSheet("QPushButton::menu-indicator { image: none; }")
        menu = QMenu(self)
        action = QWidgetAction(menu)
        action.setDefaultWidget(self._make_content(menu))
        menu.addAction(action)
        self.setMenu(menu)

    def _make_content(self, menu: QMenu) -> QWidget:
        self._layers = {
            POINTS: name_widget(QComboBox(), POINTS, "Points layer whose points are prompts"),
            BOXES: name_widget(QComboBox(), BOXES, "Shapes layer whose shapes are prompts"),
        }
        self._as_one = name_widget(
            QComboBox(),
            "objects_of",
            "What points and shapes without an object_id are; features object_id and label "
            "count where a layer has them",
        )
        self._as_one.addItem("Each is an object", False)
        self._as_one.addItem("All are one object", True)
        points = make_button(
            "Points → objects",
            "points_to_objects",
            "Save one object for each point, on all slices",
        )
        content = QWidget(menu)
        grid = QGridLayout(content)
        grid.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, _MARGIN)
        grid.setSpacing(SPACING)
        for row, (kind, box) in enumerate(self._layers.items()):
            box.activated.connect(lambda _, kind=kind: self.chosen.emit(kind, self.layer(kind)))
            grid.addWidget(QLabel(_TITLES[kind]), row, 0)
            grid.addWidget(box, row, 1)
        points.clicked.connect(self._request)
        grid.addWidget(points, 0, 2)
        grid.addWidget(self._as_one, 2, 1, 1, 2)
        return content

    def _request(self) -> None:
        self.menu().close()
        self.points_to_objects_requested.emit()

    def layer(self, kind: str) -> Any:
        """The chosen layer, or None for our own."""
        return self._layers[kind].currentData()

    def choose(self, kind: str, layer: Any) -> None:
        """Show that a layer is in use. It must be on offer."""
        box = self._layers[kind]
        layers = [box.itemData(number) for number in range(box.count())]
        box.setCurrentIndex(next(n for n, each in enumerate(layers) if each is layer))

    @property
    def is_as_one(self) -> bool:
        """Whether all prompts without an id belong to one object."""
        return bool(self._as_one.currentData())

    def refresh(self, kind: str, own: str, layers: Sequence[tuple[str, Any]]) -> None:
        """Offer our own layer and others. The chosen one stays if it is there.

        Parameters
        ----------
        kind : str
            POINTS or BOXES.
        own : str
            Name of our own layer.
        layers : sequence of (str, layer)
            Names and layers of the user.
        """
        box, chosen = self._layers[kind], self.layer(kind)
        box.clear()
        box.addItem(own, None)
        for name, layer in layers:
            box.addItem(name, layer)
            if layer is chosen:
                box.setCurrentIndex(box.count() - 1)
