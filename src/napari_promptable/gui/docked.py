"""What our dock widgets have in common: they clean up however they are closed."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QCoreApplication, QEvent, QSize
from qtpy.QtWidgets import QSizePolicy, QWidget


class DockedWidget(QWidget):
    """A widget in a dock of napari.

    It has no layout: Qt would lay out the whole window after each change of a text in it, and
    then compose the window twice, canvas included. It tells the window of other sizes only.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._was_docked = False
        self._close: Callable[[], None] | None = None
        self._content: QWidget | None = None
        self._hints = (QSize(), QSize())
        # napari lets it fill the dock from top to bottom
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def fill(
        self, content: QWidget, close: Callable[[], None], stop: Callable[[], None]
    ) -> None:
        """Show content, and clean up when it goes.

        Parameters
        ----------
        content : QWidget
            Fills the dock.
        close : callable
            Called when the dock goes and the viewer stays; may be called more than once.
        stop : callable
            Called when the window goes, which Qt may have deleted already, and when Python
            exits with the window open: ends work and saves, and touches neither layers nor
            widgets. May be called more than once, and after `close`.
        """

        def stop_once() -> None:
            atexit.unregister(stop_at_exit)
            stop()

        content.setParent(self)
        self._content, self._close = content, close
        self._follow_hints()
        # Qt does not notify us when the window closes, and our methods are already deleted.
        gone = self.destroyed.connect(lambda: stop_once())

        def stop_at_exit() -> None:
            self.disconnect(gone)
            stop()
            self.deleteLater()
            QCoreApplication.sendPostedEvents(self, QEvent.Type.DeferredDelete.value)

        # Later in Python's exit, Qt deletes objects one by one. That is too late to stop what
        # runs, and PyQt crashes if such a deletion calls methods that we override.
        atexit.register(stop_at_exit)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return the size that the content would like to have."""
        return super().sizeHint() if self._content is None else self._content.sizeHint()

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Return the size that the content needs."""
        if self._content is None:
            return super().minimumSizeHint()
        return self._content.minimumSizeHint()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        """Let the content fill the dock."""
        super().resizeEvent(event)
        if self._content is not None:
            self._content.setGeometry(self.rect())

    def _follow_hints(self) -> None:
        """Have the window laid out if the content needs, or would like, another size."""
        hints = self.sizeHint(), self.minimumSizeHint()
        if hints != self._hints:
            self._hints = hints
            self.updateGeometry()

    def event(self, event: QEvent) -> bool:
        """Close with the dock, which takes its content out before it goes."""
        if event.type() == QEvent.Type.LayoutRequest:
            self._follow_hints()
        elif event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._was_docked = True
            elif self._was_docked and self._close is not None:
                self._close()
        return bool(super().event(event))

    def closeEvent(self, event: Any) -> None:  # noqa: N802
        """Close where the widget is a window of its own."""
        if self._close is not None:
            self._close()
        super().closeEvent(event)
