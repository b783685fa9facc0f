"""What our dock widgets have in common: they clean up however they are closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget


class DockedWidget(QWidget):
    """A widget in a dock of napari."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._was_docked = False
        self._close: Callable[[], None] | None = None
        # napari lets it fill the dock from top to bottom
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def fill(self, content: QWidget, close: Callable[[], None]) -> None:
        """Show content, and clean up by `close`, which may be called more than once."""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(content)
        self._close = close
        # Qt does not notify us when the window closes, and our methods are already deleted.
        self.destroyed.connect(lambda: close())

    def event(self, event: QEvent) -> bool:
        """Close with the dock, which takes its content out before it goes."""
        if event.type() == QEvent.Type.ParentChange:
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
