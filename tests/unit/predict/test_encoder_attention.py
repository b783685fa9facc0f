"""What a cell attends to in a vision transformer: the same numbers as in the forward pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_promptable import encode_image, explain_encoder
from napari_promptable.errors import PromptError, UnknownModelError
from napari_promptable.models.cpu.prepare import prepare_for_inference
from napari_promptable.models.encoder_attention import global_blocks, record_cell
from napari_promptable.models.sam import build_vit_sam
from napari_promptable.models.sam2.hiera import HieraLayout
from napari_promptable.models.sam2.sam2 import Sam2
from napari_promptable.models.vit import ViTEncoder
from napari_promptable.predict.predictor import PromptableModel

SIDE, STRIDE = 256, 16


def make_model(is_prepared: bool = False) -> PromptableModel:
    torch.manual_seed(0)
    sam = build_vit_sam(32, 4, 2, [1, 3], image_size=SIDE).eval().requires_grad_(False)
    for parameter in sam.image_encoder.parameters():
        if not parameter.any():  # positions start as zeros
            parameter.normal_(std=0.3)
    if is_prepared:
        prepare_for_inference(sam)
    return PromptableModel("random", "any", "random", sam)


def make_hiera_model(is_prepared: bool = False) -> PromptableModel:
    torch.manual_seed(0)
    sam = Sam2(HieraLayout(16, 1, (1, 2, 7, 2), (5, 7, 9)), SIDE).eval().requires_grad_(False)
    if is_prepared:
        prepare_for_inference(sam)
    return PromptableModel("random", "any", "random", sam)


@pytest.fixture
def image() -> np.ndarray:
    """Noise, wider than high."""
    return np.random.default_rng(0).integers(0, 256, (100, 128, 3), np.uint8)


def record_attention(encoder, attention):
    """Weights of the cell (5, 9) by block, and what one layer was given and returned."""
    calls = []
    attention.register_forward_hook(lambda _, given, returned: calls.append((given, returned)))
    with record_cell(encoder, 5, 9) as weights:
        encoder(torch.randn(1, 3, SIDE, SIDE))
    [((given, *_), returned)] = calls
    return weights, given, returned


def test_the_weights_give_the_output_of_the_attention() -> None:
    """What the layer returns for the cell is the mean of the values under these weights."""
    encoder = make_model().sam.image_encoder
    assert isinstance(encoder, ViTEncoder)
    attention = encoder.blocks[3].attn
    weights, given, returned = record_attention(encoder, attention)
    assert list(weights) == [1, 3]
    _, _, values = attention._project(given)
    attended = torch.einsum("hyx,hyxd->hd", weights[3], values[0].unflatten(1, (16, 16)))
    expected = attention.proj(attended.flatten())
    torch.testing.assert_close(expected, returned[0, 5, 9], atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_prepared", [False, True])
def test_weights_are_those_of_any_form_of_the_network(is_prepared, image) -> None:
    plain = explain_encoder(make_model(), image, (40, 90))
    found = explain_encoder(make_model(is_prepared), image, (40, 90))
    assert found.blocks == (1, 3)
    assert found.weights.shape == (2, 2, 16, 16)
    np.testing.assert_allclose(found.weights.sum(axis=(2, 3)), 1, atol=1e-5)
    np.testing.assert_allclose(found.weights, plain.weights, atol=1e-5)


def test_the_weights_give_the_output_of_hiera_s_attention() -> None:
    encoder = make_hiera_model().sam.image_encoder
    attention = encoder.trunk.blocks[7].attn
    weights, given, returned = record_attention(encoder, attention)
    assert list(weights) == [5, 7, 9]
    values = attention.qkv(given)[0].chunk(3, dim=-1)[2].unflatten(-1, (4, -1))
    attended = torch.einsum("hyx,yxhd->hd", weights[7], values)
    expected = attention.proj(attended.flatten())
    torch.testing.assert_close(expected, returned[0, 5, 9], atol=1e-5, rtol=0)


@pytest.mark.parametrize("is_prepared", [False, True])
def test_weights_of_hiera_are_those_of_any_form_of_the_network(is_prepared, image) -> None:
    plain = explain_encoder(make_hiera_model(), image, (40, 90))
    found = explain_encoder(make_hiera_model(is_prepared), image, (40, 90))
    assert found.blocks == (5, 7, 9)
    assert found.cell == (6, 11)  # the image is squashed to the square
    assert found.weights.shape == (3, 4, 16, 16)
    np.testing.assert_allclose(found.weights.sum(axis=(2, 3)), 1, atol=1e-5)
    np.testing.assert_allclose(found.weights, plain.weights, atol=1e-5)


@pytest.mark.parametrize("make", [make_model, make_hiera_model])
@pytest.mark.parametrize("is_prepared", [False, True])
def test_looking_leaves_the_network_as_it_was(is_prepared, make, image) -> None:
    model = make(is_prepared)
    before = encode_image(model, image, (0, 255)).features
    explain_encoder(model, image, (0, 0), (0, 255))
    np.testing.assert_array_equal(encode_image(model, image, (0, 255)).features, before)
    for block in global_blocks(model.sam.image_encoder).values():
        assert not any(part._forward_pre_hooks for part in block.modules())


def test_a_position_belongs_to_the_cell_that_holds_it(image) -> None:
    model = make_model()
    for position, cell in (
        ((0, 0), (0, 0)),
        ((7.7, 7.9), (0, 1)),
        ((99, 127), (12, 15)),
        ((-0.4, 120), (0, 15)),
    ):
        found = explain_encoder(model, image, position)
        assert found.cell == cell
        centre = found.cell_origin_yx + found.cell_size_yx * cell
        assert (np.abs(centre - position) <= found.cell_size_yx / 2 + 0.51).all()
    np.testing.assert_allclose(found.cell_size_yx, STRIDE * 128 / SIDE, rtol=0.02)


@pytest.mark.parametrize("position", [(100, 5), (5, -2), (1, 2, 3)])
def test_a_position_outside_is_refused(image, position) -> None:
    with pytest.raises(PromptError, match="100 x 128"):
        explain_encoder(make_model(), image, position)


def test_other_encoders_are_refused(image, random_tiny_model) -> None:
    with pytest.raises(UnknownModelError, match="ViT-B"):
        explain_encoder(random_tiny_model, image, (5, 5))
