from dataclasses import replace

import numpy as np
import pytest

from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.prompts import PromptSet
from napari_promptable.propagation.appearance import (
    appearance_of,
    follow_appearance,
    likeness_of,
)
from napari_promptable.propagation.prompt_step import PromptStep
from napari_promptable.propagation.settings import PropagationSettings, StopReason
from napari_promptable.propagation.step import find_stop

SHAPE = (40, 48)
GREY, RED = (60, 60, 60), (160, 40, 60)


def make_disk(radius: float, column: float = 24) -> np.ndarray:
    rows, columns = np.indices(SHAPE)
    return np.hypot(rows - 20, columns - column) <= radius


def make_embedding(mask: np.ndarray, colour=RED, noise: float = 4) -> ImageEmbedding:
    """Embedding of an image with an object of a colour, on grey."""
    image = np.where(mask[..., None], colour, GREY)
    image = image + np.random.default_rng(0).normal(0, noise, image.shape)
    image = image.clip(0, 255).astype(np.uint8)
    return ImageEmbedding(
        np.zeros((1, 1, 1), np.float32), SHAPE, SHAPE, "fake", SHAPE, SHAPE, image
    )


def assert_alike(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.count_nonzero(found ^ expected) < 0.1 * np.count_nonzero(expected)


@pytest.mark.parametrize("colour", [RED, (20, 60, 60), (200, 200, 200)])
def test_an_object_that_shrinks_is_followed(colour) -> None:
    large, small = make_disk(12), make_disk(8)
    look = appearance_of(make_embedding(large, colour), large)
    found = follow_appearance(large, look, make_embedding(small, colour))
    assert_alike(found, small)


def test_an_object_may_grow_and_move_by_a_little() -> None:
    before, after = make_disk(10), make_disk(10, column=25)
    look = appearance_of(make_embedding(before), before)
    assert_alike(follow_appearance(before, look, make_embedding(after)), after)


def test_what_looks_alike_elsewhere_is_left_out() -> None:
    mask = make_disk(6, column=12)
    embedding = make_embedding(mask | make_disk(6, column=38))
    assert_alike(follow_appearance(mask, appearance_of(embedding, mask), embedding), mask)


def test_nothing_is_left_of_an_object_that_is_gone() -> None:
    mask = make_disk(8)
    look = appearance_of(make_embedding(mask), mask)
    assert not follow_appearance(mask, look, make_embedding(np.zeros(SHAPE, bool))).any()


def test_colours_that_tell_nothing_are_not_used() -> None:
    mask = make_disk(8)
    assert appearance_of(make_embedding(mask, GREY, noise=20), mask) is None
    assert follow_appearance(mask, None, make_embedding(mask)) is mask


def test_models_that_keep_no_image_do_without() -> None:
    mask = make_disk(8)
    embedding = make_embedding(mask)
    look = appearance_of(embedding, mask)
    without = replace(embedding, image=None)
    assert appearance_of(without, mask) is None
    assert follow_appearance(mask, look, without) is mask


@pytest.mark.parametrize("mask", [np.zeros(SHAPE, bool), np.ones(SHAPE, bool)])
def test_no_object_and_no_surroundings_tell_nothing(mask: np.ndarray) -> None:
    assert appearance_of(make_embedding(mask), mask) is None


def test_the_model_is_not_asked_where_nothing_looks_like_the_object(fake_segmenter) -> None:
    mask = make_disk(8)
    image = np.where(mask, 0.9, 0.1)
    here, gone = fake_segmenter.encode(image), fake_segmenter.encode(np.full(SHAPE, 0.1))
    here = replace(here, image=make_embedding(mask).image)
    gone = replace(gone, image=make_embedding(np.zeros(SHAPE, bool)).image)
    box = PromptSet(box_yxyx=[12, 16, 28, 32])
    step = PromptStep(fake_segmenter, PropagationSettings(box_margin=0.1))
    anchor = step.begin(here, fake_segmenter.predict_many(here, [box])[0], 0)
    assert anchor.memory.appearance is not None
    fake_segmenter.questions.clear()
    [found] = step.advance(gone, [anchor])
    assert not found.mask.any()
    assert fake_segmenter.questions == []
    [again] = step.advance(here, [anchor])
    assert np.array_equal(again.mask, anchor.mask)
    assert again.memory.appearance is anchor.memory.appearance


def test_likeness_is_1_for_the_object_and_0_for_its_surroundings() -> None:
    mask = make_disk(8)
    embedding = make_embedding(mask)
    look = appearance_of(embedding, mask)
    assert likeness_of(make_disk(7), look, embedding) == pytest.approx(1, abs=0.1)
    assert likeness_of(make_disk(4, column=42), look, embedding) == pytest.approx(0, abs=0.1)
    assert likeness_of(mask, None, embedding) == 1
    assert likeness_of(np.zeros(SHAPE, bool), look, embedding) == 1


def test_a_mask_that_looks_like_the_surroundings_has_drifted(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(np.ones(SHAPE))
    prediction = fake_segmenter.predict_many(embedding, [PromptSet(box_yxyx=[9, 9, 20, 20])])[0]
    anchor = PromptStep(fake_segmenter).begin(embedding, prediction, 0)
    for likeness, expected in ((0.6, None), (0.4, StopReason.DRIFTED)):
        faded = replace(anchor, likeness=likeness)
        assert find_stop(faded, anchor, anchor, PropagationSettings()) is expected
