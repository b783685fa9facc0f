"""From an image and prompts to masks: the same as the reference's ``SamPredictor``."""

import copy
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from napari_promptable.models.cpu.prepare import prepare_for_inference
from napari_promptable.models.sam import Sam
from napari_promptable.predict.predictor import (
    PromptableModel,
    encode_image,
    predict_many,
    predict_masks,
)
from napari_promptable.prompts import PromptSet
from napari_promptable.transforms import image_to_model_xy, resized_shape

EMBEDDING_TOLERANCE = 1e-4
LOGITS_TOLERANCE = 1e-3

SHAPES = {
    "square": (256, 256),
    "wide": (150, 400),
    "tall": (400, 150),
    "tiny": (30, 40),
    "large": (2000, 3000),
}

# Positions are (row, col) in units of the image's sides, boxes are (top, left, bottom, right).
PROMPTS: dict[str, dict[str, Any]] = {
    "one point": {"points": [(0.4, 0.6)], "labels": [1]},
    "positive and negative points": {
        "points": [(0.4, 0.6), (0.1, 0.2), (0.7, 0.5)],
        "labels": [1, 0, 1],
    },
    "box": {"box": (0.2, 0.3, 0.7, 0.8)},
    "box and points": {
        "points": [(0.4, 0.6), (0.6, 0.4)],
        "labels": [1, 0],
        "box": (0.2, 0.3, 0.7, 0.8),
    },
    "points and earlier logits": {
        "points": [(0.4, 0.6), (0.6, 0.4)],
        "labels": [1, 0],
        "with_logits": True,
    },
    "box and earlier logits": {"box": (0.2, 0.3, 0.7, 0.8), "with_logits": True},
    "earlier logits alone": {"with_logits": True},
}


def make_predictors(
    name: str, make_pair: Callable, prepare: Callable
) -> tuple[Any, PromptableModel]:
    """The reference's predictor and our model, with equal weights."""
    pair = prepare(make_pair(name))
    package = "mobile_sam" if name == "vit_t" else "segment_anything"
    predictor = importlib.import_module(package).SamPredictor(pair.reference)
    return predictor, PromptableModel(name, name, "test", pair.ours)


def check_prompts(
    predictor: Any, model: PromptableModel, embedding: Any, prompt: dict[str, Any]
) -> None:
    """Compare both answers to one prompt."""
    size = np.array(embedding.original_size) - 1
    points = np.array(prompt["points"]) * size if "points" in prompt else None
    labels = np.array(prompt["labels"]) if "labels" in prompt else None
    box = np.array(prompt["box"]) * np.tile(size, 2) if "box" in prompt else None
    logits = None
    if prompt.get("with_logits", False):
        first = predictor.predict(np.array([[0.5, 0.5]]) * size[::-1], np.array([1]))
        logits = first[2][1:2]
    ours = PromptSet(points, labels, box, logits)
    for multimask_output in (True, False):
        full_logits, predicted_iou, low_res = predictor.predict(
            point_coords=None if points is None else points[:, ::-1].copy(),
            point_labels=labels,
            box=None if box is None else box[[1, 0, 3, 2]],
            mask_input=logits,
            multimask_output=multimask_output,
            return_logits=True,
        )
        assert np.std(low_res) > 0.1
        found = predict_masks(model, embedding, ours, multimask_output)
        check_answer(found, full_logits, predicted_iou, low_res)


def check_answer(
    found: Any, full_logits: np.ndarray, predicted_iou: np.ndarray, low_res: np.ndarray
) -> None:
    """Compare a prediction with the return values of the reference.

    Logits may differ within the tolerance, so only pixels that are this close to the threshold
    may lie on the other side of it.
    """
    assert found.masks.shape == full_logits.shape
    np.testing.assert_allclose(found.low_res_logits, low_res, rtol=0, atol=LOGITS_TOLERANCE)
    np.testing.assert_allclose(
        found.predicted_iou, predicted_iou, rtol=0, atol=LOGITS_TOLERANCE
    )
    differs = found.masks != (full_logits > Sam.mask_threshold)
    assert np.abs(full_logits - Sam.mask_threshold)[differs].max(initial=0) <= LOGITS_TOLERANCE


