"""The step from slice to slice: what every way of stepping offers, and when to stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from napari_promptable.masks import BoolArray, FloatArray, mask_iou
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.propagation.settings import PropagationSettings, StopReason

_STABILITY_OFFSET = 1.0  # of logits, as in SAM's automatic mask generation


@dataclass(frozen=True, eq=False)
class Sighting:
    """An object as the model sees it on one slice.

    Attributes
    ----------
    mask : ndarray of bool, shape (H, W)
        In image pixels.
    predicted_iou : float
        The model's estimate of the mask's IoU with the object.
    stability : float
        See `stability_of`.
    memory : object
        What the `Step` needs for the next slice; nothing else looks into it.
    likeness : float
        How much the object still looks as on its prompted slice, see `likeness_of`.
    """

    mask: BoolArray
    predicted_iou: float
    stability: float
    memory: Any = None
    likeness: float = 1.0


class Step(Protocol):
    """A way to find the objects of one slice on the next one."""

    def begin(
        self, embedding: ImageEmbedding, prediction: Prediction, candidate: int
    ) -> Sighting:
        """Start from one candidate of the answer to a user's prompts.

        Parameters
        ----------
        embedding : ImageEmbedding
            Of the prompted slice.
        prediction : Prediction
            The answer.
        candidate : int
            Which of its masks the user accepted.

        Returns
        -------
        Sighting
            With this mask.
        """
        ...

    def depart(self, anchor: Sighting, other: Sighting | None, distance: int) -> Sighting:
        """Set out from a prompted slice into a gap.

        Parameters
        ----------
        anchor : Sighting
            The object on the prompted slice, from `begin`.
        other : Sighting or None
            The object on the prompted slice at the other end of the gap, if there is one.
        distance : int
            Number of slices from the one to the other; 0 if there is no other.

        Returns
        -------
        Sighting
            What `advance` is given for the first slice of the gap.
        """
        ...

    def advance(
        self, embedding: ImageEmbedding, previous: Sequence[Sighting]
    ) -> list[Sighting]:
        """Find objects on the next slice.

        Parameters
        ----------
        embedding : ImageEmbedding
            Of the next slice.
        previous : sequence of Sighting
            The objects on the slice before, from `begin` or `advance`; no mask is empty.

        Returns
        -------
        list of Sighting
            One per object; its mask may be empty.
        """
        ...


def stability_of(logits: FloatArray) -> float:
    """Measure how little a mask depends on the threshold.

    Parameters
    ----------
    logits : ndarray of float32, shape (h, w)
        Low-res logits, mask where positive.

    Returns
    -------
    float
        0 to 1; 0 for an empty mask.

    Notes
    -----
    The stability score of SAM (arXiv 2304.02643, appendix B): IoU of the masks at thresholds
    1 above and 1 below. The former lies inside the latter, so areas suffice.
    """
    wide = np.count_nonzero(logits > -_STABILITY_OFFSET)
    return np.count_nonzero(logits > _STABILITY_OFFSET) / wide if wide else 0.0


def find_stop(
    sighting: Sighting, previous: Sighting, first: Sighting, settings: PropagationSettings
) -> StopReason | None:
    """Decide whether an object is still the same.

    Parameters
    ----------
    sighting, previous, first : Sighting
        On this slice, on the one before, and on the prompted slice.
    settings : PropagationSettings
        The limits.

    Returns
    -------
    StopReason or None
        The first rule that is broken; None if the object can be followed further.
    """
    area = np.count_nonzero(sighting.mask)
    if area == 0:
        return StopReason.EMPTY
    if mask_iou(sighting.mask, previous.mask) < settings.lost_iou:
        return StopReason.LOST
    first_area = np.count_nonzero(first.mask)
    if not settings.min_area <= area / first_area <= settings.max_area:
        return StopReason.DRIFTED
    if sighting.likeness < settings.min_likeness:
        return StopReason.DRIFTED
    if sighting.predicted_iou < settings.min_predicted_iou * first.predicted_iou:
        return StopReason.UNSURE
    return None
