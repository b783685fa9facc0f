"""Networks that learn, made from a model, and models made from what they learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import xxhash
from torch import Tensor, nn

from napari_promptable.errors import LearningError
from napari_promptable.learning.settings import TrainedPart
from napari_promptable.models.cpu.prepare import prepare_decoder, prepare_for_inference
from napari_promptable.models.sam import Sam
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.weights.loading import build_from_weights

ENCODER = "image_encoder."
_DECODER = ("prompt_encoder.", "mask_decoder.")
_OF_EMBEDDINGS = "mask_decoder.conv_s"  # SAM 2's embeddings have gone through these layers


@dataclass(frozen=True, eq=False)
class Parent:
    """The model to start from.

    Attributes
    ----------
    model : PromptableModel
        As it answers.
    weights : dict of str to Tensor
        Its weights, without the image encoder's if that does not learn.
    trains_encoder : bool
        Whether the image encoder learns. If not, all models made from this one share its
        embeddings.
    """

    model: PromptableModel
    weights: dict[str, Tensor]
    trains_encoder: bool

    def make_network(self) -> Sam:
        """Make a network that learns: gradients on, batch statistics frozen.

        A network that sees whole planes has no such statistics, and SAM 2 shows all of its
        masks in training mode only.
        """
        copies = {name: weight.clone() for name, weight in self.weights.items()}
        encoder = None if self.trains_encoder else nn.Identity()
        network = build_from_weights(self.model.architecture, copies, encoder)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(self._learns(name))
        return network.train(self.model.sam.tile_size is None)

    def _learns(self, name: str) -> bool:
        """Whether a weight may change."""
        if self.model.sam.tile_size is not None:
            return name in self.weights
        return name.startswith(_DECODER) and not name.startswith(_OF_EMBEDDINGS)

    def between(self, learned: Mapping[str, Tensor], step: float) -> dict[str, Tensor]:
        """Weights a share of the way to the learned ones, rounded as they are stored."""
        return {
            name: torch.lerp(self.weights[name], weight, step).half().float()
            for name, weight in learned.items()
        }

    def make_model(self, learned: Mapping[str, Tensor], name: str) -> PromptableModel:
        """Make a model of the parent's weights, some of them replaced."""
        parent = self.model
        weights = {**self.weights, **learned}
        encoder = None if self.trains_encoder else parent.sam.image_encoder
        sam = build_from_weights(
            parent.architecture, {n: w.clone() for n, w in weights.items()}, encoder
        ).to(parent.sam.device)
        sam.precision = parent.sam.precision
        if parent.sam.device.type == "cpu" and sam.precision == torch.float32:
            prepare = prepare_decoder if encoder is not None else prepare_for_inference
            prepare(sam)

        def read_weights() -> dict[str, Tensor]:
            assert parent.read_weights is not None
            return {**parent.read_weights(), **learned}

        model_id = f"{parent.architecture}-{hash_weights(parent.model_id, learned)}"
        return PromptableModel(name, parent.architecture, model_id, sam, read_weights)


def open_parent(model: PromptableModel, part: TrainedPart) -> Parent:
    """Read the weights that learning starts from.

    Raises
    ------
    LearningError
        If the encoder of a large network is to learn, or the model's weights are not at hand.
    """
    sees_whole_planes = model.sam.tile_size is None
    if sees_whole_planes and part is TrainedPart.ALL:
        raise LearningError(
            f"the image encoder of {model.name} is too large to learn here; choose the part "
            "'decoder', or 'auto'"
        )
    if model.read_weights is None:
        raise LearningError(
            f"the weights of {model.name} are not at hand; load it with load_model"
        )
    trains_encoder = not sees_whole_planes and part is not TrainedPart.DECODER
    weights = model.read_weights()
    if not trains_encoder:
        weights = {n: w for n, w in weights.items() if not n.startswith(ENCODER)}
    return Parent(model, weights, trains_encoder)


def hash_weights(parent_id: str, learned: Mapping[str, Tensor]) -> str:
    """Hash the parent's id and what was learned."""
    digest = xxhash.xxh128(parent_id.encode())
    for name, weight in sorted(learned.items()):
        digest.update(name.encode())
        digest.update(weight.half().contiguous().numpy().tobytes())
    return digest.hexdigest()
