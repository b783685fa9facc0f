"""The bundled model on objects of all sizes in images of all sizes."""

import numpy as np
import pytest
from scipy import ndimage

from napari_promptable.masks import mask_iou
from napari_promptable.predict.predictor import (
    PromptableModel,
    encode_image,
    predict_many,
    predict_masks,
)
from napari_promptable.prompts import PromptSet

SCALES = [(12, 256), (12, 2000), (60, 256), (60, 2000), (200, 256), (200, 2000)]
"""Diameter of the object and side of the image."""


def make_nucleus(diameter: int, side: int) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Noisy image with a bright disk off the middle, its mask and its centre."""
    centre = (round(0.48 * side), round(0.52 * side))
    rows, columns = np.indices((side, side))
    disk = np.hypot(rows - centre[0], columns - centre[1]) <= diameter / 2
    image = ndimage.gaussian_filter(disk.astype(np.float32), max(0.7, diameter / 60))
    image = 0.15 * image + np.random.default_rng(0).normal(0.1, 0.03, image.shape)
    return image, disk, centre


@pytest.mark.parametrize(("diameter", "side"), SCALES)
def test_a_click_finds_the_object_at_any_scale(
    tiny_model: PromptableModel, diameter: int, side: int
) -> None:
    image, truth, centre = make_nucleus(diameter, side)
    embedding = encode_image(tiny_model, image)
    by_click = predict_masks(tiny_model, embedding, PromptSet([centre]), None)
    ious = [mask_iou(mask, truth) for mask in by_click.masks]
    assert ious[by_click.default] > 0.55  # a margin of 2 pixels around 12 is as much as 0.56
    assert max(ious) > 0.75


@pytest.mark.parametrize(("diameter", "side"), SCALES)
def test_a_box_finds_the_object_at_any_scale(
    tiny_model: PromptableModel, diameter: int, side: int
) -> None:
    image, truth, (row, column) = make_nucleus(diameter, side)
    embedding = encode_image(tiny_model, image)
    reach = diameter / 2
    box = PromptSet(box_yxyx=[row - reach, column - reach, row + reach, column + reach])
    by_box = predict_masks(tiny_model, embedding, box, multimask_output=False)
    assert mask_iou(by_box.masks[0], truth) > 0.7


@pytest.mark.parametrize(("diameter", "side"), [(12, 2000), (60, 256)])
def test_corrections_stay_with_the_object(
    tiny_model: PromptableModel, diameter: int, side: int
) -> None:
    image, truth, (row, column) = make_nucleus(diameter, side)
    embedding = encode_image(tiny_model, image)
    first = predict_masks(tiny_model, embedding, PromptSet([[row, column]]), None)
    corrected = predict_masks(
        tiny_model,
        embedding,
        PromptSet(
            [[row, column], [row + diameter, column]],
            [1, 0],
            mask_logits=first.low_res_logits[first.default],
        ),
        None,
    )
    assert mask_iou(corrected.masks[0], truth) > 0.7


@pytest.mark.parametrize(("diameter", "side"), [(12, 2000), (60, 256), (60, 2000)])
def test_a_click_beside_an_object_is_not_the_object(
    tiny_model: PromptableModel, diameter: int, side: int
) -> None:
    image, truth, (row, column) = make_nucleus(diameter, side)
    embedding = encode_image(tiny_model, image)
    click = (row, round(column + 0.9 * diameter))
    found = predict_masks(tiny_model, embedding, PromptSet([click]), None)
    mask = found.masks[found.default]
    assert mask[click]  # a piece of background, maybe with the object in it, but not the object
    assert mask_iou(mask, truth) < 0.65
    assert found.predicted_iou[found.default] < 0.7  # where an object has 0.8 and more


def test_boxes_do_not_depend_on_their_company(tiny_model: PromptableModel) -> None:
    image, _, (row, column) = make_nucleus(60, 400)
    embedding = encode_image(tiny_model, image)
    boxes = [
        PromptSet(box_yxyx=[row - n, column - n, row + n, column + n]) for n in (8, 30, 90)
    ]
    together = predict_many(tiny_model, embedding, boxes, multimask_output=False)
    for box, prediction in zip(boxes, together, strict=True):
        alone = predict_masks(
            tiny_model, encode_image(tiny_model, image), box, multimask_output=False
        )
        assert (alone.masks != prediction.masks).mean() < 1e-4
