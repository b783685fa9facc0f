"""Cases of SAM 2.1: encoding, one click, and one slice by memory.

"reference" is the authors' code with the same random weights.
"""

from __future__ import annotations

import copy
from functools import cache, partial
from typing import Any

import numpy as np
import torch

import napari_promptable as npp
from benchmarks.timing import Task
from napari_promptable.models.architectures import build_sam
from napari_promptable.models.cpu.prepare import prepare_for_inference
from napari_promptable.models.sam2.memory_bank import MAX_POINTERS, ObjectMemory
from napari_promptable.models.sam2.sam2 import Sam2
from napari_promptable.models.sam2.tracking import follow_object, show_object
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.weights.sam2_names import to_our_names
from tests.parity.reference_sam2 import build_reference, make_image_predictor

SIDE = 1024


@cache
def load_pair(name: str) -> tuple[Any, Sam2]:
    """The reference's model and ours, as trained."""
    reference = build_reference(name, is_small=False)
    ours = build_sam(name)
    assert isinstance(ours, Sam2)
    ours.load_state_dict(to_our_names(reference.state_dict()))
    return reference, ours.eval().requires_grad_(False)


def prepare(name: str, packed: bool | None = None) -> Sam2:
    """Our model, prepared for inference."""
    sam = prepare_for_inference(copy.deepcopy(load_pair(name)[1]), packed)
    assert isinstance(sam, Sam2)
    return sam


def encode(name: str) -> dict[str, Task]:
    """Image encoder on 1024 × 1024 pixels, with everything a click needs."""
    reference, _ = load_pair(name)
    image = 255 * torch.rand(1, 3, SIDE, SIDE)
    return {
        "reference": partial(reference.forward_image, image),
        "ours": partial(prepare(name).encode, image),
        "ours, public operations": partial(prepare(name, packed=False).encode, image),
    }


def click(size: int) -> dict[str, Task]:
    """One click, the smallest size of SAM 2.1, masks in image pixels."""
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    reference, ours = load_pair("hiera_tiny")
    predictor = make_image_predictor(reference, ours.image_size)
    predictor.set_image(image)
    model = PromptableModel("hiera_tiny", "hiera_tiny", "test", prepare("hiera_tiny"))
    embedding = npp.encode_image(model, image, (0, 255))
    position = size // 3
    prompts = npp.PromptSet([[position, position]])
    point = np.array([[position, position]])

    def ask() -> npp.Prediction:
        return npp.predict_masks(model, embedding, prompts)

    return {
        "reference": lambda: predictor.predict(point, np.array([1])),
        "ours": lambda: _best_mask(ask()),
        "ours, three masks": lambda: ask().masks,
    }


def _best_mask(prediction: npp.Prediction) -> object:
    return prediction.mask(prediction.best)


def follow() -> dict[str, Task]:
    """One slice by a full memory: seven spatial memories, sixteen pointers."""
    reference, plain = load_pair("hiera_tiny")
    ours = prepare("hiera_tiny")
    image = 255 * torch.rand(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        features = plain.encode(image)
        mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
        mask[300:500, 400:700] = True
        found = show_object(plain, features, mask).memory
        memory = ObjectMemory().with_prompted(0, found)
        for frame in range(1, MAX_POINTERS):
            memory = memory.with_followed(frame, found)
        backbone = reference.forward_image(plain.normalise(image))
        _, levels, positions, sizes = reference._prepare_backbone_features(backbone)

    def to_output(memory: Any) -> dict[str, Any]:
        places = reference.memory_encoder.position_encoding(found.features[None].float())
        features = None if memory.features is None else memory.features[None].float()
        return {
            "maskmem_features": features,
            "maskmem_pos_enc": [places],
            "obj_ptr": memory.pointer[None],
        }

    outputs = {
        "cond_frame_outputs": {0: to_output(found)},
        "non_cond_frame_outputs": {frame: to_output(found) for frame in range(1, MAX_POINTERS)},
    }

    def follow_with_reference() -> object:
        return reference.track_step(
            MAX_POINTERS, False, levels, positions, sizes, None, None, outputs, 500
        )

    return {
        "reference": follow_with_reference,
        "ours": lambda: follow_object(ours, features, memory, MAX_POINTERS, 500),
    }


CASES = {
    "encode hiera_tiny": partial(encode, "hiera_tiny"),
    "encode hiera_base_plus": partial(encode, "hiera_base_plus"),
    **{f"SAM 2.1 click {size}": partial(click, size) for size in (1024, 4096)},
    "SAM 2.1 slice by memory": follow,
}
