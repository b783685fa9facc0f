"""How much of what a model knew may be forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from napari_promptable.learning.examples import ObjectKey
from napari_promptable.learning.figures import Figures, ObjectFigures
from napari_promptable.learning.forgetting import Memory, hold_back
from napari_promptable.learning.labelled_image import LabelledImage


def make_image(dataset: str, *sides: int) -> LabelledImage:
    """Make an image of squares with these sides."""
    labels = np.zeros((32, 32 * len(sides)), np.int32)
    for number, side in enumerate(sides):
        labels[:side, 32 * number : 32 * number + side] = number + 1
    image = np.zeros((*labels.shape, 3), np.uint8)
    return LabelledImage(dataset, "", image, labels)


def test_the_last_image_of_each_dataset_is_held_back_with_two_objects() -> None:
    images = [make_image("a", 8), make_image("b", 8), make_image("a", 2, 6, 10, 12, 20)]
    learned, asked = hold_back(images)
    assert learned == images[:2]
    [held] = asked
    assert set(np.unique(held.labels)) == {0, 3, 4}  # neither the smallest nor the largest
    assert np.count_nonzero(held.labels) == 10**2 + 12**2


def test_images_of_specks_are_learned_from() -> None:
    images = [make_image("a", 8), make_image("a", 2)]
    assert hold_back(images) == (images, [])


@pytest.mark.parametrize(
    ("after", "is_kept"),
    [((0.79, 0.885, 0.9), True), ((0.9, 0.87, 0.9), False), ((0.8, 0.9, 0.85), False)],
)
def test_no_prompt_may_lose_more_than_a_fiftieth(after, is_kept) -> None:
    figures = {"old": (0.8, 0.9, 0.9), "new": after}

    def measure(model, images):
        assert len(images) == 1
        return Figures((ObjectFigures(ObjectKey(0, 1), *figures[model]),))

    assert Memory("old", [make_image("a", 8)], measure).is_kept_by("new") is is_kept


def test_without_images_nothing_is_forgotten() -> None:
    def measure(model, images):
        raise AssertionError("there is nothing to ask about")

    assert Memory("old", [], measure).is_kept_by("new")
