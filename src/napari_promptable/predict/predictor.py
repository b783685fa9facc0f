"""Encode an image once, answer prompts on it often: the stateless API.

Every function takes what it needs and returns a value; nothing is remembered between calls.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from napari_promptable.errors import (
    CancelledError,
    EmbeddingMismatchError,
    PromptError,
    UnknownModelError,
)
from napari_promptable.masks import BoolArray, keep_clicked_part
from napari_promptable.models.sam import Sam
from napari_promptable.models.sam2.sam2 import Sam2
from napari_promptable.predict.answers import Wanted, answer_all, to_prediction
from napari_promptable.predict.decoding import FrameMasks
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.frames import encode_frames, encode_pixels
from napari_promptable.predict.object_memory import Trail, follow_trails, remember_mask
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.prompts import PromptSet, as_boxes_yxyx, as_points_yx
from napari_promptable.transforms import resize_rgb8, resized_shape, to_rgb8

_LOW_RES_SIDES = (256, 1024)  # least and greatest longest side of tiled models' logits
_NUM_AT_ONCE = 16  # objects whose masks of the whole plane are held
_SINGLE, _LEVELS = (0,), (1, 2, 3)  # which masks answer a clear and an ambiguous prompt


@dataclass(frozen=True, eq=False)
class PromptableModel:
    """A network with its weights, on a device.

    Attributes
    ----------
    name : str
        Registry name, or the file name of a user's own weights.
    architecture : str
        Which network, one of `napari_promptable.models.architectures.ARCHITECTURES`.
    model_id : str
        Architecture, hash of the weights, and precision if it is lowered; embeddings carry it.
    sam : Sam
        The network, in evaluation mode.
    read_weights : callable or None
        Reads the weights as they were before the network was prepared for speed; None if they
        are not kept anywhere, so that the model cannot learn.
    """

    name: str
    architecture: str
    model_id: str
    sam: Sam
    read_weights: Callable[[], dict[str, torch.Tensor]] | None = None

    def encode(
        self,
        image: npt.NDArray[np.generic],
        contrast_limits: tuple[float, float] | None = None,
        *,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> ImageEmbedding:
        """Call `encode_image` with this model."""
        return encode_image(self, image, contrast_limits, is_cancelled=is_cancelled)

    def predict_many(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[PromptSet],
        multimask_output: bool | None = True,
    ) -> list[Prediction]:
        """Answer the prompts of many objects, see the function `predict_many`."""
        check_prompts(self.model_id, embedding, prompts)
        wanted = [wanted_masks(each, multimask_output) for each in prompts]
        return [
            to_prediction(
                answer,
                _candidates(answer, masks, multimask_output is None),
                default=None if masks == _LEVELS else 0,
            )
            for answer, masks in zip(
                answer_all(self.sam, embedding, prompts, wanted), wanted, strict=True
            )
        ]

    @property
    def has_memory(self) -> bool:
        """Whether it can follow objects from plane to plane by memory, as SAM 2.1 can."""
        return isinstance(self.sam, Sam2)

    def remember(self, embedding: ImageEmbedding, mask: BoolArray) -> Trail:
        """Call `remember_mask` with this model."""
        check_prompts(self.model_id, embedding, ())
        return remember_mask(self._sam2, embedding, mask)

    def follow(
        self, embedding: ImageEmbedding, trails: Sequence[Trail], num_planes: int
    ) -> list[tuple[Prediction, Trail]]:
        """Call `follow_trails` with this model."""
        check_prompts(self.model_id, embedding, ())
        return follow_trails(self._sam2, embedding, trails, num_planes)

    @property
    def _sam2(self) -> Sam2:
        """The network, if it has a memory."""
        if not isinstance(self.sam, Sam2):
            raise UnknownModelError(
                f"model {self.name} has no memory; choose a model of SAM 2.1, whose names "
                "begin with sam2.1_hiera"
            )
        return self.sam

    @property
    def looks_closer(self) -> bool:
        """Whether it encodes magnified parts of the image too, where prompts need them."""
        return self.sam.tile_size is not None

    @property
    def carries_masks(self) -> bool:
        """Whether it finds an object better by a neighbouring slice's mask than by a box."""
        return self.sam.with_carried_masks

    def look_closer(self, embedding: ImageEmbedding, prompts: PromptSet) -> None:
        """Encode the parts that prompts will need, so that their answer comes sooner."""
        encode_frames(self.sam, embedding, prompts)


