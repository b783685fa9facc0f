"""Strokes as clicks along a line."""

from __future__ import annotations

import numpy as np
import pytest

from napari_promptable.errors import PromptError
from napari_promptable.predict.click_by_click import answer_prompts
from napari_promptable.predict.predictor import encode_image, predict_masks
from napari_promptable.prompts import PlanePrompts, PromptSet
from napari_promptable.strokes import MAX_CLICKS, stroke_to_clicks

L_SHAPE = np.array([[0.0, 0.0], [60.0, 0.0], [60.0, 40.0]])


def test_clicks_lie_on_the_stroke_far_from_each_other() -> None:
    clicks = stroke_to_clicks(L_SHAPE)
    assert len(clicks) == MAX_CLICKS
    is_on_line = (clicks[:, 1] == 0) | (clicks[:, 0] == 60)
    assert is_on_line.all()
    distances = np.linalg.norm(clicks[:, None] - clicks[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert distances.min() > 0.5 * 100 / MAX_CLICKS


def test_the_first_clicks_already_cover_the_stroke() -> None:
    middle, *ends = stroke_to_clicks(L_SHAPE, 3).tolist()
    assert middle == [50, 0]
    assert sorted(ends) == [[0, 0], [60, 40]]


@pytest.mark.parametrize(
    ("path", "count"),
    [([[5, 5]], 1), ([[5, 5], [5, 5]], 1), ([[5, 5], [5, 6]], 1), ([[5, 5], [5, 9]], 3)],
)
def test_short_strokes_are_few_clicks(path: list[list[float]], count: int) -> None:
    assert len(stroke_to_clicks(np.array(path))) == count


def test_a_prompt_set_turns_strokes_into_clicks() -> None:
    prompts = PromptSet([[1, 1]], strokes_yx=[L_SHAPE, [[9, 9]]], stroke_labels=[1, 0])
    assert prompts.points_yx.shape == (2 + MAX_CLICKS, 2)
    assert prompts.point_labels.tolist() == [1, *[1] * MAX_CLICKS, 0]
    assert not prompts.is_ambiguous


@pytest.mark.parametrize("arguments", [{"strokes_yx": [[]]}, {"stroke_labels": [1]}])
def test_malformed_strokes_are_refused(arguments: dict) -> None:
    with pytest.raises(PromptError):
        PlanePrompts(**arguments)


def test_negative_strokes_alone_say_that_nothing_is_there() -> None:
    assert PlanePrompts(strokes_yx=[L_SHAPE], stroke_labels=[0]).says_absent
    assert PlanePrompts(strokes_yx=[L_SHAPE]).is_answerable
    assert PlanePrompts(strokes_yx=[L_SHAPE]) != PlanePrompts(strokes_yx=[L_SHAPE[:2]])


def test_strokes_are_answered_between_regions_and_clicks(tiny_model) -> None:
    image = np.zeros((80, 90), np.uint8)
    image[38:44, 10:80] = 200
    embedding = encode_image(tiny_model, image)
    stroke = [[40.5, 12], [40.5, 77]]
    prompts = PlanePrompts(
        [[60, 40]], [0], boxes_yxyx=[[37, 9, 44, 80]], strokes_yx=[stroke], one_part=True
    )
    steps = answer_prompts(tiny_model, embedding, prompts)
    assert [(len(s.prompts.strokes_yx), len(s.prompts.points_yx)) for s in steps] == [
        (0, 0),
        (1, 0),
        (1, 1),
    ]
    assert answer_prompts(tiny_model, embedding, prompts, steps)[-1] is steps[-1]
    only_stroke = answer_prompts(tiny_model, embedding, PlanePrompts(strokes_yx=[stroke]))
    [asked] = [PromptSet(strokes_yx=[stroke])]
    expected = predict_masks(tiny_model, embedding, asked, None)
    np.testing.assert_array_equal(only_stroke[-1].prediction.masks, expected.masks)


def test_each_region_gets_the_strokes_in_it(tiny_model) -> None:
    image = np.zeros((80, 90), np.uint8)
    image[10:20, 10:30] = image[50:60, 50:80] = 200
    embedding = encode_image(tiny_model, image)
    boxes = [[9, 9, 20, 30], [49, 49, 60, 80]]
    strokes = [[[15, 12], [15, 28]], [[55, 52], [55, 78]]]
    [step] = answer_prompts(
        tiny_model, embedding, PlanePrompts(boxes_yxyx=boxes, strokes_yx=strokes)
    )
    alone = [
        answer_prompts(tiny_model, embedding, PlanePrompts(boxes_yxyx=[b], strokes_yx=[s]))
        for b, s in zip(boxes, strokes, strict=True)
    ]
    united = np.logical_or.reduce(
        [a[-1].prediction.mask(a[-1].prediction.default) for a in alone]
    )
    np.testing.assert_array_equal(step.prediction.masks[0], united)