def encode(predictor: Any, model: PromptableModel, image: np.ndarray) -> Any:
    """Give the image to both; compare the embeddings; return ours."""
    predictor.set_image(image)
    embedding = encode_image(model, image, contrast_limits=(0, 255))
    expected = predictor.get_image_embedding()[0].detach().numpy()
    assert expected.std() > 0.1
    np.testing.assert_allclose(embedding.features, expected, rtol=0, atol=EMBEDDING_TOLERANCE)
    assert embedding.original_size == predictor.original_size
    assert embedding.input_size == predictor.input_size
    return embedding


@pytest.fixture(scope="module")
def encoded(make_pair: Callable, prepare: Callable, make_image: Callable) -> Callable:
    """Function from a name of `SHAPES` to the predictors and our embedding."""
    embeddings: dict[str, Any] = {}

    def get(shape: str) -> tuple[Any, PromptableModel, Any]:
        predictor, model = make_predictors("small_vit", make_pair, prepare)
        if shape not in embeddings:
            embedding = encode(predictor, model, make_image(*SHAPES[shape]))
            embeddings[shape] = predictor, model, embedding
        found: tuple[Any, PromptableModel, Any] = embeddings[shape]
        return found

    return get


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_small_vit(shape: str, prompt: dict[str, Any], encoded: Callable) -> None:
    check_prompts(*encoded(shape), prompt)


@pytest.mark.parametrize("shape", SHAPES)
def test_several_boxes(shape: str, encoded: Callable) -> None:
    predictor, model, embedding = encoded(shape)
    size = np.array(embedding.original_size) - 1
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 1, (18, 2, 2)), axis=1) * size  # more than a batch
    boxes_xyxy = torch.as_tensor(corners[..., ::-1].reshape(-1, 4).copy())
    transformed = predictor.transform.apply_boxes_torch(boxes_xyxy, predictor.original_size)
    full_logits, predicted_iou, low_res = predictor.predict_torch(
        point_coords=None,
        point_labels=None,
        boxes=transformed.float(),
        multimask_output=False,
        return_logits=True,
    )
    prompts = [PromptSet(box_yxyx=box) for box in corners.reshape(-1, 4)]
    found = predict_many(model, embedding, prompts, multimask_output=False)
    assert len(found) == len(full_logits)
    for number, prediction in enumerate(found):
        answer = (full_logits[number], predicted_iou[number], low_res[number])
        check_answer(prediction, *(part.numpy() for part in answer))


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["wide", "tiny"])
def test_vit_t(
    shape: str, make_pair: Callable, prepare: Callable, make_image: Callable
) -> None:
    predictor, model = make_predictors("vit_t", make_pair, prepare)
    embedding = encode(predictor, model, make_image(*SHAPES[shape]))
    for prompt in PROMPTS.values():
        check_prompts(predictor, model, embedding, prompt)


@pytest.mark.slow
def test_vit_b(make_pair: Callable, make_image: Callable) -> None:
    def prepare(pair: Any) -> Any:
        return pair._replace(ours=prepare_for_inference(copy.deepcopy(pair.ours)))

    predictor, model = make_predictors("vit_b", make_pair, prepare)
    embedding = encode(predictor, model, make_image(700, 1000))
    for prompt in PROMPTS.values():
        check_prompts(predictor, model, embedding, prompt)


@pytest.mark.parametrize("shape", [*SHAPES.values(), (1023, 1024), (333, 777), (5, 3)], ids=str)
def test_sizes_and_positions(shape: tuple[int, int], reference_sam: Any) -> None:
    transforms = importlib.import_module("segment_anything.utils.transforms")
    points_yx = np.random.default_rng(0).uniform(0, shape, (50, 2))
    for longest_side in (256, 512, 1024):
        reference = transforms.ResizeLongestSide(longest_side)
        expected_size = reference.get_preprocess_shape(*shape, longest_side)
        assert resized_shape(shape, longest_side) == expected_size
        expected = reference.apply_coords(points_yx[:, ::-1], shape)
        found = image_to_model_xy(points_yx, shape, expected_size)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
