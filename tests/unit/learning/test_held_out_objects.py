from dataclasses import replace

import numpy as np
import pytest

from napari_promptable.learning.augmentation import augment
from napari_promptable.learning.crops import cut_crop
from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.learning.sampling import CropSampler, hide
from napari_promptable.learning.targets import known_region

SIDE = 64


@pytest.fixture
def two_squares() -> LabelledImage:
    """Object 1 bright on the left, object 2 darker on the right."""
    labels = np.zeros((48, 96), np.int32)
    labels[14:34, 10:30], labels[14:34, 60:80] = 1, 2
    grey = np.array([0, 250, 120], np.uint8)[labels]
    return LabelledImage("squares", "0", np.repeat(grey[..., None], 3, axis=2), labels)


def test_crops_are_cut_around_objects_that_are_not_held_out(two_squares) -> None:
    rng = np.random.default_rng(0)
    sampler = CropSampler({"squares": [replace(two_squares, held_out=frozenset({2}))]})
    for _ in range(20):
        assert set(np.unique(sampler.sample(SIDE, rng).labels)) <= {0, 1}


def test_a_held_out_object_is_no_background(two_squares) -> None:
    rng = np.random.default_rng(3)
    crop = hide(cut_crop(two_squares, SIDE, rng), {2})
    while not crop.hidden.any():
        crop = hide(cut_crop(two_squares, SIDE, rng), {2})
    known = known_region(crop.labels, crop.is_complete, crop.hidden)
    assert not known[crop.hidden].any()
    assert known[crop.labels == 1].all()
    assert known.any()


def test_hidden_pixels_turn_with_the_image(two_squares) -> None:
    rng = np.random.default_rng(1)
    held_out = replace(two_squares, held_out=frozenset({2}))
    crop = hide(cut_crop(held_out, SIDE, rng), {2})
    crop = replace(crop, hidden=crop.labels == 1)
    for _ in range(8):
        turned = augment(crop, rng)
        assert np.array_equal(turned.hidden, turned.labels == 1)
