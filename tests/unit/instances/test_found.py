import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_promptable.instances.found import choose_objects, tidy_mask
from napari_promptable.instances.settings import AutomaticSettings
from napari_promptable.masks import PackedMask

SHAPE = (40, 50)
NOTHING_TAKEN = np.zeros(SHAPE, bool)
SETTINGS = AutomaticSettings(min_confidence=0.5, min_area=4)


def test_a_mask_becomes_one_piece_without_holes() -> None:
    mask = np.zeros((12, 12), bool)
    mask[1:8, 1:8] = True
    mask[4, 4] = False
    mask[10, 10] = True
    expected = np.zeros_like(mask)
    expected[1:8, 1:8] = True
    np.testing.assert_array_equal(tidy_mask(mask), expected)


@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 2**16 - 1))
def test_packing_a_crop_is_packing_the_whole_mask(top: int, left: int, bits: int) -> None:
    crop = np.array([bits >> k & 1 for k in range(16)], bool).reshape(4, 4)
    whole = np.zeros((12, 12), bool)
    whole[top : top + 4, left : left + 4] = crop
    packed = PackedMask.pack_crop(crop, (top, left), (12, 12))
    np.testing.assert_array_equal(packed.unpack(), whole)
    assert packed.region == PackedMask.pack(whole).region


def test_the_surer_object_comes_first_and_keeps_common_pixels(make_found) -> None:
    unsure = make_found(0, 0, 10, 10, 0.6)
    sure = make_found(0, 7, 10, 17, 0.8)
    labels, chosen = choose_objects([unsure, sure], SETTINGS, NOTHING_TAKEN)
    assert chosen == [sure, unsure]
    assert (labels[:10, 7:17] == 1).all()
    assert (labels[:10, :7] == 2).all()
    assert labels.dtype == np.int32


def test_an_object_that_repeats_a_surer_one_is_left_out(make_found) -> None:
    sure, again = make_found(0, 0, 10, 10, 0.9), make_found(0, 1, 10, 11, 0.8)
    labels, chosen = choose_objects([again, sure], SETTINGS, NOTHING_TAKEN)
    assert chosen == [sure]
    assert set(np.unique(labels)) == {0, 1}


def test_a_part_of_a_surer_object_is_left_out_and_so_is_its_whole(make_found) -> None:
    whole, part = (0, 0, 20, 20), (2, 2, 8, 8)
    for first, second in ((whole, part), (part, whole)):
        sure, unsure = make_found(*first, 0.9), make_found(*second, 0.8)
        assert choose_objects([sure, unsure], SETTINGS, NOTHING_TAKEN)[1] == [sure]


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        ({"min_confidence": 0.7}, {"predicted_iou": 0.6}),
        ({"min_confidence": 0.7}, {"predicted_iou": 0.9, "agreement": 0.6}),
        ({"min_stability": 0.9}, {"stability": 0.8}),
        ({"min_area": 101}, {}),
        ({"max_area": 99}, {}),
    ],
)
def test_each_threshold_leaves_an_object_out(make_found, changes, values) -> None:
    found = make_found(0, 0, 10, 10, **values)
    usual = {"min_confidence": 0.5, "min_area": 4}
    assert choose_objects([found], SETTINGS, NOTHING_TAKEN)[1] == [found]
    settings = AutomaticSettings(**{**usual, **changes})
    assert choose_objects([found], settings, NOTHING_TAKEN)[1] == []


def test_taken_pixels_stay_empty(make_found) -> None:
    taken = NOTHING_TAKEN.copy()
    taken[:, :3] = True
    labels, chosen = choose_objects([make_found(0, 0, 10, 10)], SETTINGS, taken)
    assert len(chosen) == 1
    assert (labels[taken] == 0).all()
    assert np.count_nonzero(labels) == 70


def test_an_object_that_is_mostly_taken_is_left_out(make_found) -> None:
    taken = NOTHING_TAKEN.copy()
    taken[:, :6] = True
    assert choose_objects([make_found(0, 0, 10, 10)], SETTINGS, taken)[1] == []
