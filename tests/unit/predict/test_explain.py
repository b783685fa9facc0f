"""The inside of the mask decoder: the same numbers as in the forward pass, and their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from napari_promptable.errors import EmbeddingMismatchError, PromptError
from napari_promptable.models.architectures import build_sam
from napari_promptable.models.cpu.prepare import prepare_for_inference
from napari_promptable.models.recording import Direction, record_decoder
from napari_promptable.models.sam import Sam, build_vit_sam
from napari_promptable.predict.answers import answer_at_best_zoom
from napari_promptable.predict.decoding import decode_all
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.explain import explain
from napari_promptable.predict.frames import WholePlane, place_prompts
from napari_promptable.predict.predictor import PromptableModel, encode_image
from napari_promptable.prompts import PromptSet

CLICKS = PromptSet([[30, 36], [10, 60]], [1, 0])
BOX = PromptSet(box_yxyx=[20, 25, 44, 50])
SHAPE = (64, 80)


@pytest.fixture(scope="module")
def disk() -> np.ndarray:
    """A bright disk on dark ground."""
    rows, columns = np.indices(SHAPE)
    return (40 + 160 * (np.hypot(rows - 30, columns - 36) < 11)).astype(np.uint8)


def make_model(sam: Sam) -> PromptableModel:
    return PromptableModel("random", "any", "random", sam.eval().requires_grad_(False))


def make_embedding(sam: Sam, channels: int) -> ImageEmbedding:
    """A random embedding; the image encoder, which takes long, is not asked."""
    rows, columns = sam.prompt_encoder.image_embedding_size
    features = torch.randn(channels, rows, columns, generator=torch.manual_seed(0)).numpy()
    input_size = (sam.image_size, sam.image_size)
    return ImageEmbedding(
        features, input_size, input_size, "random", (4 * rows, 4 * columns), input_size
    )


@pytest.mark.parametrize("prompts", [CLICKS, BOX], ids=["clicks", "box"])
def test_the_bundled_model_shows_the_numbers_of_its_answer(
    prompts: PromptSet, tiny_model: PromptableModel, disk: np.ndarray
) -> None:
    embedding = encode_image(tiny_model, disk)
    [answer] = answer_at_best_zoom(tiny_model.sam, embedding, [prompts], [(0,)])
    found = explain(tiny_model, embedding, prompts)
    torch.testing.assert_close(torch.from_numpy(found.logits), answer.logits, atol=2e-3, rtol=0)
    np.testing.assert_allclose(found.predicted_iou, answer.predicted_iou, atol=1e-4)
    np.testing.assert_array_equal(found.logits_by_block[-1], found.logits)


def test_a_plain_network_gives_equal_logits(
    random_tiny_model: PromptableModel, disk: np.ndarray
) -> None:
    embedding = encode_image(random_tiny_model, disk)
    [answer] = answer_at_best_zoom(random_tiny_model.sam, embedding, [CLICKS], [(0,)])
    found = explain(random_tiny_model, embedding, CLICKS)
    np.testing.assert_array_equal(found.logits, answer.logits.numpy())
    np.testing.assert_array_equal(found.predicted_iou, answer.predicted_iou.numpy())


@pytest.mark.parametrize("is_prepared", [False, True])
def test_sam_shows_the_numbers_of_its_answer(is_prepared: bool) -> None:
    sam = build_vit_sam(32, 2, 2, [1], image_size=256)
    model = make_model(sam)
    if is_prepared:
        prepare_for_inference(sam)
    embedding = make_embedding(sam, 256)
    found = explain(model, embedding, CLICKS)
    [answer] = decode_all(sam, [place_prompts(WholePlane(sam, embedding), CLICKS)])
    np.testing.assert_allclose(found.logits, answer.logits, atol=1e-4)
    np.testing.assert_allclose(found.predicted_iou, answer.predicted_iou, atol=1e-5)
    assert found.steps[0].weights.shape == (8, 8, 8)
    assert found.steps[1].weights.shape == (8, 8, 256)
    assert found.steps[2].weights.shape == (8, 256, 8)


@pytest.mark.slow
def test_sam2_shows_the_numbers_of_its_answer() -> None:
    model = make_model(build_sam("hiera_tiny"))
    embedding = make_embedding(model.sam, 4 * 256)
    found = explain(model, embedding, BOX)
    decoder_input = place_prompts(WholePlane(model.sam, embedding), BOX)
    recorded = record_decoder(model.sam)
    decode_all(recorded.sam, [decoder_input])
    assert found.tokens[:2] == ("object score", "IoU")
    assert found.tokens[-3:] == ("box top left", "box bottom right", "padding")
    np.testing.assert_array_equal(found.logits, recorded.upscaling.logits[0])
    dots = np.einsum("mf,fhw->mhw", found.token_weights, found.upscaled)
    np.testing.assert_allclose(found.logits, dots, atol=1e-3)


def test_weights_are_what_the_attention_applies(random_tiny_model: PromptableModel) -> None:
    sam = random_tiny_model.sam
    recorded = record_decoder(sam)
    passes: list[tuple[Any, ...]] = []
    for step in recorded.steps:
        step.attention.register_forward_hook(
            lambda module, inputs, output: passes.append((module, inputs, output))
        )
    embedding = make_embedding(sam, 2 * sam.mask_decoder.embed_dim)
    decode_all(recorded.sam, [place_prompts(WholePlane(sam, embedding), CLICKS)])
    assert len(passes) == 7
    for recording, (_, _, values), output in passes:
        attention = recording.attention
        attended = recording.weights @ attention.split_heads(attention.v_proj(values))
        torch.testing.assert_close(attention.join_heads(attended), output)


def test_the_dot_products_are_the_masks(tiny_model: PromptableModel, disk: np.ndarray) -> None:
    found = explain(tiny_model, encode_image(tiny_model, disk), CLICKS)
    dots = np.einsum("mf,fhw->mhw", found.token_weights, found.upscaled)
    np.testing.assert_allclose(dots, found.logits, atol=1e-3)


def test_steps_and_tokens_are_named(tiny_model: PromptableModel, disk: np.ndarray) -> None:
    found = explain(tiny_model, encode_image(tiny_model, disk), CLICKS)
    assert found.tokens == (
        *("IoU", "mask 0", "mask 1", "mask 2", "mask 3"),
        *("click 1 +", "click 2 −", "padding"),
    )
    tokens, to_image, to_tokens = Direction
    in_block = [tokens, to_image, to_tokens]
    assert [(step.block, step.direction) for step in found.steps] == [
        *((0, direction) for direction in in_block),
        *((1, direction) for direction in in_block),
        (2, to_image),
    ]
    assert found.num_blocks == 2
    assert found.logits_by_block.shape == (3, *found.logits.shape)
    for step in found.steps:
        np.testing.assert_allclose(step.weights.sum(axis=-1), 1, atol=1e-5)
        assert step.has_map == (step.direction != tokens)


def test_maps_of_tokens_lie_on_the_image(tiny_model: PromptableModel, disk: np.ndarray) -> None:
    found = explain(tiny_model, encode_image(tiny_model, disk), PromptSet([[30, 36]]))
    inside, outside = [], []
    for step in found.steps:
        if step.has_map:
            maps = found.token_maps(step)
            assert maps.shape == (len(found.tokens), *found.grid)
            np.testing.assert_allclose(
                maps[0], np.mean([found.token_maps(step, h)[0] for h in range(4)], axis=0)
            )
    cells = np.moveaxis(np.indices(found.grid), 0, -1)
    centres = found.cell_origin_yx + found.cell_size_yx * cells
    is_inside = np.hypot(*(centres - [30, 36]).transpose(2, 0, 1)) < 11
    assert found.cell_at([30, 36]) is not None and is_inside[found.cell_at([30, 36])]
    low_res = found.logits[:, 2::4, 2::4]
    inside, outside = low_res[:, is_inside].mean(), low_res[:, ~is_inside].mean()
    assert inside > 0 > outside


@pytest.mark.parametrize("far", [[-40, 3], [3, 500]])
def test_no_cell_lies_outside(
    far: list[int], tiny_model: PromptableModel, disk: np.ndarray
) -> None:
    assert explain(tiny_model, encode_image(tiny_model, disk), BOX).cell_at(far) is None


def test_the_network_stays_as_it_was(tiny_model: PromptableModel, disk: np.ndarray) -> None:
    before = {name: id(module) for name, module in tiny_model.sam.named_modules()}
    explain(tiny_model, encode_image(tiny_model, disk), CLICKS)
    assert {name: id(module) for name, module in tiny_model.sam.named_modules()} == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in tiny_model.sam.modules())


def test_what_cannot_be_answered_is_refused(
    tiny_model: PromptableModel, random_tiny_model: PromptableModel, disk: np.ndarray
) -> None:
    embedding = encode_image(tiny_model, disk)
    with pytest.raises(PromptError, match="no foreground point"):
        explain(tiny_model, embedding, PromptSet([[3, 3]], [0]))
    with pytest.raises(EmbeddingMismatchError):
        explain(random_tiny_model, embedding, CLICKS)
