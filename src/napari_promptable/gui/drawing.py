"""One drawing of the window for a click and its mask, if the mask comes soon."""

from __future__ import annotations

from contextlib import suppress

from qtpy.QtCore import QCoreApplication, QEvent, QObject, QTimer
from qtpy.QtWidgets import QWidget

_LONGEST_MS = 100  # about as long as people hold the mouse button


class DrawingPause(QObject):
    """Holds back the drawing of a window while a click is answered, but not for long.

    Whatever changes in the window, Qt composes all of it, canvas included, and no other thread
    runs Python meanwhile. A frame for the click alone thus delays the mask by that frame. After
    a pause, one frame shows both.

    Parameters
    ----------
    widget : QWidget
        A part of the window.
    """

    def __init__(self, widget: QWidget) -> None:
        super().__init__()
        self._widget = widget
        self._window: QWidget | None = None
        self._is_due = False
        self._timer = QTimer(self, singleShot=True, interval=_LONGEST_MS)
        self._timer.timeout.connect(self.end)

    def start(self) -> None:
        """Hold back drawing from now on."""
        if self._window is None:
            self._window = self._widget.window()
            self._window.installEventFilter(self)
        self._timer.start()

    def end(self) -> None:
        """Draw what has changed."""
        self._timer.stop()
        window, self._window = self._window, None
        if window is None:
            return
        with suppress(RuntimeError):  # Qt has deleted the window
            window.removeEventFilter(self)
            if self._is_due:
                QCoreApplication.postEvent(window, QEvent(QEvent.Type.UpdateRequest))
        self._is_due = False

    def eventFilter(self, _window: QObject, event: QEvent) -> bool:  # noqa: N802
        """Keep the window from drawing, and remember that it was about to."""
        is_drawing = bool(event.type() == QEvent.Type.UpdateRequest)
        self._is_due |= is_drawing
        return is_drawing
