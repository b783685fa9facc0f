"""Which prompts can be answered on an embedding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_promptable.errors import EmbeddingMismatchError, PromptError
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.prompts import PromptSet


def check_prompts(
    model_id: str, embedding: ImageEmbedding, prompts: Sequence[PromptSet]
) -> None:
    """Refuse another model's embedding, and prompts that cannot be answered.

    Parameters
    ----------
    model_id : str
        Of the model that is asked.
    embedding : ImageEmbedding
        The plane.
    prompts : sequence of PromptSet
        One per object.

    Raises
    ------
    EmbeddingMismatchError
        If another model made the embedding.
    PromptError
        If prompts say nowhere where the object is, lie outside the plane, or their logits are
        of another size.
    """
    if embedding.model_id != model_id:
        raise EmbeddingMismatchError(
            f"the embedding was made by {embedding.model_id}, the model is {model_id}; "
            "encode the image with this model"
        )
    for prompt in prompts:
        _check_on(prompt, embedding)


def _check_on(prompts: PromptSet, embedding: ImageEmbedding) -> None:
    """Raise PromptError for prompts that cannot be answered on this embedding."""
    if not prompts.is_answerable:
        raise PromptError(
            "no foreground point, box or mask logits were given; add one of them, background "
            "points alone do not say where the object is"
        )
    height, width = embedding.original_size
    limit = np.array([height, width]) - 0.5
    points = prompts.points_yx
    is_outside = ((points < -0.5) | (points > limit)).any(axis=1)
    if is_outside.any():
        raise PromptError(
            f"point (row, col) = {tuple(points[is_outside][0].tolist())} lies outside the "
            f"image of {height} × {width} pixels; move or remove it"
        )
    box = prompts.box_yxyx
    if box is not None and ((box[2:] < -0.5) | (box[:2] > limit)).any():
        raise PromptError(
            f"box (top, left, bottom, right) = {tuple(box.tolist())} lies outside the image of "
            f"{height} × {width} pixels; move or remove it"
        )
    logits = prompts.mask_logits
    if logits is not None and logits.shape != embedding.low_res_size:
        raise PromptError(
            f"mask_logits have shape {logits.shape}; this embedding needs "
            f"{embedding.low_res_size}, the shape of low_res_logits of a prediction on it"
        )
