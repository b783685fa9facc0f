"""The controls of the dock widget: they emit what is wanted and show what they are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QScrollArea,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_promptable.gui.controls import (
    Fold,
    make_button,
    make_line,
    name_widget,
    row_of,
)
from napari_promptable.gui.encoding_panel import EncodingPanel
from napari_promptable.gui.object_list import ObjectList
from napari_promptable.gui.volume_panel import VolumePanel

Choices = Callable[[], Sequence[tuple[str, Any]]]

TOOLS = {
    "positive": ("+ click", "Click on the object you want (T switches + and −)"),
    "negative": ("− click", "Click on what does not belong to the object (T switches + and −)"),
    "box": ("▭ box", "Drag a box around the object"),
    "outline": ("✎ outline", "Draw around the object by hand"),
}
NUM_CANDIDATES = 3
_PATIENCE_MS = 300  # before work is worth a moving bar
_NOTHING = object()

_ADJUST_TO_MINIMUM = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon

_TOOL_STYLE = "QPushButton { padding: 3px; } QPushButton:checked { border: 2px solid #56B4E9; }"


class ChoicePanel(QWidget):
    """Image, channel, model, device and where objects go.

    Parameters
    ----------
    choices : dict of str to callable
        For each of the five names, a function that returns (text, value) pairs.
    """

    changed = Signal(str, object)  # name, value
    model_info_requested = Signal()
    model_file_chosen = Signal(str)

    _ROWS = (
        ("image", "Image", "The image to segment"),
        ("channel", "Channel", "The channel that the model sees, or three of them as RGB"),
        ("model", "Model", "The network; tiny comes with the plugin and works offline"),
        ("device", "Device", "Where the network runs; auto takes a GPU if there is one"),
        ("labels", "Labels", "The layer that committed objects are written to"),
    )

    def __init__(self, choices: dict[str, Choices], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._choices = choices
        self._is_silent = False
        self._boxes: dict[str, ComboBox] = {}
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setColumnStretch(1, 1)
        for row, (name, title, tooltip) in enumerate(self._ROWS):
            box = ComboBox(choices=self._offered(name), nullable=name == "image")
            name_widget(box.native, name, tooltip)
            box.native.setSizeAdjustPolicy(_ADJUST_TO_MINIMUM)  # long names may be cut
            box.native.setMinimumContentsLength(12)
            box.changed.connect(lambda value, name=name: self._report(name, value))
            self._boxes[name] = box
            layout.addWidget(QLabel(title), row, 0)
            layout.addWidget(box.native, row, 1, 1, 1 if name == "model" else 2)
        more = name_widget(QToolButton(), "model_menu", "About this model; use a weights file")
        more.setText("⋯")
        more.setMinimumWidth(28)
        more.setStyleSheet("QToolButton::menu-indicator { image: none; }")
        more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(more)
        menu.addAction("About this model").triggered.connect(self.model_info_requested)
        menu.addAction("Use a weights file…").triggered.connect(self._choose_model_file)
        more.setMenu(menu)
        layout.addWidget(more, list(self._boxes).index("model"), 2)

    def _choose_model_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Weights of SAM or MobileSAM", filter="Weights (*.pth *.pt *.safetensors)"
        )
        if path:
            self.model_file_chosen.emit(path)

    def _offered(self, name: str) -> list[tuple[str, Any]]:
        """Choices of today; magicgui would not report None as a choice."""
        return [
            (text, _NOTHING if value is None else value)
            for text, value in self._choices[name]()
        ]

    def refresh(self, name: str, value: Any = None) -> None:
        """Offer the choices of today and choose one of them, without a report.

        Parameters
        ----------
        name : str
            Which of the choices.
        value : object, optional
            What to choose; by default what was chosen before, or the first.
        """
        box = self._boxes[name]
        self._is_silent = True
        try:
            box.choices = self._offered(name)
            if value is not None and value in box.choices:
                box.value = value
        finally:
            self._is_silent = False
        box.native.setEnabled(name != "channel" or len(box.choices) > 1)

    def value(self, name: str) -> Any:
        """Return what is chosen."""
        value = self._boxes[name].value
        return None if value is _NOTHING else value

    def set_value(self, name: str, value: Any) -> None:
        """Choose; reported like a user's choice."""
        self._boxes[name].value = value

    def _report(self, name: str, value: Any) -> None:
        if not self._is_silent:
            self.changed.emit(name, None if value is _NOTHING else value)


