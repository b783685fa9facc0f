"""All controls of the dock widget: they emit what is wanted and show what they are told."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QFrame,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_promptable.gui.panels.choices import ChoicePanel, Choices
from napari_promptable.gui.panels.controls import (
    Fold,
    make_button,
    make_line,
    name_widget,
    row_of,
)
from napari_promptable.gui.panels.current_object import ObjectPanel
from napari_promptable.gui.panels.encoding import EncodingPanel
from napari_promptable.gui.panels.object_table import ObjectList
from napari_promptable.gui.panels.volume import VolumePanel

_PATIENCE_MS = 300  # before work is worth a moving bar


class RestorePanel(QWidget):
    """Offers a session that was not finished; there is nothing to see without one."""

    restore_requested = Signal()
    discard_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._text = QLabel()
        self._text.setWordWrap(True)
        restore = make_button("Restore", "restore_session", "Go on with these objects")
        restore.clicked.connect(self.restore_requested)
        discard = make_button("Discard", "discard_session", "Delete what was saved of it")
        discard.clicked.connect(self.discard_requested)
        layout.addWidget(self._text)
        layout.addLayout(row_of(restore, discard))
        self.hide()

    def offer(self, text: str) -> None:
        """Offer a session; an empty text offers none."""
        self._text.setText(text)
        self.setVisible(bool(text))


class StatusPanel(QWidget):
    """Progress, cancel and the line that says what to do next."""

    cancel_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._progress = name_widget(QProgressBar(), "progress", "What is going on")
        self._cancel = name_widget(QPushButton("Cancel"), "cancel", "Stop what is going on")
        self._cancel.clicked.connect(self.cancel_requested)
        layout.addLayout(row_of(self._progress, self._cancel))
        self._status = name_widget(QLabel(), "status", "What to do next")
        self._status.setWordWrap(True)
        self._status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout.addWidget(self._status)
        self._work: str | None = None
        self._patience = QTimer(self, singleShot=True, interval=_PATIENCE_MS)
        self._patience.timeout.connect(self._show_work)
        self.set_work(None)

    def set_work(self, text: str | None) -> None:
        """Show work in progress, of unknown length at first; None is no work.

        The bar moves only for work that lasts: a moving bar makes Qt compose the whole window,
        canvas included, many times a second.
        """
        self._cancel.setEnabled(text is not None)
        self._progress.setToolTip(text or "Nothing to do")
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
        """Show how much of the work is done."""
        self._patience.stop()
        self._progress.setRange(0, total)
        self._progress.setValue(done)
        self._progress.setFormat(self._work or "")

    def set_status(self, text: str) -> None:
        """Say what to do next."""
        self._status.setText(text)


class Panel(QWidget):
    """All controls, from top to bottom.

    Parameters
    ----------
    choices : dict of str to callable
        See `ChoicePanel`.
    color_of : callable
        See `ObjectList`.
    """

    def __init__(
        self,
        choices: dict[str, Choices],
        color_of: Callable[[int], QColor],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.restore = RestorePanel()
        self.choices = ChoicePanel(choices)
        self.object = ObjectPanel()
        self.volume = VolumePanel()
        self._volume_fold = Fold("Volume", "volume_fold", self.volume)
        self.encoding = EncodingPanel()
        self._encoding_fold = Fold("Encoding", "encoding_fold", self.encoding)
        self.objects = ObjectList(color_of)
        self._objects_fold = Fold("Objects", "objects_fold", self.objects)
        self.objects.count_changed.connect(self._show_count)
        self.status = StatusPanel()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self._make_scroll_area(), 1)
        layout.addWidget(make_line())
        layout.addWidget(self.status)

    def _make_scroll_area(self) -> QScrollArea:
        """Everything but the status line, which is always in view."""
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(0, 0, 4, 0)
        for part in (self.restore, self.choices, make_line(), self.object):
            layout.addWidget(part)
        for part in (self._volume_fold, self._objects_fold, self._encoding_fold):
            layout.addWidget(part)
        layout.addStretch()
        area = QScrollArea()
        area.setWidget(content)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        bar = area.verticalScrollBar().sizeHint().width()
        area.setMinimumWidth(content.minimumSizeHint().width() + bar)
        return area

    def set_stack(self, is_stack: bool) -> None:
        """Show the controls for stacks, unfolded, or leave them out."""
        self._volume_fold.setVisible(is_stack)
        self._volume_fold.set_open(is_stack)

    def _show_count(self, count: int) -> None:
        self._objects_fold.set_title(f"Objects ({count})" if count else "Objects")
