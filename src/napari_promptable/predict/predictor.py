"""Encode an image once, answer prompts on it often: the stateless API.

Every function takes what it needs and returns a value; nothing is remembered between calls.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import xxhash

from napari_promptable.errors import (
    CancelledError,
    CheckpointError,
    DeviceError,
    EmbeddingMismatchError,
    PromptError,
    UnknownModelError,
)
from napari_promptable.masks import Prediction
from napari_promptable.models.cpu.prepare import prepare_for_inference
from napari_promptable.models.sam import Sam
from napari_promptable.predict.decoding import (
    Answer,
    answer_all,
    encode_pixels,
    encode_tiles,
    to_prediction,
)
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.prompts import PromptSet, as_boxes_yxyx
from napari_promptable.transforms import resize_rgb8, resized_shape, to_rgb8
from napari_promptable.weights.checkpoints import fetch_checkpoint
from napari_promptable.weights.loading import (
    detect_architecture,
    load_checkpoint,
    read_state_dict,
)
from napari_promptable.weights.registry import MODELS, get_model_spec

_LOW_RES_SIDES = (256, 1024)  # least and greatest longest side of tiled models' logits
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""What `load_model` takes."""

_SINGLE, _LEVELS = 0, (1, 2, 3)  # which masks answer a clear and an ambiguous prompt


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
        Architecture, hash of the weights, and precision if it is lowered; embeddings carry it.
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
        *,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> ImageEmbedding:
        """Call `encode_image` with this model."""
        return encode_image(self, image, contrast_limits, is_cancelled=is_cancelled)

    def predict(self, embedding: ImageEmbedding, prompts: PromptSet) -> Prediction:
        """Call `predict_candidates` with this model."""
        return predict_candidates(self, embedding, prompts)

    def predict_each(
        self, embedding: ImageEmbedding, prompts: Sequence[PromptSet]
    ) -> list[Prediction]:
        """Call `predict_candidates_of_each` with this model."""
        return predict_candidates_of_each(self, embedding, prompts)

    @property
    def looks_closer(self) -> bool:
        """Whether it encodes magnified parts of the image too, where prompts need them."""
        return self.sam.tile_size is not None

    @property
    def carries_masks(self) -> bool:
        """Whether it can find an object by its mask on a neighbouring slice alone."""
        return self.sam.with_carried_masks

    def look_closer(self, embedding: ImageEmbedding, prompts: PromptSet) -> None:
        """Encode the parts that prompts will need, so that their answer comes sooner."""
        encode_tiles(self.sam, embedding, prompts)


def load_model(
    name_or_path: str | Path,
    *,
    architecture: str | None = None,
    device: str = "auto",
    precision: str = "float32",
) -> PromptableModel:
    """Load a model by registry name, or from a weights file.

    Parameters
    ----------
    name_or_path : str or Path
        A name of `napari_promptable.MODELS`, downloaded where it is not on disk, or the path of
        a weights file.
    architecture : str, optional
        Network of a weights file; found from its tensors by default.
    device : str, default "auto"
        "auto" (a GPU if there is one), or a torch device such as "cpu", "cuda:1" or "mps".
    precision : str, default "float32"
        "float32", or "bfloat16" for products of half the precision: faster on GPUs and on CPUs
        with AMX, slower on others; masks change a little.

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
        If the device does not exist here, or there is no such precision.
    """
    if precision not in PRECISIONS:
        raise DeviceError(
            f"precision {precision!r} is unknown; choose one of {', '.join(PRECISIONS)}"
        )
    path, name, architecture = _locate_weights(name_or_path, architecture)
    torch_device = choose_device(device)
    sam = load_checkpoint(path, architecture).to(torch_device)
    model_id = f"{architecture}-{_hash_file(path)}"
    if precision != "float32":
        sam.precision = PRECISIONS[precision]
        model_id += f"-{precision}"
    elif torch_device.type == "cpu":
        prepare_for_inference(sam)
    return PromptableModel(name, architecture, model_id, sam)


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
        architecture = detect_architecture(read_state_dict(path, mmap=True))
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
    with _cancellation(model.sam.image_encoder, is_cancelled):
        features = encode_pixels(model.sam, resize_rgb8(rgb, input_size))
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
    chosen = _LEVELS if multimask_output else [_SINGLE]
    _check(model, embedding, prompts)
    return [
        to_prediction(model.sam, embedding, answer, chosen)
        for answer in answer_all(model.sam, embedding, prompts, chosen)
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
    return predict_candidates_of_each(model, embedding, [prompts])[0]


def predict_candidates_of_each(
    model: PromptableModel, embedding: ImageEmbedding, prompts: Sequence[PromptSet]
) -> list[Prediction]:
    """Answer the prompts of many objects on one plane with candidates, in batches.

    Parameters
    ----------
    model, embedding
        As in `predict_masks`.
    prompts : sequence of PromptSet
        One per object.

    Returns
    -------
    list of Prediction
        In the order of `prompts`; each the same as `predict_candidates` gives.

    Raises
    ------
    EmbeddingMismatchError, PromptError
        As in `predict_masks`; nothing is predicted then.
    """
    _check(model, embedding, prompts)
    predictions: dict[int, Prediction] = {}
    for is_ambiguous, wanted in ((True, _LEVELS), (False, (_SINGLE,))):
        members = [i for i, p in enumerate(prompts) if p.is_ambiguous is is_ambiguous]
        answers = answer_all(model.sam, embedding, [prompts[i] for i in members], wanted)
        for i, answer in zip(members, answers, strict=True):
            predictions[i] = _to_candidates(model.sam, embedding, answer, is_ambiguous)
    return [predictions[i] for i in range(len(prompts))]


def _to_candidates(
    sam: Sam, embedding: ImageEmbedding, answer: Answer, is_ambiguous: bool
) -> Prediction:
    """Put an answer's masks in the order in which they are offered."""
    if is_ambiguous:
        return to_prediction(sam, embedding, answer, _LEVELS)
    ranked = 1 + answer.predicted_iou[1:].argsort(descending=True)
    return to_prediction(sam, embedding, answer, [_SINGLE, *ranked[:2].tolist()], default=0)


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
        labels[predictions[index].mask(0)] = index + 1
    return labels


def _check(
    model: PromptableModel, embedding: ImageEmbedding, prompts: Sequence[PromptSet]
) -> None:
    """Refuse another model's embedding, and prompts that cannot be answered."""
    if embedding.model_id != model.model_id:
        raise EmbeddingMismatchError(
            f"the embedding was made by {embedding.model_id}, the model is {model.model_id}; "
            "encode the image with this model"
        )
    for prompt in prompts:
        _check_prompts(prompt, embedding)


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
