"""The window of a learning: curve, remaining time, and the table before and after."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QCloseEvent, QPainter, QPaintEvent, QPen, QPixmap
from qtpy.QtWidgets import QCheckBox, QDialog, QHBoxLayout, QLabel, QWidget

from napari_promptable.gui.panels.controls import column_in, make_button, name_widget, row_of

_CURVE_HEIGHT, _LINE_WIDTH = 80, 2  # px
_COLUMNS = (("click", "one click"), ("corrected", "+ 1 correction"), ("box", "exact box"))


class LossCurve(QWidget):
    """Held-out loss over time."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._points: list[tuple[float, float]] = []
        self.setMinimumHeight(_CURVE_HEIGHT)
        name_widget(self, "learn_curve", "Error on the held-out objects; lower is better")

    def set_points(self, points: Sequence[Sequence[float]]) -> None:
        """Show (seconds, loss) pairs."""
        self._points = [(float(x), float(y)) for x, y in points]
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802
        """Draw the curve from edge to edge."""
        if len(self._points) < 2:
            return
        xs, ys = zip(*self._points, strict=True)
        area = QRectF(self.rect()).adjusted(
            _LINE_WIDTH, _LINE_WIDTH, -_LINE_WIDTH, -_LINE_WIDTH
        )
        width, height = max(xs[-1] - xs[0], 1e-9), max(max(ys) - min(ys), 1e-9)
        points = [
            QPointF(
                area.left() + area.width() * (x - xs[0]) / width,
                area.bottom() - area.height() * (y - min(ys)) / height,
            )
            for x, y in self._points
        ]
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(self.palette().highlight(), _LINE_WIDTH))
        painter.drawPolyline(points)


class LearningWindow(QDialog):
    """Shows the progress of learning, then its gain. The viewer stays usable meanwhile."""

    cancel_requested = Signal()
    use_requested = Signal()
    discard_requested = Signal()
    complete_chosen = Signal(bool)
    keep_chosen = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Learn from your objects")
        layout = column_in(self)
        self._text = name_widget(QLabel(), "learn_text", "How far learning is, and its result")
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._text.setWordWrap(True)
        self._curve = LossCurve()
        self._cancel = make_button(
            "Cancel", "cancel_learning", "Stop; the model stays as it is"
        )
        self._use = make_button("Use", "use_learned", "Answer with the learned model")
        self._discard = make_button("Discard", "discard_learned", "Keep the model as it was")
        self._cancel.clicked.connect(self.cancel_requested)
        self._use.clicked.connect(self.use_requested)
        self._discard.clicked.connect(self.discard_requested)
        layout.addWidget(self._text)
        layout.addWidget(self._curve)
        self._worst = name_widget(
            QWidget(),
            "learn_worst",
            "The held-out objects with the lowest overlap, after one click: outline in blue, "
            "answer in orange",
        )
        self._worst.setLayout(row_of())
        layout.addWidget(self._worst)
        layout.addLayout(row_of(self._cancel, self._use, self._discard))
        layout.addLayout(self._make_choices())

    def _make_choices(self) -> QHBoxLayout:
        self._complete = name_widget(
            QCheckBox("This field is complete"),
            "field_complete",
            "Every object of the slices you worked on has a label, so the rest is background; "
            "off: what has no label is unknown. Learning starts again",
        )
        self._complete.clicked.connect(self.complete_chosen)
        self._keep = name_widget(
            QCheckBox("Keep learning"),
            "keep_learning",
            "Learn again after every ten objects, while nothing else runs; you decide whether "
            "to use the model",
        )
        self._keep.clicked.connect(self.keep_chosen)
        return row_of(self._complete, self._keep)

    def begin(self, text: str) -> None:
        """Show that learning has begun."""
        self._curve.set_points([])
        self.show_worst([])
        self._show(text, is_running=True, is_better=False)
        self.show()

    def set_progress(
        self, phase: str, seconds_left: float, curve: Sequence[Sequence[float]]
    ) -> None:
        """Show how far learning is."""
        left = max(0, round(seconds_left))
        self._text.setText(f"{phase.capitalize()}… {left // 60}:{left % 60:02} left")
        self._curve.set_points(curve)

    def show_result(
        self,
        before: dict[str, float],
        after: dict[str, float],
        *,
        is_better: bool,
        automatic: str | None = None,
    ) -> None:
        """Show the table of figures on held-out objects.

        Parameters
        ----------
        before, after : dict of str to float
            By name.
        is_better : bool
            Whether the learned model can be used.
        automatic : str, optional
            Title of the figure for objects found without a prompt, if there is one.
        """
        columns = _COLUMNS if automatic is None else (*_COLUMNS, ("automatic", automatic))
        rows = "".join(
            f"<tr><td>{title}&nbsp;&nbsp;</td><td>{before[name]:.2f}&nbsp;&nbsp;</td>"
            f"<td>{after[name]:.2f}</td></tr>"
            for name, title in columns
        )
        verdict = (
            "The learned model is better."
            if is_better
            else "Not better than before: commit more objects, then learn again."
        )
        table = f"<table><tr><td></td><td>before</td><td>after</td></tr>{rows}</table>"
        self.show()
        self._show(
            f"Overlap with objects it did not learn from (1 is perfect):{table}{verdict}",
            is_running=False,
            is_better=is_better,
        )

    def show_worst(self, pictures: Sequence[Sequence[str]]) -> None:
        """Show pictures of the worst objects, each a path and a text, until the next start."""
        row = self._worst.layout()
        while row.count():
            row.takeAt(0).widget().deleteLater()
        for path, text in pictures:
            part, picture = QWidget(), QLabel()
            picture.setPixmap(QPixmap(path))
            column = column_in(part)
            column.addWidget(picture)
            column.addWidget(QLabel(text))
            row.addWidget(part)
        self._worst.setVisible(bool(pictures))
        self.adjustSize()

    def _show(self, text: str, *, is_running: bool, is_better: bool) -> None:
        self._text.setText(text)
        self._curve.setVisible(is_running)
        self._cancel.setVisible(is_running)
        self._use.setVisible(not is_running)
        self._use.setEnabled(is_better)
        self._discard.setVisible(not is_running)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        """Take closing for cancelling or discarding."""
        (self.cancel_requested if self._cancel.isVisible() else self.discard_requested).emit()
        super().closeEvent(event)
