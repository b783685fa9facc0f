"""One bar per slice: how sure an object is there; a click goes to the slice."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import QRectF, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QWidget

from napari_promptable.annotation.records import ObjectOnSlice
from napari_promptable.gui.panels.controls import name_widget

# Colours of Okabe and Ito (https://jfly.uni-koeln.de/color/)
_SURE, _DOUBTFUL, _ANCHOR = QColor("#56B4E9"), QColor("#D55E00"), QColor("#009E73")
_HEIGHT = 28
_LEAST_SHARE = 0.12  # of the height, so that the worst slices can be seen and clicked


class ConfidenceStrip(QWidget):
    """Bars along the slices of a volume; prompted slices are green, doubtful ones red."""

    slice_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        name_widget(
            self,
            "confidence_strip",
            "Confidence by slice: green prompted, blue sure, red doubtful; click to go there",
        )
        self.setFixedHeight(_HEIGHT)
        self._length, self._current = 1, 0
        self._reviews: Mapping[int, ObjectOnSlice] = {}

    def set_slices(
        self, length: int, current: int, reviews: Mapping[int, ObjectOnSlice]
    ) -> None:
        """Show an object on some of so many slices, and which slice is in view."""
        state = (length, current, dict(reviews))
        if state != (self._length, self._current, self._reviews):
            self._length, self._current, self._reviews = state
            self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Go to the slice under the pointer."""
        position = int(event.position().x() / max(1, self.width()) * self._length)
        self.slice_clicked.emit(min(max(position, 0), self._length - 1))

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802
        """Draw the bars and a frame around the slice in view."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
        step = self.width() / self._length
        for position, review in self._reviews.items():
            share = max(_LEAST_SHARE, review.confidence if review.is_known else 1.0)
            color = _ANCHOR if review.is_anchor else _DOUBTFUL if review.is_doubtful else _SURE
            height = share * (self.height() - 2)
            top = self.height() - 1 - height
            painter.fillRect(QRectF(position * step, top, max(step - 0.5, 1), height), color)
        painter.setPen(self.palette().color(QPalette.ColorRole.Text))
        painter.drawRect(QRectF(self._current * step, 0, max(step - 1, 2), self.height() - 1))
