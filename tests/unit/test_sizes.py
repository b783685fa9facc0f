"""Expected sizes: how they follow from known objects, and what they do to answers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from napari_promptable.errors import PromptError
from napari_promptable.files.prompts_json import (
    PromptDocument,
    format_prompts,
    parse_prompts,
)
from napari_promptable.predict.click_by_click import answer_prompts
from napari_promptable.predict.decoding import FrameMasks
from napari_promptable.predict.frames import TileFrame, choose_frames, place_prompts
from napari_promptable.prompts import PlanePrompts, PromptSet
from napari_promptable.sizes import ExpectedSize, diameter_of, expect_size


def area_of(diameter: float) -> float:
    return math.pi * diameter**2 / 4


def test_no_known_object_gives_no_expectation() -> None:
    assert expect_size([]) is None
    assert expect_size([0, 0]) is None


def test_more_and_more_alike_objects_make_it_narrower() -> None:
    one = expect_size([100])
    alike = expect_size([100] * 6)
    mixed = expect_size([10, 100, 1000])
    assert one and alike and mixed
    assert alike.spread < one.spread < mixed.spread
    assert mixed.diameter == pytest.approx(diameter_of(100), abs=0.01)


def test_an_estimate_moves_towards_the_expected_size_as_far_as_that_is_certain() -> None:
    vague, certain = ExpectedSize(32.0, 2.0), ExpectedSize(32.0, 0.1)
    assert 4.9 > certain.combine(3.0) > vague.combine(3.0) > 3.0
    assert certain.combine(5.0) == pytest.approx(5.0)


def test_masks_of_the_expected_size_are_most_plausible() -> None:
    expected = ExpectedSize(20.0)
    ratings = [expected.plausibility(area_of(diameter)) for diameter in (20, 30, 40, 1000)]
    assert ratings[0] == 1
    assert ratings == sorted(ratings, reverse=True)
    assert (
        expected.plausibility(0) == pytest.approx(ratings[-1]) == pytest.approx(0.638, abs=1e-3)
    )


@pytest.mark.parametrize("values", [(0, 1), (10, 0), (math.nan, 1), (10, math.inf)])
def test_sizes_that_are_no_positive_numbers_are_refused(values) -> None:
    with pytest.raises(PromptError, match="above 0"):
        ExpectedSize(*values)


# in questions


def test_prompts_of_another_expected_size_are_another_question() -> None:
    prompts = PlanePrompts([[3, 4]])
    sized = replace(prompts, expected_size=ExpectedSize(20.0))
    assert not prompts.has_same_prompts(sized)
    assert sized.has_same_prompts(replace(sized, candidate=1))
    assert sized.with_points(slice(0)).expected_size == sized.expected_size


def test_a_file_keeps_the_expected_size() -> None:
    prompts = PlanePrompts([[3, 4]], expected_size=ExpectedSize(20.5, 0.4))
    document = PromptDocument("a", (9, 9), (0, 1), "tiny", {1: {(): prompts}})
    plain = format_prompts(document)
    assert plain["version"] == 1
    assert plain["objects"][0]["planes"][0]["expected_size"] == {
        "diameter": 20.5,
        "spread": 0.4,
    }
    assert parse_prompts(plain).objects[1][()] == prompts


@pytest.mark.parametrize("size", [{"diameter": -1, "spread": 1}, {"diameter": 5}, 7])
def test_a_wrong_size_in_a_file_is_refused(size) -> None:
    plane = {"index": [], "points": [{"yx": [3, 4], "label": 1}], "expected_size": size}
    content = {
        "format": "napari-promptable/prompts",
        "version": 1,
        "image": {"name": "a", "shape": [9, 9]},
        "plane_axes": [0, 1],
        "model": "tiny",
        "objects": [{"id": 1, "planes": [plane]}],
    }
    with pytest.raises(PromptError, match="expected_size"):
        parse_prompts(content)


# in answers


@pytest.fixture(scope="module")
def disks(tiny_model):
    """An embedding of disks of 24 pixels."""
    rows, columns = np.indices((128, 128))
    image = np.zeros((128, 128), np.float32)
    for row, column in np.ndindex(3, 3):
        image[np.hypot(rows - 24 - 40 * row, columns - 24 - 40 * column) < 12] = 1
    return tiny_model.encode(image)


def level_at(sam, embedding, size: ExpectedSize | None) -> int:
    [frame, *_] = choose_frames(sam, embedding, PromptSet([[64, 64]], expected_size=size))
    assert isinstance(frame, TileFrame)
    return frame.tile.level


def test_a_certain_size_chooses_the_zoom(tiny_model, disks) -> None:
    levels = [
        level_at(tiny_model.sam, disks, size)
        for size in (ExpectedSize(6.0, 0.01), None, ExpectedSize(100.0, 0.01))
    ]
    assert levels[0] > levels[1] > levels[2]


def make_answer(sam, embedding, prompts: PromptSet, sides: tuple[int, ...]) -> FrameMasks:
    """Masks that are squares of some sides in logits, all of one predicted IoU."""
    import torch

    placed = place_prompts(choose_frames(sam, embedding, prompts)[0], prompts)
    logits = torch.full((4, 128, 128), -1.0)
    for mask, side in zip(logits, sides, strict=True):
        mask[:side, :side] = 1
    return FrameMasks(placed, logits, torch.full((4,), 0.5))


def test_of_masks_as_sure_the_one_of_the_expected_size_is_chosen(tiny_model, disks) -> None:
    sides = (5, 40, 80, 120)
    click = PromptSet([[64, 64]])
    pixel = make_answer(tiny_model.sam, disks, click, sides).prompts.frame.pixels_per_logit(128)
    expected = ExpectedSize(diameter_of(pixel * 80**2), 0.2)
    prompts = PromptSet([[64, 64]], expected_size=expected)
    answer = make_answer(tiny_model.sam, disks, prompts, sides)
    pixel_here = answer.prompts.frame.pixels_per_logit(128)
    closest = min(
        range(4), key=lambda k: abs(math.log(pixel_here * sides[k] ** 2 / (pixel * 6400)))
    )
    assert answer.surest(range(4)) == closest
    assert make_answer(tiny_model.sam, disks, click, sides).surest(range(4)) == 0


def test_pixels_per_logit_cover_the_tile(tiny_model, disks) -> None:
    [frame, *_] = choose_frames(tiny_model.sam, disks, PromptSet([[64, 64]]))
    draw, _ = frame.bring_back(
        make_answer(tiny_model.sam, disks, PromptSet([[64, 64]]), (20,) * 4).logits
    )
    drawn = np.count_nonzero(draw([0]))
    assert drawn == pytest.approx(400 * frame.pixels_per_logit(128), rel=0.2)


def test_a_box_or_an_earlier_answer_says_more_than_an_expected_size(tiny_model, disks) -> None:
    size = ExpectedSize(100.0, 0.01)
    boxed = PromptSet(box_yxyx=[52, 52, 76, 76], expected_size=size)
    frame = choose_frames(tiny_model.sam, disks, boxed)[0]
    assert place_prompts(frame, boxed).expected_size is None


def test_answers_with_an_expected_size_are_repeated_from_its_file(tiny_model, disks) -> None:
    prompts = PlanePrompts([[64, 64], [70, 64]], expected_size=ExpectedSize(10.0, 0.1))
    document = PromptDocument("a", (128, 128), (0, 1), "tiny", {1: {(): prompts}})
    again = parse_prompts(format_prompts(document)).objects[1][()]
    first, second = (
        answer_prompts(tiny_model, disks, each)[-1].prediction for each in (prompts, again)
    )
    np.testing.assert_array_equal(first.masks, second.masks)
