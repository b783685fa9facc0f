"""Answers about a mask that is being corrected: unchanged, or removed by clicks."""

from __future__ import annotations

import numpy as np

from napari_promptable.errors import PromptError
from napari_promptable.masks import BoolArray, mask_to_logits
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.prompts import FOREGROUND, PlanePrompts

_MIN_LEFT = 0.1
"""Share of a corrected mask that background clicks must leave, so that specks do not remain."""

REMOVED = "These − clicks remove the object from this slice. Commit (C) to save that."

_ABSENT_LOGIT = -10.0  # as sure as the logits of `mask_to_logits`


def keep_mask(mask: BoolArray, embedding: ImageEmbedding) -> Prediction:
    """Return an existing mask, to be corrected by clicks, as the only candidate."""
    if mask.shape != embedding.original_size:
        raise PromptError(
            f"the mask prompt has shape {mask.shape}, the image {embedding.original_size}; "
            "give a mask of the image's size"
        )
    logits = mask_to_logits(mask, embedding.low_res_valid, embedding.low_res_size)
    return Prediction(mask[None], np.ones(1, np.float32), logits[None])


def is_removed(prompts: PlanePrompts, prediction: Prediction) -> bool:
    """Whether background clicks alone have removed a mask that is being corrected."""
    if prompts.mask is None or (prompts.point_labels == FOREGROUND).any():
        return False
    left = np.count_nonzero(prediction.mask(prediction.default))
    return bool(left < _MIN_LEFT * np.count_nonzero(prompts.mask))


def answer_removed(prediction: Prediction) -> Prediction:
    """One empty candidate: the object is not on the plane."""
    logits = np.full_like(prediction.low_res_logits[:1], _ABSENT_LOGIT)
    empty = np.zeros_like(prediction.mask(prediction.default))[None]
    return Prediction(empty, np.ones(1, np.float32), logits, absence=REMOVED)
