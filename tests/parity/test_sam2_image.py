"""SAM 2.1 on single images: our embeddings, masks and predicted IoUs are the reference's."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_promptable.models.layers import unfold_patches
from napari_promptable.models.prompt_encoder import (
    BACKGROUND,
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    FOREGROUND,
    PADDING,
)
from napari_promptable.models.sam2.mask_decoder import replace_unstable
from tests.parity.reference_sam2 import SMALL_LAYOUTS, make_image_predictor
from tests.parity.test_predictor import SHAPES

EMBEDDING_TOLERANCE = 1e-4
LOGITS_TOLERANCE = 1e-3

# Positions are (x, y) in units of the image's sides.
POINTS = [(0.3, 0.4), (0.7, 0.35), (0.6, 0.9)]
BOX = [(0.2, 0.3), (0.6, 0.7)]
PROMPTS: dict[str, dict[str, Any]] = {
    "one point": {"points": POINTS[:1], "labels": [FOREGROUND]},
    "point on the corner": {"points": [(0.0, 0.0)], "labels": [FOREGROUND]},
    "three points": {"points": POINTS, "labels": [FOREGROUND, BACKGROUND, FOREGROUND]},
    "box": {"box": BOX},
    "box and points": {"points": POINTS[:2], "labels": [FOREGROUND, BACKGROUND], "box": BOX},
    "points and earlier logits": {
        "points": POINTS[:2],
        "labels": [FOREGROUND, BACKGROUND],
        "with_logits": True,
    },
    "box and earlier logits": {"box": BOX, "with_logits": True},
    "earlier logits alone": {"with_logits": True},
}


@pytest.fixture(scope="module")
def encode_both(make_image: Callable) -> Callable[..., tuple[Any, Tensor]]:
    """Function from a pair and the shape of an image: the reference's predictor with the image,
    and our embedding of it. All forms of our model share the predictor.
    """

    @functools.cache
    @torch.inference_mode()
    def encode_with_reference(reference: Any, side: int, shape: tuple[int, int]) -> Any:
        predictor = make_image_predictor(reference, side)
        predictor.set_image(make_image(*shape))
        return predictor

    @functools.lru_cache(maxsize=1)  # the forms of `prepare` take turns
    @torch.inference_mode()
    def encode(pair: Any, shape: tuple[int, int]) -> tuple[Any, Tensor]:
        pixels = torch.from_numpy(make_image(*shape)).permute(2, 0, 1)[None].float()
        predictor = encode_with_reference(pair.reference, pair.ours.image_size, shape)
        return predictor, pair.ours.encode(pixels)

    return encode


def check_embedding(pair: Any, predictor: Any, embedding: Tensor) -> None:
    """Compare all three levels."""
    coarse, middle, fine = embedding.split([256, 256, 512], dim=1)
    found = [
        unfold_patches(unfold_patches(fine)),
        unfold_patches(middle),
        coarse + pair.ours.no_mem_embed.reshape(1, -1, 1, 1),
    ]
    expected = [*predictor._features["high_res_feats"], predictor._features["image_embed"]]
    for ours, reference in zip(found, expected, strict=True):
        assert reference.std() > 0.3
        torch.testing.assert_close(ours, reference, rtol=0, atol=EMBEDDING_TOLERANCE)


@torch.inference_mode()
def check_answers(pair: Any, predictor: Any, embedding: Tensor, prompt: dict) -> None:
    """Compare the answers to a prompt: the three levels, and the single mask."""
    side, grid = pair.ours.image_size, pair.ours.logits_size
    points = np.array(prompt["points"]) if "points" in prompt else None
    labels = np.array(prompt["labels"]) if "labels" in prompt else None
    box = np.array(prompt["box"]) if "box" in prompt else None
    logits = None
    if prompt.get("with_logits", False):
        generator = torch.Generator().manual_seed(3)
        logits = 4 * torch.randn(1, 1, *grid, generator=generator)
    found_logits, found_iou = pair.ours.decode(
        embedding, *make_tokens(points, labels, box, side), logits
    )
    for masks, multimask_output in ((slice(1, 4), True), (slice(0, 1), False)):
        _, predicted_iou, low_res = predictor._predict(
            None if points is None else side * torch.tensor(points, dtype=torch.float32)[None],
            None if labels is None else torch.from_numpy(labels)[None],
            None if box is None else side * torch.tensor(box, dtype=torch.float32)[None],
            logits,
            multimask_output,
        )
        assert low_res.std() > 0.1
        ours = found_logits[:, masks].clamp(-32, 32)  # the reference does, on the way out
        torch.testing.assert_close(ours, low_res, rtol=0, atol=LOGITS_TOLERANCE)
        torch.testing.assert_close(
            found_iou[:, masks], predicted_iou, rtol=0, atol=LOGITS_TOLERANCE
        )


def make_tokens(
    points: np.ndarray | None, labels: np.ndarray | None, box: np.ndarray | None, side: int
) -> tuple[Tensor, Tensor]:
    """Clicks and corners in input pixels, then a padding point unless there is neither."""
    positions, codes = np.zeros((0, 2)), np.zeros(0, np.int64)
    if points is not None and labels is not None:
        positions, codes = points, labels
    if box is not None:
        positions = np.concatenate([positions, box])
        codes = np.concatenate([codes, [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]])
    if len(codes):
        positions = np.concatenate([positions, np.zeros((1, 2))])
        codes = np.concatenate([codes, [PADDING]])
    tokens = torch.tensor(side * positions, dtype=torch.float32)[None]
    return tokens, torch.from_numpy(codes)[None]


@pytest.mark.parametrize("name", SMALL_LAYOUTS)
def test_each_size(
    name: str, make_sam2_pair: Callable, prepare: Callable, encode_both: Callable
) -> None:
    pair = prepare(make_sam2_pair(name))
    predictor, embedding = encode_both(pair, (256, 256))
    check_embedding(pair, predictor, embedding)
    check_answers(pair, predictor, embedding, PROMPTS["one point"])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_images_are_squashed_like_the_reference(
    shape: tuple[int, int], make_sam2_pair: Callable, encode_both: Callable
) -> None:
    pair = make_sam2_pair("hiera_tiny")
    check_embedding(pair, *encode_both(pair, shape))


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_each_kind_of_prompt(
    prompt: dict, make_sam2_pair: Callable, prepare: Callable, encode_both: Callable
) -> None:
    pair = prepare(make_sam2_pair("hiera_tiny"))
    predictor, embedding = encode_both(pair, (256, 256))
    check_answers(pair, predictor, embedding, prompt)


@pytest.mark.slow
def test_full_size(make_sam2_pair: Callable, prepare: Callable, encode_both: Callable) -> None:
    pair = prepare(make_sam2_pair("hiera_tiny", is_small=False))
    predictor, embedding = encode_both(pair, (700, 1000))
    check_embedding(pair, predictor, embedding)
    for prompt in PROMPTS.values():
        check_answers(pair, predictor, embedding, prompt)


def test_an_unstable_single_mask_is_replaced(make_sam2_pair: Callable) -> None:
    decoder = make_sam2_pair("hiera_tiny").reference.sam_mask_decoder
    generator = torch.Generator().manual_seed(5)
    sharpness = torch.linspace(0.1, 9, 64)[:, None, None, None]
    logits = sharpness * torch.randn(64, 4, 32, 32, generator=generator)
    predicted_iou = torch.rand(64, 4, generator=generator)
    expected = decoder._dynamic_multimask_via_stability(logits, predicted_iou)
    found = replace_unstable(logits, predicted_iou)
    assert 0 < (found[1][:, 0] == predicted_iou[:, 0]).sum() < len(logits)
    for ours, reference, before in zip(found, expected, (logits, predicted_iou), strict=True):
        assert torch.equal(ours[:, :1], reference)
        assert torch.equal(ours[:, 1:], before[:, 1:])
