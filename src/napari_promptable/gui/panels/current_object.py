"""The object that is worked on: tools, candidates, commit and undo."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QEvent, QObject, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QRadioButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_promptable.gui.panels.controls import (
    make_button,
    name_widget,
    row_of,
)

TOOLS = {
    "positive": ("+ click", "Click on the object you want (T switches + and −)"),
    "negative": ("− click", "Click on what does not belong to the object (T switches + and −)"),
    "box": ("▭ box", "Drag a box around the object"),
    "outline": ("✎ outline", "Draw around the object by hand"),
}
NUM_CANDIDATES = 3
_TOOL_STYLE = "QPushButton { padding: 3px; } QPushButton:checked { border: 2px solid #56B4E9; }"


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
