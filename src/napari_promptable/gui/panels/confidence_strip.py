"""One bar per slice of an object: its confidence there. A click goes to the slice."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import QRectF, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QWidget

from napari_promptable.annotation.records import ObjectOnSlice, Origin
from napari_promptable.gui.panels.controls import name_widget

# Colours of Okabe and Ito (https://jfly.uni-koeln.de/color/)
_SURE, _DOUBTFUL, _ANCHOR = QColor("#56B4E9"), QColor("#D55E00"), QColor("#009E73")
_HEIGHT = 22  # px
_MIN_SHARE = 0.12  # of the height, so that the worst slices can be seen and clicked
_MARGIN = 2  # slices shown before the object's first and after its last


class ConfidenceStrip(QWidget):
    """Bars for the slices of an object: green prompted, blue sure, orange doubtful.

    The strip shows the object's slices only, and hides until the object was propagated.
    """

    slice_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        name_widget(
            self,
            "confidence_strip",
            "Confidence by slice: green prompted, blue sure, orange doubtful; click goes there",
        )
        self.setFixedHeight(_HEIGHT)
        self._shown, self._current = range(1), 0
        self._objects: Mapping[int, ObjectOnSlice] = {}
        self.hide()

    def set_slices(
        self, length: int, current: int, objects: Mapping[int, ObjectOnSlice]
    ) -> None:
        """Show one object.

        Parameters
        ----------
        length : int
            Number of slices of the stack.
        current : int
            The slice in view.
        objects : dict of int to ObjectOnSlice
            The object, by slice.
        """
        state = (_slices_around(objects, length), current, dict(objects))
        if state != (self._shown, self._current, self._objects):
            self._shown, self._current, self._objects = state
            self.update()
        origins = {each.origin for each in objects.values()}
        self.setVisible(Origin.PROPAGATED in origins)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """Report the slice under the pointer."""
        number = int(event.position().x() / max(1, self.width()) * len(self._shown))
        self.slice_clicked.emit(self._shown[min(max(number, 0), len(self._shown) - 1)])

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802
        """Draw the bars, and a frame around the slice in view."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self.palette().color(QPalette.ColorRole.Base))
        step = self.width() / len(self._shown)
        for position, each in self._objects.items():
            share = max(_MIN_SHARE, each.confidence if each.is_known else 1.0)
            color = _ANCHOR if each.is_anchor else _DOUBTFUL if each.is_doubtful else _SURE
            height = share * (self.height() - 2)
            left, top = (position - self._shown.start) * step, self.height() - 1 - height
            painter.fillRect(QRectF(left, top, max(step - 0.5, 1), height), color)
        if self._current in self._shown:
            left = (self._current - self._shown.start) * step
            painter.setPen(self.palette().color(QPalette.ColorRole.Text))
            painter.drawRect(QRectF(left, 0, max(step - 1, 2), self.height() - 1))


def _slices_around(positions: Mapping[int, object], length: int) -> range:
    """Slices of an object and a few more on each side, or all slices if there is no object."""
    first, last = min(positions, default=0), max(positions, default=length - 1)
    return range(max(first - _MARGIN, 0), min(last + _MARGIN, length - 1) + 1)