class CandidatePanel(QWidget):
    """Three radio buttons with predicted IoU; pointing at one previews it."""

    chosen = Signal(int)
    hovered = Signal(int)  # −1 when the pointer leaves

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        name_widget(
            self, "candidate", "Masks for the same prompts, with predicted IoU; next one: M"
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("Candidate"))
        self._group = QButtonGroup(self)
        self._buttons = [QRadioButton("–") for _ in range(NUM_CANDIDATES)]
        for number, button in enumerate(self._buttons):
            self._group.addButton(button, number)
            button.installEventFilter(self)
            layout.addWidget(button)
        layout.addStretch()
        self._group.idClicked.connect(self.chosen)
        self.show_candidates((), None)

    def show_candidates(self, predicted_iou: Sequence[float], chosen: int | None) -> None:
        """Show how confident the model is of each candidate, and which is chosen."""
        self._group.setExclusive(False)
        for number, button in enumerate(self._buttons):
            is_there = number < len(predicted_iou)
            button.setEnabled(is_there)
            button.setText(f"{predicted_iou[number]:.2f}" if is_there else "–")
            button.setChecked(number == chosen)
        self._group.setExclusive(True)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Report the pointer over a button."""
        if event.type() == QEvent.Type.Enter and watched.isEnabled():
            self.hovered.emit(self._group.id(watched))
        elif event.type() == QEvent.Type.Leave:
            self.hovered.emit(-1)
        return bool(super().eventFilter(watched, event))


class ObjectPanel(QWidget):
    """The object that is worked on: id, tools, candidates, commit, undo and redo."""

    object_selected = Signal(int)
    tool_requested = Signal(str)
    new_object_requested = Signal()
    segment_requested = Signal()
    live_changed = Signal(bool)
    commit_requested = Signal()
    undo_requested = Signal()
    redo_requested = Signal()
    boxes_to_objects_requested = Signal()
    save_prompts_requested = Signal(str)  # path
    refine_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._id = name_widget(
            QSpinBox(), "object_id", "Label of the object; its prompts come back"
        )
        self._id.setRange(1, 2**31 - 1)
        self._id.setKeyboardTracking(False)
        self._id.valueChanged.connect(self.object_selected)
        new = make_button("New (N)", "new_object", "Begin another object (N)")
        new.clicked.connect(self.new_object_requested)
        refine = make_button(
            "Refine",
            "refine",
            "Correct an object of the labels layer: point at it and press P, or select it in "
            "the list of objects",
        )
        refine.clicked.connect(self.refine_requested)
        layout.addLayout(row_of(QLabel("Object"), self._id, new, refine))
        layout.addLayout(self._make_tools())
        self.candidates = CandidatePanel()
        layout.addWidget(self.candidates)
        self._live = name_widget(
            QCheckBox("live"), "live", "Segment after every change by itself"
        )
        self._live.setChecked(True)
        self._live.toggled.connect(self.live_changed)
        segment = make_button("Segment (S)", "segment", "Segment now (S)")
        segment.clicked.connect(self.segment_requested)
        self._commit = make_button(
            "Commit (C)", "commit", "Write the object into the labels layer (C)"
        )
        self._commit.clicked.connect(self.commit_requested)
        self._undo = make_button("↶", "undo", "Undo the last change of the labels")
        self._undo.clicked.connect(self.undo_requested)
        self._redo = make_button("↷", "redo", "Redo what was undone")
        self._redo.clicked.connect(self.redo_requested)
        for button in (self._undo, self._redo):
            button.setMaximumWidth(36)
        layout.addLayout(row_of(segment, self._live))
        layout.addLayout(row_of(self._commit, self._undo, self._redo))
        many = make_button(
            "Boxes → objects",
            "boxes_to_objects",
            "Commit one object for each box that is drawn",
        )
        many.clicked.connect(self.boxes_to_objects_requested)
        save = make_button(
            "Save prompts…",
            "save_prompts",
            "Save all prompts, to make the labels again by script",
        )
        save.clicked.connect(self._choose_prompts_file)
        layout.addLayout(row_of(many, save))

    def _choose_prompts_file(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save prompts", "prompts.json", "*.json")
        if path:
            self.save_prompts_requested.emit(path)

    def _make_tools(self) -> QHBoxLayout:
        self._tools: dict[str, QPushButton] = {}
        group = QButtonGroup(self)
        for name, (text, tooltip) in TOOLS.items():
            button = make_button(text, f"tool_{name}", tooltip)
            button.setCheckable(True)
            button.setStyleSheet(_TOOL_STYLE)
            button.clicked.connect(lambda _=False, name=name: self.tool_requested.emit(name))
            group.addButton(button)
            self._tools[name] = button
        return row_of(*self._tools.values())

    @property
    def is_live(self) -> bool:
        """Whether changes are segmented by themselves."""
        return bool(self._live.isChecked())

    def set_object(self, object_id: int) -> None:
        """Show which object is worked on."""
        self._id.blockSignals(True)
        self._id.setValue(object_id)
        self._id.blockSignals(False)

    def set_tool(self, name: str) -> None:
        """Show which tool is active."""
        self._tools[name].setChecked(True)

    def set_possible(self, *, commit: bool, undo: bool, redo: bool) -> None:
        """Enable what can be done."""
        self._commit.setEnabled(commit)
        self._undo.setEnabled(undo)
        self._redo.setEnabled(redo)


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
