"""All controls of the dock widget: they emit requests and show what they are told."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QWidget

from napari_promptable.gui.panels.automatic import AutomaticPanel
from napari_promptable.gui.panels.choices import ChoicePanel, Choices
from napari_promptable.gui.panels.controls import STYLE, Section, column_in, make_line
from napari_promptable.gui.panels.current_object import CurrentObjectPanel
from napari_promptable.gui.panels.encoding import EncodingPanel
from napari_promptable.gui.panels.files import FilePanel
from napari_promptable.gui.panels.learning import LearningWindow
from napari_promptable.gui.panels.object_table import ObjectList
from napari_promptable.gui.panels.restore import RestorePanel
from napari_promptable.gui.panels.status import StatusPanel
from napari_promptable.gui.panels.volume import VolumePanel

_MARGIN = 3  # px; the row of file buttons needs the rest of 300
_MIN_WIDTH = 288  # px, margins left out


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
        self.setStyleSheet(STYLE)
        self.restore = RestorePanel()
        self.choices = ChoicePanel(choices)
        self.object = CurrentObjectPanel()
        self.automatic = AutomaticPanel()
        self.automatic.hide()
        self.automatic.close_requested.connect(lambda: self.show_automatic(False))
        self.files = FilePanel()
        self.volume = VolumePanel()
        self._volume_section = Section("Volume", "volume_fold", self.volume)
        self.objects = ObjectList(color_of)
        self._objects_section = Section("Objects", "objects_fold", self.objects)
        self.objects.count_changed.connect(self._show_count)
        self.learning = LearningWindow(self)
        self.encoding = EncodingPanel()
        self._encoding_section = Section("Encoding", "encoding_fold", self.encoding)
        self.status = StatusPanel()
        layout = column_in(self)
        layout.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, _MARGIN)
        layout.addWidget(_ScrolledColumn(self._make_content()), 1)
        layout.addWidget(make_line())
        layout.addWidget(self.status)

    def _make_content(self) -> QWidget:
        """Everything but the status line, which is always in view."""
        content = QWidget()
        layout = column_in(content)
        for part in (
            self.restore,
            self.choices,
            self.object,
            self.automatic,
            self.files,
            self._volume_section,
            self._objects_section,
            self._encoding_section,
        ):
            layout.addWidget(part)
        layout.addStretch()
        self._objects_section.toggled.connect(self._give_room)
        return content

    def _give_room(self, is_open: bool) -> None:
        """Let the list of objects, while it is open, take the height that is left."""
        vertical = QSizePolicy.Policy.Expanding if is_open else QSizePolicy.Policy.Maximum
        self._objects_section.setSizePolicy(QSizePolicy.Policy.Preferred, vertical)
        column = self._objects_section.parentWidget().layout()
        column.setStretchFactor(self._objects_section, int(is_open))

    def show_automatic(self, is_shown: bool) -> None:
        """Show the controls that find all objects in the place of those for one object."""
        self.object.setVisible(not is_shown)
        self.automatic.setVisible(is_shown)

    def set_stack(self, is_stack: bool) -> None:
        """Show the controls for stacks, unfolded, or leave them out."""
        self.automatic.set_stack(is_stack)
        self._volume_section.setVisible(is_stack)
        self._volume_section.set_open(is_stack)

    def show_field(self, text: str) -> None:
        """Say what the model is shown."""
        self._encoding_section.set_title(f"Encoding: {text}" if text else "Encoding")

    def _show_count(self, count: int) -> None:
        self._objects_section.set_title(f"Objects ({count})" if count else "Objects")


class _ScrolledColumn(QScrollArea):
    """Scrolls up and down only. The bar has its own room, so that it covers no control."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """Return a width for any set of open sections, and more only where fonts are wide.

        A dock never gets narrower than it once had to be, and before it is shown the content
        has neither napari's fonts nor its style.
        """
        width = _MIN_WIDTH
        if self.isVisible():
            bar = self.verticalScrollBar().sizeHint().width()
            width = max(width, self.widget().minimumSizeHint().width() + bar)
        return QSize(width, super().minimumSizeHint().height())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Follow the content, whose width changes with fonts and sections."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))
