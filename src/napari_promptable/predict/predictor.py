"""Encode an image once, answer prompts on it often: the stateless API.

Every function takes what it needs and returns a value; nothing is remembered between calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from napari_promptable.errors import UnknownModelError
from napari_promptable.masks import BoolArray
from napari_promptable.models.sam import Sam
from napari_promptable.models.sam2.sam2 import Sam2
from napari_promptable.predict.answers import Wanted, answer_all, to_prediction
from napari_promptable.predict.checks import check_prompts
from napari_promptable.predict.decoding import FrameMasks
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.encoding import encode_rgb
from napari_promptable.predict.frames import encode_frames
from napari_promptable.predict.object_memory import Trail, follow_trails, remember_mask
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.progress import IsCancelled
from napari_promptable.prompts import PromptSet
from napari_promptable.transforms import to_rgb8

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
        is_cancelled: IsCancelled | None = None,
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
        wanted = [wanted_masks(self.sam, each, multimask_output) for each in prompts]
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


def encode_image(
    model: PromptableModel,
    image: npt.ArrayLike,
    contrast_limits: tuple[float, float] | None = None,
    *,
    is_cancelled: IsCancelled | None = None,
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
    return encode_rgb(model.sam, model.model_id, rgb, is_cancelled)


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
        None: as prompts and network need. A single click is ambiguous and gets the levels,
        unless the network answers it better as if it were clear (`Sam.compares_levels`).
        Others get the answer to a clear prompt first, followed by the two best levels.

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


def wanted_masks(sam: Sam, prompts: PromptSet, multimask_output: bool | None) -> Wanted:
    """Which of the decoder's masks answer one object's prompts."""
    with_levels = multimask_output
    if with_levels is None:
        with_levels = prompts.is_ambiguous and sam.compares_levels
    return _LEVELS if with_levels else _SINGLE


def _candidates(answer: FrameMasks, wanted: Wanted, with_levels: bool) -> list[int]:
    """Masks of an answer in the order in which they are offered, the wanted ones first."""
    if wanted == _LEVELS or not with_levels:
        return list(wanted)
    ranked = 1 + answer.sureness[1:].argsort(descending=True)
    return [*wanted, *ranked[:2].tolist()]
