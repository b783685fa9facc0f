"""From an image and prompts to masks: the same as SAM 2's own image predictor."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from napari_promptable.models.cpu.prepare import prepare_for_inference
from napari_promptable.predict.predictor import (
    PromptableModel,
    encode_image,
    predict_many,
    predict_masks,
)
from napari_promptable.prompts import PromptSet
from tests.parity.reference_sam2 import make_image_predictor
from tests.parity.test_predictor import PROMPTS, SHAPES

LOGITS_TOLERANCE = 1e-3
MASK_TOLERANCE = 1e-4  # share of pixels


@pytest.fixture(scope="module")
def encoded(make_sam2_pair: Callable, make_image: Callable) -> Callable:
    """Function from a shape to the reference's predictor, our model and our embedding."""
    pair = make_sam2_pair("hiera_tiny")
    prepared = prepare_for_inference(copy.deepcopy(pair.ours))
    model = PromptableModel("hiera_tiny", "hiera_tiny", "test", prepared)

    def encode(shape: tuple[int, int]) -> tuple[Any, PromptableModel, Any]:
        image = make_image(*shape)
        predictor = make_image_predictor(pair.reference, pair.ours.image_size)
        predictor.set_image(image)
        return predictor, model, encode_image(model, image, contrast_limits=(0, 255))

    return encode


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_masks_are_the_references(shape: tuple[int, int], encoded: Callable) -> None:
    predictor, model, embedding = encoded(shape)
    size = np.array(shape) - 1
    for name, prompt in PROMPTS.items():
        points = np.array(prompt["points"]) * size if "points" in prompt else None
        labels = np.array(prompt["labels"]) if "labels" in prompt else None
        box = np.array(prompt["box"]) * np.tile(size, 2) if "box" in prompt else None
        logits = None
        if prompt.get("with_logits", False):
            first = predictor.predict(np.array([[0.5, 0.5]]) * size[::-1], np.array([1]))
            logits = first[2][1:2]
        ours = PromptSet(points, labels, box, logits)
        for multimask_output in (True, False):
            masks, predicted_iou, low_res = predictor.predict(
                None if points is None else points[:, ::-1].copy(),
                labels,
                None if box is None else box[[1, 0, 3, 2]],
                logits,
                multimask_output,
            )
            found = predict_masks(model, embedding, ours, multimask_output)
            assert found.absence is None, name
            assert (found.masks != masks.astype(bool)).mean() <= MASK_TOLERANCE, name
            for array, expected in (
                (found.low_res_logits, low_res),
                (found.predicted_iou, predicted_iou),
            ):
                np.testing.assert_allclose(array, expected, rtol=0, atol=LOGITS_TOLERANCE)


def test_many_objects_of_all_kinds_are_answered_as_one_by_one(encoded: Callable) -> None:
    _, model, embedding = encoded((120, 200))
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 120, (9, 2, 2)), axis=1).reshape(-1, 4)
    prompts = [PromptSet(box_yxyx=box) for box in corners]
    prompts += [PromptSet(rng.uniform(0, 119, (count, 2))) for count in (1, 1, 2, 3)]
    together = predict_many(model, embedding, prompts)
    for prompt, found in zip(prompts, together, strict=True):
        alone = predict_masks(model, embedding, prompt)
        np.testing.assert_allclose(found.low_res_logits, alone.low_res_logits, atol=1e-3)


@pytest.mark.parametrize("multimask_output", [True, False, None])
def test_an_absent_object_has_an_empty_mask_and_a_reason(
    multimask_output: bool | None, encoded: Callable
) -> None:
    _, model, embedding = encoded((120, 200))
    bias = model.sam.get_parameter("mask_decoder.pred_obj_score_head.layers.2.bias")
    prompts = PromptSet([[50, 60]])
    before = predict_masks(model, embedding, prompts, multimask_output)
    with torch.inference_mode():
        bias -= 1000
    try:
        found = predict_masks(model, embedding, prompts, multimask_output)
    finally:
        with torch.inference_mode():
            bias += 1000
    assert before.masks.any()
    assert not found.masks.any()
    assert (found.predicted_iou == 0).all()
    assert found.absence is not None
    assert "finds no object here (object score -9" in found.absence
