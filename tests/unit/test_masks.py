import json
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_promptable.errors import PromptError
from napari_promptable.files.run_lengths import decode_mask, encode_mask
from napari_promptable.masks import (
    PackedMask,
    interior_point_yx,
    keep_clicked_part,
    mask_iou,
    mask_region,
    mask_to_box_yxyx,
    mask_to_logits,
    polygon_to_mask,
)

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9))


def make_mask(shape: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def test_iou_of_overlapping_squares() -> None:
    first = make_mask((8, 8), slice(0, 4), slice(0, 4))
    second = make_mask((8, 8), slice(0, 4), slice(2, 6))
    assert mask_iou(first, second) == pytest.approx(8 / 24)
    assert mask_iou(first, ~first) == 0
    assert mask_iou(first, first) == 1
    assert mask_iou(first & second & ~first, np.zeros((8, 8), bool)) == 1


@given(MASKS)
def test_a_mask_as_numbers_is_the_same_mask(mask: np.ndarray) -> None:
    encoded = json.loads(json.dumps(encode_mask(mask)))
    assert np.array_equal(decode_mask(encoded), mask)


def test_masks_are_encoded_down_the_columns_beginning_with_false() -> None:
    mask = np.array([[True, False, True], [True, False, False]])
    assert encode_mask(mask) == {"size": [2, 3], "counts": [0, 2, 2, 1, 1]}
    assert encode_mask(~mask)["counts"] == [2, 2, 1, 1]


@pytest.mark.parametrize(
    "encoded",
    [
        {},
        {"size": [2, 3], "counts": [5]},
        {"size": [2, 3], "counts": [10**12]},
        {"size": [2, 3], "counts": [7, -1]},
        {"size": [2], "counts": [2]},
        {"size": "23", "counts": [6]},
        5,
    ],
)
def test_numbers_that_are_no_mask_are_refused(encoded: Any) -> None:
    with pytest.raises(PromptError, match="a mask must have a size and counts"):
        decode_mask(encoded)


@given(MASKS)
def test_region_and_box_are_tight(mask: np.ndarray) -> None:
    region = mask_region(mask)
    if region is None:
        assert not mask.any()
        return
    cropped = mask[region]
    assert cropped.sum() == mask.sum()
    for edge in (cropped[0], cropped[-1], cropped[:, 0], cropped[:, -1]):
        assert edge.any()
    top, left, bottom, right = mask_to_box_yxyx(mask)
    assert (region[0].start, region[0].stop - 1) == (top, bottom)
    assert (region[1].start, region[1].stop - 1) == (left, right)


@given(MASKS)
def test_interior_point_is_in_the_mask_and_nowhere_is_deeper(mask: np.ndarray) -> None:
    assume(mask.any())
    row, column = interior_point_yx(mask).astype(int)
    assert mask[row, column]
    outside = np.argwhere(~np.pad(mask, 1)) - 1
    depths = [np.linalg.norm(outside - pixel, axis=1).min() for pixel in np.argwhere(mask)]
    found = np.linalg.norm(outside - [row, column], axis=1).min()
    assert found == pytest.approx(max(depths))


def test_interior_point_of_a_ring_is_on_the_ring() -> None:
    ring = make_mask((21, 21), slice(2, 19), slice(2, 19))
    ring[7:14, 7:14] = False
    row, column = interior_point_yx(ring).astype(int)
    assert ring[row, column]


@pytest.mark.parametrize("measure", [mask_to_box_yxyx, interior_point_yx])
def test_an_empty_mask_is_refused(measure) -> None:
    with pytest.raises(PromptError, match="empty mask"):
        measure(np.zeros((5, 5), bool))


def blank(*squares: tuple[int, int, int, int]) -> np.ndarray:
    """A mask of 40 × 40 pixels with these rectangles: top, left, bottom, right."""
    mask = np.zeros((40, 40), bool)
    for top, left, bottom, right in squares:
        mask[top:bottom, left:right] = True
    return mask


NOWHERE = np.empty((0, 2))
OBJECT = (5, 5, 25, 25)


@pytest.mark.parametrize("clicks", [[[10, 10]], [[10, 10], [20, 5]]])
def test_only_the_part_with_the_clicks_is_kept(clicks: list[list[int]]) -> None:
    mask = blank(OBJECT, (0, 0, 2, 2), (25, 25, 39, 39), (30, 0, 39, 20))
    kept = keep_clicked_part(mask, np.array(clicks), NOWHERE)
    assert np.array_equal(kept, blank(OBJECT))


def test_parts_that_hold_a_click_each_are_kept() -> None:
    mask = blank(OBJECT, (30, 30, 32, 32), (35, 2, 38, 5))
    kept = keep_clicked_part(mask, np.array([[10, 10], [31, 31]]), NOWHERE)
    assert np.array_equal(kept, blank(OBJECT, (30, 30, 32, 32)))


@pytest.mark.parametrize("clicks", [NOWHERE, [[39, 39]]])
def test_the_largest_part_is_kept_where_no_click_is(clicks) -> None:
    mask = blank((0, 0, 4, 4), OBJECT)
    assert np.array_equal(keep_clicked_part(mask, np.array(clicks), NOWHERE), blank(OBJECT))


def test_parts_of_the_corrected_object_are_kept() -> None:
    core = blank(OBJECT, (30, 30, 34, 34))
    mask = blank(OBJECT, (29, 29, 33, 33), (38, 0, 40, 2))
    kept = keep_clicked_part(mask, np.array([[10, 10]]), NOWHERE, core)
    assert np.array_equal(kept, blank(OBJECT, (29, 29, 33, 33)))


def test_holes_below_one_percent_are_filled_unless_clicked() -> None:
    mask = blank(OBJECT)  # 400 pixels
    mask[8, 8:11] = mask[12, 8:12] = mask[15, 8:10] = False  # 3, 4 and 2 pixels
    expected = mask.copy()
    expected[8, 8:11] = True
    kept = keep_clicked_part(mask, np.array([[20, 20]]), np.array([[15.2, 8.4]]))
    assert np.array_equal(kept, expected)


@given(hnp.arrays(bool, (12, 14)), st.integers(0, 11), st.integers(0, 13))
def test_one_click_inside_gives_one_part(mask: np.ndarray, row: int, column: int) -> None:
    kept = keep_clicked_part(mask, np.array([[row, column]]), NOWHERE)
    assert ndimage.label(kept)[1] == int(mask.any())
    assert kept[row, column] or not mask[row, column]
    holes = np.bincount(ndimage.label(ndimage.binary_fill_holes(kept) & ~kept)[0].ravel())[1:]
    assert (holes >= 0.01 * kept.sum()).all()


def test_polygon_is_filled_and_cut_off_at_the_border() -> None:
    mask = polygon_to_mask([[2, 3], [2, 7], [6, 7], [6, 3]], (10, 10))
    assert mask.dtype == bool
    assert mask[3:6, 4:7].all()
    assert not mask[:2].any()
    assert not mask[7:].any()
    cut = polygon_to_mask([[-5, -5], [-5, 4], [4, 4], [4, -5]], (10, 12))
    assert cut.shape == (10, 12)
    assert cut[:4, :4].all()
    assert not cut[5:].any()


def test_logits_of_a_mask_are_sure_inside_and_outside() -> None:
    mask = make_mask((100, 200), slice(20, 60), slice(40, 120))
    logits = mask_to_logits(mask, (32, 64), (64, 64))
    assert (logits.shape, logits.dtype) == ((64, 64), np.float32)
    assert logits[10:17, 15:36] == pytest.approx(6, abs=0.1)
    assert logits[:4] == pytest.approx(-6, abs=0.1)
    assert (logits[32:] == -6).all()  # padding
    assert np.abs(logits).max() <= 6
    area = (logits > 0).sum() * (100 / 32) * (200 / 64)
    assert area == pytest.approx(mask.sum(), rel=0.1)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    is_full=st.booleans(),
)
def test_logits_of_a_uniform_mask_are_uniform(height: int, width: int, is_full: bool) -> None:
    mask = np.full((height, width), is_full)
    scale = 16 / max(height, width)
    rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
    logits = mask_to_logits(mask, (rows, columns), (16, 16))
    assert logits[:rows, :columns] == pytest.approx(6 if is_full else -6, abs=1e-4)


@given(st.lists(hnp.arrays(bool, (9, 11)), min_size=1, max_size=4))
def test_packed_masks_are_united(masks: list[np.ndarray]) -> None:
    united = PackedMask.unite([PackedMask.pack(mask) for mask in masks])
    expected = np.logical_or.reduce(masks)
    np.testing.assert_array_equal(united.unpack(), expected)
    assert united.num_pixels == expected.sum()


@given(hnp.arrays(bool, (9, 11)), st.integers(0, 3), st.integers(0, 3))
def test_a_crop_is_packed_in_its_place(crop: np.ndarray, top: int, left: int) -> None:
    packed = PackedMask.pack_crop(crop, (top, left), (14, 16))
    expected = np.zeros((14, 16), bool)
    expected[top : top + 9, left : left + 11] = crop
    np.testing.assert_array_equal(packed.unpack(), expected)
    extent = slice(0, 13), slice(0, 15)
    np.testing.assert_array_equal(packed.within(extent), expected[extent])
