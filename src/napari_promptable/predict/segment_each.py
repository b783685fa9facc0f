"""Many objects at once: one per box or per point, as one label image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_promptable.masks import keep_clicked_part
from napari_promptable.predict.predictor import PromptableModel, encode_image, predict_many
from napari_promptable.prompts import PromptSet, as_boxes_yxyx, as_points_yx

_NUM_AT_ONCE = 16  # objects whose masks of the whole plane are held


def segment_boxes(
    model: PromptableModel, image: npt.ArrayLike, boxes_yxyx: npt.ArrayLike
) -> npt.NDArray[np.int32]:
    """Segment one object per box.

    Parameters
    ----------
    model : PromptableModel
        From `load_model`.
    image : array_like, shape (H, W), (H, W, 3) or (H, W, 4), any real dtype
        As in `encode_image`.
    boxes_yxyx : array_like of float, shape (B, 4)
        Rows and columns of each object's first and last pixel.

    Returns
    -------
    ndarray of int32, shape (H, W)
        0 is background; box k gives label k + 1. Where masks overlap, the one with the higher
        predicted IoU is on top.

    Raises
    ------
    ImageFormatError, PromptError
        If the image cannot be encoded or a box is malformed or outside.
    """
    boxes = as_boxes_yxyx(boxes_yxyx)
    return _segment_each(model, image, [PromptSet(box_yxyx=box) for box in boxes], False)


def segment_points(
    model: PromptableModel,
    image: npt.ArrayLike,
    points_yx: npt.ArrayLike,
    *,
    one_part: bool = True,
) -> npt.NDArray[np.int32]:
    """Segment one object per point.

    Parameters
    ----------
    model : PromptableModel
        From `load_model`.
    image : array_like, shape (H, W), (H, W, 3) or (H, W, 4), any real dtype
        As in `encode_image`.
    points_yx : array_like of float, shape (P, 2)
        A position inside each object, (row, col) in image pixels.
    one_part : bool, default True
        Keep only the connected part of a mask that holds its point, and fill small holes.

    Returns
    -------
    ndarray of int32, shape (H, W)
        0 is background; point k gives label k + 1, its mask the candidate with the highest
        predicted IoU. Where masks overlap, the one with the higher predicted IoU is on top.

    Raises
    ------
    ImageFormatError, PromptError
        If the image cannot be encoded or a point is malformed or outside.
    """
    points = as_points_yx(points_yx)
    prompts = [PromptSet(points_yx=[point]) for point in points]
    return _segment_each(model, image, prompts, True, one_part=one_part)


def _segment_each(
    model: PromptableModel,
    image: npt.ArrayLike,
    prompts: Sequence[PromptSet],
    multimask_output: bool,
    *,
    one_part: bool = False,
) -> npt.NDArray[np.int32]:
    """Paint the best mask of each prompt, the most confident one on top."""
    embedding = encode_image(model, image)
    labels = np.zeros(embedding.original_size, np.int32)
    confidence = np.full(labels.shape, -np.inf, np.float32)
    for start in range(0, len(prompts), _NUM_AT_ONCE):
        some = prompts[start : start + _NUM_AT_ONCE]
        predictions = predict_many(model, embedding, some, multimask_output=multimask_output)
        for label, prediction in enumerate(predictions, start + 1):
            iou, mask = (
                prediction.predicted_iou[prediction.best],
                prediction.mask(prediction.best),
            )
            if one_part:
                points_yx = prompts[label - 1].points_yx
                mask = keep_clicked_part(mask, points_yx, points_yx[:0])
            is_on_top = mask & (confidence < iou)
            labels[is_on_top], confidence[is_on_top] = label, iou
    return labels
