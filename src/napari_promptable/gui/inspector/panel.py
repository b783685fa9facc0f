"""Controls of the inspector, and what they show of an explanation."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QSlider, QWidget

from napari_promptable.gui.inspector.encoder_part import EncoderPart
from napari_promptable.gui.inspector.pictures import MaskRow, TokenMatrix
from napari_promptable.gui.inspector.steps import StepDiagram
from napari_promptable.gui.panels.controls import STYLE, column_in, name_widget, row_of
from napari_promptable.predict.explanation import (
    AttentionStep,
    Explanation,
    FloatArray,
    mean_over_heads,
)

WELCOME = (
    "Click inside an object, or drag a box. You then see how the decoder reaches its answer."
)
_NUM_NAMED = 3  # tokens in the read-out under the pointer
_DEFAULT_TOKEN = "mask 1"


class InspectorPanel(QWidget):
    """Shows one explanation. Emits `changed` when another map of it is chosen."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setStyleSheet(STYLE)
        self._explanation: Explanation | None = None
        self.status = name_widget(QLabel(WELCOME), "inspector_status", "What you see")
        self.status.setWordWrap(True)
        self.diagram = name_widget(StepDiagram(), "steps", "Steps of the decoder; click one")
        self.token = name_widget(QComboBox(), "token", "Whose attention is shown")
        self.head = name_widget(QComboBox(), "head", "One head of the attention, or the mean")
        self.on_image = name_widget(QCheckBox("on the image"), "on_image", "Show the heat map")
        self.on_image.setChecked(True)
        self.matrix = TokenMatrix()
        self.pointer = name_widget(QLabel(), "pointer", "What meets under the pointer")
        self.pointer.setWordWrap(True)
        self.encoder = EncoderPart()
        self.masks = MaskRow()
        self.block = name_widget(
            QSlider(Qt.Orientation.Horizontal), "block", "End the decoder after so many blocks"
        )
        self.block_title = QLabel()
        self._lay_out()
        self.diagram.chosen.connect(self._choose)
        for box in (self.token, self.head):
            box.activated.connect(self._choose)
        self.on_image.toggled.connect(self._choose)
        self.block.valueChanged.connect(self._show_masks)
        self.set_explanation(None)

    def _lay_out(self) -> None:
        layout = column_in(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.status)
        layout.addWidget(self.diagram)
        for box in (self.token, self.head):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        choice = row_of(QLabel("token"), self.token, QLabel("head"), self.head)
        choice.addStretch()
        layout.addLayout(choice)
        layout.addWidget(self.on_image)
        layout.addWidget(self.pointer)
        layout.addWidget(self.matrix)
        layout.addWidget(self.encoder)
        self.block_title.setWordWrap(True)
        layout.addWidget(self.block_title)
        layout.addWidget(self.block)
        layout.addWidget(self.masks)
        layout.addStretch()

    # what is shown

    def set_explanation(self, explanation: Explanation | None) -> None:
        """Show another explanation. The chosen step, token and head stay where possible."""
        self._explanation = explanation
        self.encoder.clear()
        for widget in (self.diagram, self.token, self.head, self.block, self.masks):
            widget.setEnabled(explanation is not None)
        if explanation is None:
            self.status.setText(WELCOME)
            self.pointer.clear()
            return
        self.diagram.set_steps(explanation.steps, explanation.num_blocks)
        _fill(self.token, explanation.tokens, _DEFAULT_TOKEN)
        heads = range(1, explanation.steps[0].weights.shape[0] + 1)
        _fill(self.head, ("mean", *map(str, heads)), "mean")
        self.block.setMaximum(explanation.num_blocks)
        self.block.setValue(explanation.num_blocks)
        self._show_masks()
        self._show_step()

    def show_problem(self, text: str) -> None:
        """Say why there is nothing to see."""
        self.set_explanation(None)
        self.status.setText(text)

    @property
    def step(self) -> AttentionStep | None:
        """The chosen step."""
        return None if self._explanation is None else self._explanation.steps[self._number]

    @property
    def _number(self) -> int:
        number: int = self.diagram.current
        return number

    @property
    def _head(self) -> int | None:
        """The chosen head, or None for the mean."""
        number = int(self.head.currentIndex()) - 1
        return number if number >= 0 else None

    def token_map(self) -> FloatArray | None:
        """Map of the chosen token, (rows, columns), or None if there is none to show."""
        step = self.step
        if self._explanation is None or step is None or not step.has_map:
            return None
        if not self.on_image.isChecked():
            return None
        token: int = self.token.currentIndex()
        maps = self._explanation.token_maps(step, self._head)
        chosen: FloatArray = maps[token]
        return chosen

    def point_at(self, position_yx: FloatArray | None) -> None:
        """Say which tokens meet the cell at a position of the plane."""
        step = self.step
        if self._explanation is None or step is None or not step.has_map:
            self.pointer.clear()
            return
        cell = None if position_yx is None else self._explanation.cell_at(position_yx)
        if cell is None:
            self.pointer.setText("Move the pointer over the image to read single cells.")
            return
        weights = self._explanation.token_maps(step, self._head)[:, cell[0], cell[1]]
        most = weights.argsort()[::-1][:_NUM_NAMED]
        named = ", ".join(f"{self._explanation.tokens[i]} {weights[i]:.1%}" for i in most)
        verb = "is read by" if step.direction == "tokens → image" else "reads"
        self.pointer.setText(f"Cell {cell[0]}, {cell[1]} {verb}: {named}")

    def _choose(self, _choice: object = None) -> None:
        self.encoder.clear()
        self._show_step()
        self.changed.emit()

    def _show_step(self) -> None:
        """Show the matrix, or say what the map means."""
        explanation, step = self._explanation, self.step
        if explanation is None or step is None:
            return
        self.matrix.setVisible(not step.has_map)
        self.token.setEnabled(step.has_map)
        if step.has_map:
            verb = "gives to" if step.direction == "tokens → image" else "gets from"
            brightest = explanation.token_maps(step, self._head)[
                self.token.currentIndex()
            ].max()
            self.status.setText(
                f"Weight that “{self.token.currentText()}” {verb} each cell; "
                f"the brightest is {brightest:.1%}."
            )
        else:
            self.matrix.set_weights(explanation.tokens, mean_over_heads(step, self._head))
            self.status.setText("Each row: where this token looks among the tokens.")
        self.point_at(None)

    def _show_masks(self, _block: int = 0) -> None:
        if self._explanation is None:
            return
        block, count = self.block.value(), self._explanation.num_blocks
        is_end = block == count
        self.block_title.setText(
            "Why these masks? Dot products and predicted IoU"
            if is_end
            else f"Masks if the decoder ended after {block} of {count} blocks"
        )
        predicted_iou = self._explanation.predicted_iou if is_end else None
        self.masks.set_masks(self._explanation.logits_by_block[block], predicted_iou)


def _fill(box: QComboBox, names: tuple[str, ...], default: str) -> None:
    """Offer names, and keep the chosen one if it is still there."""
    if [box.itemText(i) for i in range(box.count())] == list(names):
        return
    chosen = box.currentText()
    box.clear()
    box.addItems(names)
    box.setCurrentText(chosen if chosen in names else default)
