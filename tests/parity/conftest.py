"""Pairs of models with the same random weights: the reference implementation's and ours.

Fixtures; the models are dropped after the last parity test, because they take gigabytes:

``reference_sam``, ``reference_mobile_sam``
    The packages ``segment_anything`` and ``mobile_sam``; tests are skipped without them.
``make_pair``
    ``make_pair(name)`` returns a `ModelPair` for ``"vit_b"``, ``"vit_t"`` or ``"small_vit"``
    (256 px, four blocks, the fastest). Models are in evaluation mode and shared by all tests,
    so leave them unchanged. ``SamPredictor(pair.reference)`` works as usual.
``make_small_vit_pair``
    The same for any small layout of the vision transformer.
``make_sam2_pair``
    ``make_sam2_pair(name)`` returns a pair for one of the four sizes of SAM 2.1, narrow and for
    256 px; ``make_sam2_pair(name, is_small=False)`` the published one, through a file on disk.
``prepare``
    ``prepare(pair)`` returns a pair whose own model is as trained, or prepared for inference,
    with packed weights where they work here or with public operations only: a test that uses
    it runs for all three.
``make_image``
    ``make_image(height, width, seed=0)`` returns a random uint8 RGB image with structure.
"""

import copy
import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from napari_promptable.models.cpu.prepare import prepare_for_inference
from napari_promptable.models.sam import Sam, build_vit_sam
from napari_promptable.models.sam2.sam2 import Sam2
from napari_promptable.weights.loading import load_checkpoint
from napari_promptable.weights.sam2_names import to_our_names
from tests.parity.reference import import_reference, randomize
from tests.parity.reference_sam2 import SMALL_LAYOUTS, SMALL_SIZE, build_reference


def import_or_skip(name: str) -> ModuleType:
    """Import a reference package; without it, skip the test."""
    try:
        return import_reference(name)
    except ImportError:
        pytest.skip(f"the reference package {name} is not installed")


class ModelPair(NamedTuple):
    """Two models with equal weights."""

    reference: nn.Module
    ours: Sam


@pytest.fixture(scope="package")
def reference_sam() -> ModuleType:
    """Package ``segment_anything``."""
    return import_or_skip("segment_anything")


@pytest.fixture(scope="package")
def reference_mobile_sam() -> ModuleType:
    """Package ``mobile_sam``."""
    return import_or_skip("mobile_sam")


@pytest.fixture(scope="package")
def make_small_vit_pair(reference_sam: ModuleType) -> Callable[..., ModelPair]:
    """Factory of pairs with a small vision transformer, one pair per layout."""

    @functools.cache
    def make(
        embed_dim: int = 64,
        depth: int = 4,
        num_heads: int = 4,
        global_attn_indexes: Sequence[int] = (1, 3),
        image_size: int = 256,
    ) -> ModelPair:
        modeling = reference_sam.modeling
        grid = (image_size // 16, image_size // 16)
        reference = modeling.Sam(
            modeling.ImageEncoderViT(
                img_size=image_size,
                embed_dim=embed_dim,
                depth=depth,
                num_heads=num_heads,
                norm_layer=functools.partial(nn.LayerNorm, eps=1e-6),
                use_rel_pos=True,
                window_size=14,
                global_attn_indexes=global_attn_indexes,
            ),
            modeling.PromptEncoder(
                embed_dim=256,
                image_embedding_size=grid,
                input_image_size=(image_size, image_size),
                mask_in_chans=16,
            ),
            modeling.MaskDecoder(
                transformer_dim=256,
                transformer=modeling.TwoWayTransformer(
                    depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048
                ),
            ),
        )
        randomize(reference)
        ours = build_vit_sam(embed_dim, depth, num_heads, global_attn_indexes, image_size)
        ours.load_state_dict(reference.state_dict())
        return ModelPair(reference.eval(), ours.eval().requires_grad_(False))

    return make


@pytest.fixture(scope="package")
def make_pair(
    make_small_vit_pair: Callable[..., ModelPair], request: pytest.FixtureRequest
) -> Callable[[str], ModelPair]:
    """Factory of pairs by name; the public architectures go through a file on disk."""

    @functools.cache
    def make(name: str) -> ModelPair:
        if name == "small_vit":
            return make_small_vit_pair()
        package = "reference_mobile_sam" if name == "vit_t" else "reference_sam"
        reference = request.getfixturevalue(package).sam_model_registry[name]()
        randomize(reference)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / f"{name}.pth"
            torch.save(reference.state_dict(), path)
            ours = load_checkpoint(path, name)
        # TinyViT's eval() gathers its attention biases: only now are they the random ones.
        return ModelPair(reference.eval(), ours)

    return make


@pytest.fixture(scope="package")
def make_sam2_pair() -> Callable[..., ModelPair]:
    """Factory of pairs of SAM 2.1."""

    @functools.cache
    def make(name: str, is_small: bool = True) -> ModelPair:
        reference = build_reference(name, is_small)
        if is_small:
            ours = Sam2(SMALL_LAYOUTS[name], SMALL_SIZE)
            ours.load_state_dict(to_our_names(reference.state_dict()))
            return ModelPair(reference, ours.eval().requires_grad_(False))
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / f"sam2.1_{name}.pt"
            torch.save({"model": reference.state_dict()}, path)
            return ModelPair(reference, load_checkpoint(path, name))

    return make


@pytest.fixture(scope="module", params=["as trained", "prepared", "public operations"])
def prepare(request: pytest.FixtureRequest) -> Callable[[ModelPair], ModelPair]:
    """Function that brings our model of a pair into one of its forms."""

    @functools.cache
    def change(pair: ModelPair) -> ModelPair:
        if request.param == "as trained":
            return pair
        packed = None if request.param == "prepared" else False
        return pair._replace(ours=prepare_for_inference(copy.deepcopy(pair.ours), packed))

    return change


@pytest.fixture(scope="package")
def make_image() -> Callable[..., np.ndarray]:
    """Factory of uint8 RGB images: blurred noise, so that prompts meet some structure."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (max(height // 24, 2), max(width // 24, 2), 3), np.uint8)
        smooth = PIL.Image.fromarray(coarse).resize(
            (width, height), PIL.Image.Resampling.BICUBIC
        )
        noise = rng.integers(-20, 21, (height, width, 3))
        return np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)

    return make