@torch.inference_mode()
def encode_image(
    model: PromptableModel,
    image: npt.ArrayLike,
    contrast_limits: tuple[float, float] | None = None,
    *,
    is_cancelled: Callable[[], bool] | None = None,
) -> ImageEmbedding:
    """Run the image encoder on one plane.

    Parameters
    ----------
    model : PromptableModel
        From `load_model`.
    image : array_like, shape (H, W), (H, W, 3) or (H, W, 4), any real dtype
        Grey, RGB or RGBA; alpha is left out. NaN becomes black.
    contrast_limits : (float, float), optional
        Values that become black and white; robust percentiles by default. An 8-bit RGB image
        with (0, 255) is fed to the network exactly as the reference implementation does.
    is_cancelled : callable, optional
        Asked before each layer of the encoder; True stops it.

    Returns
    -------
    ImageEmbedding
        What `predict_masks` needs.

    Raises
    ------
    ImageFormatError
        If shape, dtype, content or limits cannot be used.
    CancelledError
        If it was stopped.
    """
    rgb = to_rgb8(image, contrast_limits)
    original_size = (rgb.shape[0], rgb.shape[1])
    input_size, pixels = _to_input(model.sam, rgb)
    with _cancellation(model.sam.image_encoder, is_cancelled):
        features = encode_pixels(model.sam, pixels)
    if model.sam.tile_size is not None:
        size = _low_res_size_of_tiled(original_size)
        return ImageEmbedding(
            features, original_size, input_size, model.model_id, size, size, rgb
        )
    stride = model.sam.patch_stride // 4
    return ImageEmbedding(
        features,
        original_size,
        input_size,
        model.model_id,
        low_res_size=(4 * features.shape[1], 4 * features.shape[2]),
        low_res_valid=(-(-input_size[0] // stride), -(-input_size[1] // stride)),
    )


def _to_input(
    sam: Sam, rgb: npt.NDArray[np.uint8]
) -> tuple[tuple[int, int], npt.NDArray[np.uint8]]:
    """Size of an image in the network's input, and what the network is given of it."""
    if sam.squashes_images:
        return (sam.image_size, sam.image_size), rgb
    input_size = resized_shape((rgb.shape[0], rgb.shape[1]), sam.image_size)
    return input_size, resize_rgb8(rgb, input_size)


def _low_res_size_of_tiled(original_size: tuple[int, int]) -> tuple[int, int]:
    """Size of logits that cover the image: its own, within limits of the longest side."""
    longest_side = min(max(max(original_size), _LOW_RES_SIDES[0]), _LOW_RES_SIDES[1])
    return resized_shape(original_size, longest_side)


@contextmanager
def _cancellation(
    module: torch.nn.Module, is_cancelled: Callable[[], bool] | None
) -> Iterator[None]:
    """Raise CancelledError before the next layer of this thread's forward pass, when asked."""
    if is_cancelled is None:
        yield
        return
    thread = threading.get_ident()

    def stop_if_cancelled(*_: object) -> None:
        if threading.get_ident() == thread and is_cancelled():
            raise CancelledError("encoding was cancelled")

    handles = [part.register_forward_pre_hook(stop_if_cancelled) for part in module.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def predict_masks(
    model: Segmenter,
    embedding: ImageEmbedding,
    prompts: PromptSet,
    multimask_output: bool | None = True,
) -> Prediction:
    """Answer one object's prompts.

    Parameters
    ----------
    model : PromptableModel
        The one that made the embedding.
    embedding : ImageEmbedding
        From `encode_image`.
    prompts : PromptSet
        At least a foreground point, a box or mask logits.
    multimask_output : bool or None, default True
        True: the three levels of an ambiguous prompt. False: the one answer to a clear one.
        None: as the prompts need. A single click is ambiguous and gets the levels; for others
        the answer to a clear prompt comes first, followed by the two best levels.

    Returns
    -------
    Prediction
        With 3 candidates, or 1 for False. The levels are in the model's own mask order. The
        default is the level with the highest predicted IoU, or the answer to a clear prompt.

    Raises
    ------
    EmbeddingMismatchError
        If another model made the embedding.
    PromptError
        If the prompts say nowhere where the object is, lie outside the image, or their logits
        are of another size.
    """
    return model.predict_many(embedding, [prompts], multimask_output)[0]


def predict_many(
    model: Segmenter,
    embedding: ImageEmbedding,
    prompts: Sequence[PromptSet],
    multimask_output: bool | None = True,
) -> list[Prediction]:
    """Answer the prompts of many objects on one plane, in batches.

    Parameters
    ----------
    model, embedding, multimask_output
        As in `predict_masks`.
    prompts : sequence of PromptSet
        One per object.

    Returns
    -------
    list of Prediction
        In the order of `prompts`; each the same as `predict_masks` gives.

    Raises
    ------
    EmbeddingMismatchError, PromptError
        As in `predict_masks`; nothing is predicted then.
    """
    return model.predict_many(embedding, prompts, multimask_output)


def wanted_masks(prompts: PromptSet, multimask_output: bool | None) -> Wanted:
    """Which of the decoder's masks answer one object's prompts."""
    with_levels = prompts.is_ambiguous if multimask_output is None else multimask_output
    return _LEVELS if with_levels else _SINGLE


def _candidates(answer: FrameMasks, wanted: Wanted, with_levels: bool) -> list[int]:
    """Masks of an answer in the order in which they are offered, the wanted ones first."""
    if wanted == _LEVELS or not with_levels:
        return list(wanted)
    ranked = 1 + answer.predicted_iou[1:].argsort(descending=True)
    return [*wanted, *ranked[:2].tolist()]


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


def check_prompts(
    model_id: str, embedding: ImageEmbedding, prompts: Sequence[PromptSet]
) -> None:
    """Refuse another model's embedding, and prompts that cannot be answered."""
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
