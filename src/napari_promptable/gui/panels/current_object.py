"""The object being drawn: its id, tools, candidates, commit and undo."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QWidget,
)
from superqt import QLargeIntSpinBox

from napari_promptable.gui.panels.candidates import CandidatePanel
from napari_promptable.gui.panels.controls import column_in, make_button, name_widget, row_of

TOOLS = {
    "positive": ("+ click", "Click the object you want (T switches between + and −)"),
    "negative": ("− click", "Click what does not belong to the object (T: + or −)"),
    "box": ("▭ box", "Drag a box around the object"),
    "outline": ("◯ outline", "Draw around the object by hand"),
    "scribble": (
        "✎",
        "Scribble along the object, or beside it: a stroke has the sign of the last click tool",
    ),
}
_TOOL_STYLE = "QPushButton:checked { border: 2px solid #56B4E9; }"
_ARROW_WIDTH = 32


class CurrentObjectPanel(QWidget):
    """The object that prompts belong to, and what the user can do with it."""

    object_selected = Signal(object)  # ids of 64 bits do not fit an int of Qt
    tool_requested = Signal(str)
    new_object_requested = Signal()
    segment_requested = Signal()
    live_changed = Signal(bool)
    commit_requested = Signal()
    undo_requested = Signal()
    redo_requested = Signal()
    boxes_to_objects_requested = Signal()
    clear_requested = Signal()
    save_prompts_requested = Signal(str)  # path
    refine_requested = Signal()
    everything_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.candidates = CandidatePanel()
        layout = column_in(self)
        layout.addLayout(self._make_identity())
        layout.addLayout(self._make_tools())
        layout.addWidget(self.candidates)
        layout.addLayout(self._make_segmentation())
        layout.addLayout(self._make_commits())

    def _make_identity(self) -> QHBoxLayout:
        self._id = name_widget(
            QLargeIntSpinBox(),
            "object_id",
            "Id of the object; choosing one brings back its prompts",
        )
        self._id.setRange(1, 2**64 - 1)
        self._id.setKeyboardTracking(False)
        self._id.valueChanged.connect(self.object_selected)
        new = make_button("New (N)", "new_object", "Start another object (N)")
        new.clicked.connect(self.new_object_requested)
        refine = make_button(
            "Refine",
            "refine",
            "Correct an object of the labels layer: point at it and press P, or select it in "
            "the list of objects",
        )
        refine.clicked.connect(self.refine_requested)
        return row_of(QLabel("Object"), self._id, new, refine, wide=[self._id])

    def _make_tools(self) -> QHBoxLayout:
        self._tools: dict[str, QPushButton] = {}
        self._tool_group = QButtonGroup(self)
        for name, (text, tooltip) in TOOLS.items():
            button = make_button(text, f"tool_{name}", tooltip)
            button.setCheckable(True)
            button.setStyleSheet(_TOOL_STYLE)
            if len(text) == 1:  # a sign; the row has no room for a fifth word
                button.setMaximumWidth(_ARROW_WIDTH)
            button.clicked.connect(lambda _=False, name=name: self.tool_requested.emit(name))
            self._tool_group.addButton(button)
            self._tools[name] = button
        return row_of(*self._tools.values())

    def _make_segmentation(self) -> QHBoxLayout:
        segment = make_button("Segment (S)", "segment", "Segment now (S)")
        segment.clicked.connect(self.segment_requested)
        self._live = name_widget(
            QCheckBox("live"), "live", "Segment automatically after every change"
        )
        self._live.setChecked(True)
        self._live.toggled.connect(self.live_changed)
        many = make_button(
            "Boxes → objects", "boxes_to_objects", "Save one object for each box you drew"
        )
        many.clicked.connect(self.boxes_to_objects_requested)
        clear = make_button(
            "✕",
            "clear_prompts",
            "Remove all prompts of this object (Shift+C)",
        )
        clear.setMaximumWidth(_ARROW_WIDTH)
        clear.clicked.connect(self.clear_requested)
        return row_of(segment, self._live, clear, many)

    def _make_commits(self) -> QHBoxLayout:
        self._commit = make_button(
            "Commit (C)", "commit", "Save the object to the labels layer (C)"
        )
        self._commit.clicked.connect(self.commit_requested)
        self._undo = make_button(
            "↶", "undo", "Undo the last change of the labels (Ctrl+Z: newest prompt first)"
        )
        self._undo.clicked.connect(self.undo_requested)
        self._redo = make_button("↷", "redo", "Redo the change you undid last (Ctrl+Shift+Z)")
        self._redo.clicked.connect(self.redo_requested)
        for button in (self._undo, self._redo):
            button.setMaximumWidth(_ARROW_WIDTH)
        save = make_button(
            "Save prompts…",
            "save_prompts",
            "Save the prompts of all objects; a script can make the same labels from them",
        )
        save.clicked.connect(self._choose_prompts_file)
        everything = make_button("All…", "auto", "Find all objects without a click")
        everything.clicked.connect(self.everything_requested)
        return row_of(self._commit, self._undo, self._redo, everything, save)

    def _choose_prompts_file(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save prompts", "prompts.json", "*.json")
        if path:
            self.save_prompts_requested.emit(path)

    def set_object(self, object_id: int) -> None:
        """Show the id of the current object."""
        self._id.blockSignals(True)
        self._id.setValue(object_id)
        self._id.blockSignals(False)

    def set_tool(self, name: str) -> None:
        """Show which tool is active, or none for an empty name."""
        self._tool_group.setExclusive(False)
        for each, button in self._tools.items():
            button.setChecked(each == name)
        self._tool_group.setExclusive(True)

    def set_possible(self, *, prompt: bool, commit: bool, undo: bool, redo: bool) -> None:
        """Enable the buttons that would do something."""
        for tool in self._tools.values():
            tool.setEnabled(prompt)
        self._commit.setEnabled(commit)
        self._undo.setEnabled(undo)
        self._redo.setEnabled(redo)
