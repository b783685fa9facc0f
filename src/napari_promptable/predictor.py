"""Encode an image once, answer prompts on it often: the stateless API.

Every function takes what it needs and returns a value; nothing is remembered between calls.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import xxhash
from torch import Tensor
from torch.nn import functional as F

from napari_promptable.checkpoints import fetch_checkpoint
from napari_promptable.embeddings import ImageEmbedding
from napari_promptable.errors import (
    CancelledError,
    CheckpointError,
    DeviceError,
    EmbeddingMismatchError,
    PromptError,
    UnknownModelError,
)
from napari_promptable.masks import Prediction
from napari_promptable.models.conv_encoder import ConvEncoder
from napari_promptable.models.loading import (
    detect_architecture,
    load_checkpoint,
    read_state_dict,
)
from napari_promptable.models.prompt_encoder import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, PADDING
from napari_promptable.models.sam import Sam
from napari_promptable.prompts import PromptSet, as_boxes_yxyx
from napari_promptable.registry import MODELS, get_model_spec
from napari_promptable.transforms import image_to_model_xy, resize_rgb8, resized_shape, to_rgb8

_DECODER_BATCH = 16  # objects per decoder call, so that memory does not grow with their number


@dataclass(frozen=True, eq=False)
class PromptableModel:
    """A network with its weights, on a device.

    Attributes
    ----------
    name : str
        Registry name, or the file name of a user's own weights.
    architecture : str
        Which network, one of `napari_promptable.models.sam.ARCHITECTURES`.
    model_id : str
        Architecture and hash of the weights; embeddings carry it.
    sam : Sam
        The network, in evaluation mode.
    """

    name: str
    architecture: str
    model_id: str
    sam: Sam

    def encode(
        self,
        image: npt.NDArray[np.generic],
        contrast_limits: tuple[float, float] | None = None,
    ) -> ImageEmbedding:
        """Call `encode_image` with this model."""
        return encode_image(self, image, contrast_limits)

    def predict(self, embedding: ImageEmbedding, prompts: PromptSet) -> Prediction:
        """Call `predict_candidates` with this model."""
        return predict_candidates(self, embedding, prompts)


def load_model(
    name_or_path: str | Path, *, architecture: str | None = None, device: str = "auto"
) -> PromptableModel:
    """Load a model by registry name, or from a weights file.

    Parameters
    ----------
    name_or_path : str or Path
        A name of `napari_promptable.registry.MODELS`, downloaded where it is not on disk, or
        the path of a weights file.
    architecture : str, optional
        Network of a weights file; found from its tensors by default.
    device : str, default "auto"
        "auto" (a GPU if there is one), or a torch device such as "cpu", "cuda:1" or "mps".

    Returns
    -------
    PromptableModel
        Ready to encode.

    Raises
    ------
    UnknownModelError
        If there is neither such a name nor such a file.
    CheckpointError
        If the weights cannot be fetched, or the file does not hold them.
    DeviceError
        If the device does not exist here.
    """
    path, name, architecture = _locate_weights(name_or_path, architecture)
    torch_device = choose_device(device)
    sam = load_checkpoint(path, architecture).to(torch_device)
    if isinstance(sam.image_encoder, ConvEncoder):  # a quarter faster than with reordering
        sam.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return PromptableModel(name, architecture, f"{architecture}-{_hash_file(path)}", sam)


def _locate_weights(
    name_or_path: str | Path, architecture: str | None
) -> tuple[Path, str, str]:
    """Find file, name and architecture of a model."""
    if str(name_or_path) in MODELS:
        spec = get_model_spec(str(name_or_path))
        if architecture not in (None, spec.architecture):
            raise UnknownModelError(
                f"model {spec.name} is a {spec.architecture}, not a {architecture}; leave the "
                "architecture out, or give the path of your own weights file"
            )
        return fetch_checkpoint(spec.name), spec.name, spec.architecture
    path = Path(name_or_path)
    if not path.is_file():
        if path.suffix:
            raise CheckpointError(f"no weights file at {path}; check the path")
        get_model_spec(str(name_or_path))
    if architecture is None:
        architecture = detect_architecture(read_state_dict(path))
    if architecture is None:
        raise UnknownModelError(
            f"{path} holds none of the known networks; name one with architecture=…"
        )
    return path, path.name, architecture


def _hash_file(path: Path) -> str:
    """xxh128 of a file's bytes."""
    digest = xxhash.xxh128()
    with open(path, "rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def choose_device(device: str = "auto") -> torch.device:
    """Choose a torch device by name.

    Parameters
    ----------
    device : str, default "auto"
        "auto" takes CUDA, then Apple's MPS, then the CPU.

    Returns
    -------
    torch.device
        One that works here.

    Raises
    ------
    DeviceError
        If the name is unknown or the device is not available.
    """
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if device == "auto":
        return torch.device(available[0])
    try:
        chosen = torch.device(device)
        is_available = chosen.type in available and (
            chosen.type != "cuda" or (chosen.index or 0) < torch.cuda.device_count()
        )
    except RuntimeError:
        is_available = False
    if not is_available:
        raise DeviceError(
            f"device {device!r} is not available here; choose auto or one of "
            f"{', '.join(available)}"
        )
    return chosen


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
    input_size = resized_shape(original_size, model.sam.image_size)
    resized = resize_rgb8(rgb, input_size)
    pixels = torch.from_numpy(resized.copy()).to(model.sam.device)
    pixels = pixels.permute(2, 0, 1)[None].float()
    with _cancellation(model.sam.image_encoder, is_cancelled):
        features = model.sam.encode(pixels)[0].float().cpu().contiguous().numpy()
    return ImageEmbedding(features, original_size, input_size, model.model_id)


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
    model: PromptableModel,
    embedding: ImageEmbedding,
    prompts: PromptSet,
    multimask_output: bool = True,
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
    multimask_output : bool, default True
        True: the three levels of an ambiguous prompt. False: the one answer to a clear one.

    Returns
    -------
    Prediction
        With 3 candidates, or 1, in the model's own mask order.

    Raises
    ------
    EmbeddingMismatchError
        If another model made the embedding.
    PromptError
        If the prompts say nowhere where the object is, lie outside the image, or their logits
        are of another size.
    """
    return predict_many(model, embedding, [prompts], multimask_output)[0]


def predict_many(
    model: PromptableModel,
    embedding: ImageEmbedding,
    prompts: Sequence[PromptSet],
    multimask_output: bool = True,
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
    chosen = [1, 2, 3] if multimask_output else [0]
    return [
        _upsample(logits[chosen], predicted_iou[chosen], model.sam, embedding)
        for logits, predicted_iou in _decode_all(model, embedding, prompts)
    ]


def predict_candidates(
    model: PromptableModel, embedding: ImageEmbedding, prompts: PromptSet
) -> Prediction:
    """Answer one object's prompts with three candidates and a default among them.

    A single click is ambiguous: the candidates are the three levels, the default has the
    highest predicted IoU. For other prompts the first candidate and default is the model's
    single answer; the two best of the levels follow.

    Parameters
    ----------
    model, embedding, prompts
        As in `predict_masks`.

    Returns
    -------
    Prediction
        With 3 candidates.

    Raises
    ------
    EmbeddingMismatchError, PromptError
        As in `predict_masks`.
    """
    [(logits, predicted_iou)] = _decode_all(model, embedding, [prompts])
    if prompts.is_ambiguous:
        chosen = [1, 2, 3]
        default = int(predicted_iou[chosen].argmax())
    else:
        levels = 1 + predicted_iou[1:].argsort(descending=True)
        chosen, default = [0, *levels[:2].tolist()], 0
    return _upsample(logits[chosen], predicted_iou[chosen], model.sam, embedding, default)


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
    prompts = [PromptSet(box_yxyx=box) for box in as_boxes_yxyx(boxes_yxyx)]
    embedding = encode_image(model, image)
    labels = np.zeros(embedding.original_size, np.int32)
    predictions = predict_many(model, embedding, prompts, multimask_output=False)
    for index in np.argsort([prediction.predicted_iou[0] for prediction in predictions]):
        labels[predictions[index].masks[0]] = index + 1
    return labels


@torch.inference_mode()
def _decode_all(
    model: PromptableModel, embedding: ImageEmbedding, prompts: Sequence[PromptSet]
) -> list[tuple[Tensor, Tensor]]:
    """Logits (4, h, w) and predicted IoU (4,) of each object, batched by number of tokens."""
    _check_embedding(model, embedding)
    for prompt in prompts:
        _check_prompts(prompt, embedding)
    features = torch.from_numpy(embedding.features).to(model.sam.device)[None]
    always_pads = model.sam.prompt_encoder.with_prompt_maps
    tokens = [_to_tokens(prompt, embedding, always_pads) for prompt in prompts]

    def batch_key(index: int) -> tuple[int, bool]:
        return len(tokens[index][1]), prompts[index].mask_logits is not None

    answers: dict[int, tuple[Tensor, Tensor]] = {}
    for (_, has_mask), group in groupby(sorted(range(len(prompts)), key=batch_key), batch_key):
        members = list(group)
        for start in range(0, len(members), _DECODER_BATCH):
            batch = members[start : start + _DECODER_BATCH]
            points = np.stack([tokens[i][0] for i in batch])
            labels = np.stack([tokens[i][1] for i in batch])
            masks = None
            if has_mask:
                masks = _to_device([prompts[i].mask_logits for i in batch], model.sam)[:, None]
            logits, predicted_iou = model.sam.decode(
                features, _to_device(points, model.sam), _to_device(labels, model.sam), masks
            )
            answers |= dict(zip(batch, zip(logits, predicted_iou, strict=True), strict=True))
    return [answers[index] for index in range(len(prompts))]


def _to_device(array: object, sam: Sam) -> Tensor:
    return torch.from_numpy(np.asarray(array)).to(sam.device)


def _check_embedding(model: PromptableModel, embedding: ImageEmbedding) -> None:
    if embedding.model_id != model.model_id:
        raise EmbeddingMismatchError(
            f"the embedding was made by {embedding.model_id}, the model is {model.model_id}; "
            "encode the image with this model"
        )


def _check_prompts(prompts: PromptSet, embedding: ImageEmbedding) -> None:
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


def _to_tokens(
    prompts: PromptSet, embedding: ImageEmbedding, always_pads: bool
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Clicks, then the box's corners or, without a box, one padding point, as SAM does.

    SAM gives none to mask logits alone; a model with prompt maps is never without a token.
    """
    if prompts.box_yxyx is None:
        count = 1 if len(prompts.points_yx) or always_pads else 0
        corners_yx, codes = np.zeros((count, 2), np.float32), [PADDING] * count
    else:
        corners_yx, codes = prompts.box_yxyx.reshape(2, 2), [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]
    positions_yx = np.concatenate([prompts.points_yx, corners_yx])
    labels = np.concatenate([prompts.point_labels, np.array(codes, np.int64)])
    positions_xy = image_to_model_xy(
        positions_yx, embedding.original_size, embedding.input_size
    )
    return positions_xy, labels


@torch.inference_mode()
def _upsample(
    logits: Tensor,
    predicted_iou: Tensor,
    sam: Sam,
    embedding: ImageEmbedding,
    default: int | None = None,
) -> Prediction:
    """Bring logits to image pixels in two steps, as SAM does, and threshold them."""
    height, width = embedding.input_size
    scale = sam.patch_stride // 4
    padded_size = tuple(scale * side for side in logits.shape[-2:])
    upsampled = F.interpolate(logits[None], padded_size, mode="bilinear")
    upsampled = F.interpolate(
        upsampled[..., :height, :width], embedding.original_size, mode="bilinear"
    )
    masks = (upsampled[0] > sam.mask_threshold).cpu().numpy()
    confidence = predicted_iou.float().cpu().numpy()
    return Prediction(
        masks,
        confidence,
        logits.float().cpu().numpy(),
        int(confidence.argmax()) if default is None else default,
    )
