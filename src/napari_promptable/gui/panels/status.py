"""Progress, cancel and the line that says what to do next."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtWidgets import QProgressBar, QSizePolicy, QWidget
from superqt import QElidingLabel

from napari_promptable.gui.panels.controls import column_in, make_button, name_widget, row_of

_PATIENCE_MS = 300  # before work is worth a moving bar
_NUM_LINES = 3
_DESCENDERS = 2  # px that the last line needs below its own height


class StatusLine(QElidingLabel):
    """Text that takes the same room whatever it says. The tooltip shows it in full."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
        self.setStyleSheet("padding: 0px; margin: 0px;")  # napari's would cut the last line
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def heightForWidth(self, _width: int) -> int:  # noqa: N802
        """Return the height of all lines. A long message does not move what is above."""
        return _NUM_LINES * int(self.fontMetrics().lineSpacing()) + _DESCENDERS

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return no width of its own. A long word does not widen the panel."""
        return QSize(0, self.heightForWidth(0))

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Return the same size, so that nothing is cut."""
        return self.sizeHint()


class StatusPanel(QWidget):
    """Progress of the running task, a button that cancels it, and the status line."""

    cancel_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = column_in(self)
        self._progress = name_widget(QProgressBar(), "progress", "The running task")
        self._cancel = make_button("Cancel", "cancel", "Cancel the running task")
        self._cancel.clicked.connect(self.cancel_requested)
        layout.addLayout(row_of(self._progress, self._cancel))
        self._status = name_widget(StatusLine(), "status", "What to do next")
        layout.addWidget(self._status)
        self._work: str | None = None
        self._patience = QTimer(self, singleShot=True, interval=_PATIENCE_MS)
        self._patience.timeout.connect(self._show_work)
        self.set_work(None)

    def set_work(self, text: str | None) -> None:
        """Show a running task whose length is unknown so far. None means that nothing runs.

        The bar moves only for work that lasts, because a moving bar makes Qt compose the whole
        window, canvas included, many times a second.
        """
        self._cancel.setEnabled(text is not None)
        self._progress.setToolTip(text or "Nothing is running")
        self._work = text
        if text is None:
            self._patience.stop()
            self._progress.setRange(0, 1)
            self._progress.setFormat("")
        elif not self._patience.isActive():
            self._patience.start()

    def _show_work(self) -> None:
        self._progress.setRange(0, 0)
        self._progress.setFormat(self._work or "")

    def set_progress(self, done: int, total: int) -> None:
        """Show how much of the running task is done."""
        self._patience.stop()
        self._progress.setRange(0, total)
        self._progress.setValue(done)
        self._progress.setFormat(self._work or "")

    def set_status(self, text: str, details: str = "") -> None:
        """Show what happened or what to do next. The tooltip has the details, too."""
        tooltip = f"{text}\n{details}" if details else text
        if (text, tooltip) != (self._status.text(), self._status.toolTip()):
            self._status.setText(text)
            self._status.setToolTip(tooltip)
