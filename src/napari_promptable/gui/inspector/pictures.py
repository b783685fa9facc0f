"""Small pictures of maps and matrices, drawn by Qt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent, QPalette, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from napari_promptable.gui.panels.controls import SPACING, name_widget
from napari_promptable.predict.explanation import FloatArray

_INSIDE, _OUTSIDE = np.array([213, 94, 0]), np.array([0, 114, 178])  # Okabe and Ito
_CELL, _LABEL_WIDTH = 16, 74  # px
_MAP_SIDE = 66  # px
_SATURATED = 5.0  # logits that get the full colour


def color_logits(logits: FloatArray) -> npt.NDArray[np.uint8]:
    """Colour logits (h, w) orange inside, blue outside, white at the border, as (h, w, 3)."""
    strength = np.clip(np.abs(logits) / _SATURATED, 0, 1)[..., None]
    color = np.where((logits > 0)[..., None], _INSIDE, _OUTSIDE)
    rgb: npt.NDArray[np.uint8] = (255 + strength * (color - 255)).astype(np.uint8)
    return rgb


def to_pixmap(rgb: npt.NDArray[np.uint8], side: int) -> QPixmap:
    """Make a picture (h, w, 3) as large as fits a square."""
    height, width = rgb.shape[:2]
    image = QImage(rgb.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(image.copy()).scaled(
        side, side, Qt.AspectRatioMode.KeepAspectRatio
    )


class TokenMatrix(QWidget):
    """Which token attends to which: rows attend, columns are attended to."""

    def __init__(self) -> None:
        super().__init__()
        name_widget(
            self, "token_matrix", "Row: the token that attends. Column: the token it attends to"
        )
        self._names: Sequence[str] = ()
        self._weights: FloatArray = np.zeros((0, 0), np.float32)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    @property
    def weights(self) -> FloatArray:
        """What is shown, (T, T)."""
        return self._weights

    def set_weights(self, names: Sequence[str], weights: FloatArray) -> None:
        """Show weights (T, T) of the tokens with these names."""
        self._names, self._weights = names, weights
        self.setFixedHeight(self.sizeHint().height())
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        """Return the room for all rows and columns."""
        side = _CELL * len(self._names)
        return QSize(_LABEL_WIDTH + side, _LABEL_WIDTH + side)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802
        """Draw names and cells. Brighter is more."""
        painter = QPainter(self)
        painter.setPen(self.palette().color(QPalette.ColorRole.Text))
        font = painter.font()
        font.setPointSizeF(7.5)
        painter.setFont(font)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        for i, name in enumerate(self._names):
            row = QRectF(0, _LABEL_WIDTH + i * _CELL, _LABEL_WIDTH - 4, _CELL)
            painter.drawText(row, right, name)
            painter.save()
            painter.translate(_LABEL_WIDTH + (i + 0.5) * _CELL, _LABEL_WIDTH - 4)
            painter.rotate(-90)
            painter.drawText(QRectF(0, -_CELL / 2, _LABEL_WIDTH, _CELL), left, name)
            painter.restore()
        highest = max(float(self._weights.max(initial=0)), 1e-6)
        for (i, j), weight in np.ndenumerate(self._weights):
            color = QColor.fromHsvF(0.12, 0.75, float(weight) / highest)
            x, y = _LABEL_WIDTH + j * _CELL, _LABEL_WIDTH + i * _CELL
            painter.fillRect(QRectF(x, y, _CELL - 1, _CELL - 1), color)


class MaskRow(QWidget):
    """The four masks as dot products, side by side with their predicted IoU."""

    def __init__(self) -> None:
        super().__init__()
        name_widget(self, "mask_maps", "Dot products: orange is inside, blue outside")
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACING)
        self.pictures = [QLabel() for _ in range(4)]
        self.captions = [QLabel() for _ in range(4)]
        for column, (picture, caption) in enumerate(
            zip(self.pictures, self.captions, strict=True)
        ):
            caption.setObjectName(f"mask_caption_{column}")
            layout.addWidget(picture, 0, column)
            layout.addWidget(caption, 1, column)

    def set_masks(self, logits: FloatArray, predicted_iou: FloatArray | None) -> None:
        """Show logits (4, h, w), without predicted IoUs where the decoder stopped early."""
        for number, (picture, caption) in enumerate(
            zip(self.pictures, self.captions, strict=True)
        ):
            picture.setPixmap(to_pixmap(color_logits(logits[number]), _MAP_SIDE))
            iou = "" if predicted_iou is None else f"{predicted_iou[number]:.2f}"
            caption.setText(f"mask {number}\n{iou}")
