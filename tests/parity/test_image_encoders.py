"""Our image encoders give the reference's embeddings; full size is in test_predictor.py."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from napari_promptable.models.architectures import build_sam

TOLERANCE = 1e-4

SMALL_LAYOUTS = {
    "windows stick out": {"image_size": 256},
    "windows fit": {"image_size": 224},
    "windows only": {"global_attn_indexes": ()},
    "global only": {"global_attn_indexes": (0, 1, 2, 3)},
    "like vit_l": {
        "embed_dim": 128,
        "depth": 8,
        "num_heads": 16,
        "global_attn_indexes": (1, 3, 5, 7),
        "image_size": 320,
    },
    "like vit_h": {"embed_dim": 160, "num_heads": 2, "image_size": 480},
}


@torch.inference_mode()
def encode_with_reference(pair: Any, *images: np.ndarray) -> torch.Tensor:
    """Embeddings of images of one size."""
    embedding: torch.Tensor = pair.reference.image_encoder(
        pair.reference.preprocess(to_batch(images))
    )
    return embedding


def to_batch(images: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.stack([torch.as_tensor(image).permute(2, 0, 1) for image in images])


def measure_difference(pair: Any, *images: np.ndarray) -> float:
    """Largest difference between the embeddings of images of one size."""
    expected = encode_with_reference(pair, *images)
    with torch.inference_mode():
        embedding = pair.ours.encode(to_batch(images))
    assert embedding.shape == expected.shape
    assert expected.std() > 0.5
    return float((embedding - expected).abs().max())


@pytest.mark.parametrize("layout", SMALL_LAYOUTS.values(), ids=SMALL_LAYOUTS.keys())
def test_small_vit(
    layout: dict[str, Any],
    make_small_vit_pair: Callable,
    prepare: Callable,
    make_image: Callable,
) -> None:
    pair = prepare(make_small_vit_pair(**layout))
    size = pair.ours.image_size
    assert measure_difference(pair, make_image(size, size)) <= TOLERANCE


@pytest.mark.parametrize("shape", [(256, 120), (77, 256)])
def test_small_vit_pads_like_the_reference(
    shape: tuple[int, int], make_pair: Callable, prepare: Callable, make_image: Callable
) -> None:
    assert measure_difference(prepare(make_pair("small_vit")), make_image(*shape)) <= TOLERANCE


def test_small_vit_encodes_a_batch(
    make_pair: Callable, prepare: Callable, make_image: Callable
) -> None:
    images = [make_image(256, 256, seed) for seed in range(3)]
    assert measure_difference(prepare(make_pair("small_vit")), *images) <= TOLERANCE


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_state_dict_has_the_names_and_shapes_of_the_reference(
    name: str, reference_sam: Any
) -> None:
    with torch.device("meta"):
        ours = build_sam(name).state_dict()
        reference = reference_sam.sam_model_registry[name]().state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in reference.items()}


@pytest.mark.parametrize("name", ["small_vit", "vit_t"])
def test_norms_add_the_same_epsilon_as_the_reference(name: str, make_pair: Callable) -> None:
    reference, ours = (
        {
            layer: module.eps
            for layer, module in model.named_modules()
            if layer.endswith(".bn") or "norm" in type(module).__name__.lower()
        }
        for model in make_pair(name)
    )
    assert ours == reference
