"""Asks for the image encoder's attention of one cell, and chooses what to see of it."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QWidget

from napari_promptable.gui.panels.controls import column_in, make_button, name_widget, row_of
from napari_promptable.predict.explanation import EncoderAttention, FloatArray

_WORKING = "Encoding the image once more…"


class EncoderPart(QWidget):
    """Shows nothing but a button until it is pressed: the encoder costs seconds."""

    requested = Signal()
    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        ask = make_button(
            "Encoder from here",
            "encoder_attention",
            "What the cell of the latest click attends to in the image encoder (ViT, SAM 2.1)",
        )
        ask.clicked.connect(self._ask)
        self._block = name_widget(QComboBox(), "encoder_block", "Block with global attention")
        self._head = name_widget(QComboBox(), "encoder_head", "One head, or the mean")
        for box in (self._block, self._head):
            box.activated.connect(self._choose)
        self.text = name_widget(QLabel(), "encoder_text", "What the map shows")
        self.text.setWordWrap(True)
        layout = column_in(self)
        choice = row_of(ask, self._block, self._head)
        choice.addStretch()
        layout.addLayout(choice)
        layout.addWidget(self.text)
        self._attention: EncoderAttention | None = None
        self.clear()

    def _ask(self) -> None:
        self.say(_WORKING)
        self.requested.emit()

    def say(self, text: str) -> None:
        """Show a sentence, and no map."""
        self._attention = None
        self._show_choice()
        self.text.setText(text)
        self.text.setVisible(bool(text))

    def clear(self) -> None:
        """Show no map: it would be of an earlier click, or another one is in view."""
        self.say("")

    def show_attention(self, attention: EncoderAttention) -> None:
        """Offer the blocks and heads, and show the last block first."""
        self.say("")
        self._attention = attention
        for box, names in (
            (self._block, [f"block {number + 1}" for number in attention.blocks]),
            (self._head, ["mean", *map(str, range(1, attention.weights.shape[1] + 1))]),
        ):
            box.clear()
            box.addItems(names)
        self._block.setCurrentIndex(len(attention.blocks) - 1)
        self._show_choice()
        self._choose()

    def _show_choice(self) -> None:
        for box in (self._block, self._head):
            box.setVisible(self._attention is not None)

    @property
    def attention(self) -> EncoderAttention | None:
        """The attention on display, or None if there is none."""
        return self._attention

    def current_map(self) -> FloatArray | None:
        """Map of the chosen block and head, (rows, columns), or None if there is none."""
        if self._attention is None:
            return None
        weights = self._attention.weights[self._block.currentIndex()]
        head = self._head.currentIndex()
        chosen: FloatArray = weights.mean(axis=0) if head == 0 else weights[head - 1]
        return chosen

    def _choose(self, _choice: int = 0) -> None:
        found = self.current_map()
        if found is None or self._attention is None:
            return
        row, column = self._attention.cell
        self.text.setText(
            f"What cell {row}, {column} attends to in {self._block.currentText()} of the image "
            f"encoder; the brightest is {found.max():.1%}."
        )
        self.text.show()
        self.changed.emit()
