"""The answer to prompts: candidates for one object on one plane (numpy only)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from napari_promptable.masks import BoolArray, FloatArray


class Prediction:
    """Candidates for one object on one plane.

    Parameters
    ----------
    masks : ndarray of bool, shape (C, H, W), or callable
        Masks in image pixels, or a function that draws the masks of some candidates,
        (n, H, W), when they are first needed.
    predicted_iou, default, absence
        As below.
    low_res_logits : ndarray of float32, shape (C, h, w), or callable
        As below, or a function that returns them when they are first needed.

    Attributes
    ----------
    predicted_iou : ndarray of float32, shape (C,)
        The model's own estimate of each mask's IoU with the object.
    default : int
        The candidate to offer first.
    absence : str or None
        Why all masks are empty, if the model says that the object is not there.
    """

    def __init__(
        self,
        masks: BoolArray | Callable[[Sequence[int]], BoolArray],
        predicted_iou: FloatArray,
        low_res_logits: FloatArray | Callable[[], FloatArray],
        default: int = 0,
        absence: str | None = None,
    ) -> None:
        self.predicted_iou = predicted_iou
        self.default, self.absence = default, absence
        self._logits = low_res_logits
        self._draw = masks if callable(masks) else lambda candidates: masks[list(candidates)]
        self._drawn: dict[int, BoolArray] = {} if callable(masks) else dict(enumerate(masks))

    def __len__(self) -> int:
        """Count the candidates."""
        return len(self.predicted_iou)

    @cached_property
    def masks(self) -> BoolArray:
        """Masks of all candidates in image pixels, ndarray of bool, shape (C, H, W)."""
        masks: BoolArray = self._draw(range(len(self)))
        self._drawn = dict(enumerate(masks))
        return masks

    @cached_property
    def low_res_logits(self) -> FloatArray:
        """Unthresholded masks at the decoder's resolution, ndarray of float32, (C, h, w).

        One of them may go back in as ``mask_logits``.
        """
        logits: FloatArray = self._logits() if callable(self._logits) else self._logits
        return logits

    def mask(self, candidate: int) -> BoolArray:
        """Mask of one candidate, ndarray of bool, shape (H, W). The others are not drawn."""
        if candidate not in self._drawn:
            [self._drawn[candidate]] = self._draw([candidate])
        return self._drawn[candidate]

    @property
    def best(self) -> int:
        """Index of the highest predicted IoU."""
        return int(np.argmax(self.predicted_iou))


def describe_absence(object_score: float | None) -> str | None:
    """Say why masks are empty, if a model says that the object is not there.

    Parameters
    ----------
    object_score : float or None
        Positive where the object is there; None from models that do not say.

    Returns
    -------
    str or None
        A sentence; None if the object may be there.
    """
    if object_score is None or object_score > 0:
        return None
    return (
        f"The model finds no object here (object score {object_score:.1f}, not above 0). Click "
        "inside the object, or drag a box around it."
    )
