"""Corrections of a mask that a user makes with one button."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_promptable.mask_edits import (
    fill_holes,
    grow,
    nearest_piece,
    remove_specks,
    shrink,
    smooth,
    split_by_line,
)

EDITS = [fill_holes, smooth, remove_specks, grow, shrink]


@pytest.fixture
def square() -> np.ndarray:
    """Filled square of 10 × 10 pixels in the middle of 20 × 30."""
    mask = np.zeros((20, 30), bool)
    mask[5:15, 8:18] = True
    return mask


@given(mask=arrays(bool, (9, 11)), edit=st.sampled_from(EDITS))
def test_no_edit_loses_an_object_or_changes_its_argument(mask, edit) -> None:
    before = mask.copy()
    edited = edit(mask)
    assert edited.dtype == bool
    assert edited.shape == mask.shape
    assert edited.any() == mask.any()
    assert np.array_equal(mask, before)


def test_holes_are_filled_and_bays_stay_open(square) -> None:
    holed = square.copy()
    holed[8:11, 9:12] = False
    holed[12:15, 14] = False  # open towards the background
    expected = square.copy()
    expected[12:15, 14] = False
    assert np.array_equal(fill_holes(holed), expected)


def test_smoothing_removes_bristles_and_keeps_area_and_thin_lines(square) -> None:
    bristly = square.copy()
    bristly[2:5, 12] = True
    bristly[5, 10] = False
    smoothed = smooth(bristly)
    assert not smoothed[2:4, 12].any()
    assert smoothed[5, 10]
    assert abs(int(smoothed.sum()) - 100) <= 8
    line = np.zeros((9, 30), bool)
    line[4:6] = True
    assert np.array_equal(smooth(line), line)


def test_specks_go_and_large_parts_stay(square) -> None:
    parts = square.copy()
    parts[0:2, 0:2] = True  # 4 of 100 pixels
    parts[17:20, 25:28] = True  # 9
    expected = parts.copy()
    expected[0:2, 0:2] = False
    assert np.array_equal(remove_specks(parts), expected)


def test_growing_and_shrinking_by_one_pixel(square) -> None:
    assert grow(square).sum() == 100 + 40
    assert shrink(square).sum() == 64
    assert np.array_equal(shrink(grow(square)), square)
    dot = np.zeros((5, 5), bool)
    dot[2, 2] = True
    assert np.array_equal(shrink(dot), dot)


def test_the_image_border_does_not_eat_an_object() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:4] = True
    assert shrink(mask)[:3].all()


def test_a_line_across_makes_two_pieces_and_loses_no_pixel(square) -> None:
    pieces = split_by_line(square, [[0, 11], [19, 13]])
    assert np.array_equal(pieces > 0, square)
    first, second = (np.flatnonzero((pieces == n).any(axis=0)) for n in (1, 2))
    assert first.min() > second.min()  # the larger piece, on the right, comes first
    assert np.bincount(pieces[square])[1] > np.bincount(pieces[square])[2]


@pytest.mark.parametrize(
    "line", [[[0, 0], [19, 2]], [[0, 12], [10, 12]], [[7, 9], [7, 12]], [[12, 12], [12, 12]]]
)
def test_a_line_that_does_not_cross_divides_nothing(square, line) -> None:
    assert np.array_equal(split_by_line(square, line), square.astype(int))


def test_a_diagonal_line_divides_objects_that_touch_at_corners() -> None:
    mask = np.ones((12, 12), bool)
    pieces = split_by_line(mask, [[-1, -1], [12, 12]])
    assert set(np.unique(pieces)) == {1, 2}
    assert pieces[0, -1] != pieces[-1, 0]


def test_other_parts_keep_the_first_number(square) -> None:
    parts = square.copy()
    parts[0:3, 0:3] = True
    pieces = split_by_line(parts, [[0, 13], [19, 13]])
    assert (pieces[0:3, 0:3] == 1).all()
    assert set(np.unique(pieces)) == {0, 1, 2}


def test_crumbs_of_a_wobbling_line_are_no_objects(square) -> None:
    pieces = split_by_line(
        square, [[0, 12], [8, 12], [8, 13], [8, 14], [9, 14], [9, 12], [19, 12]]
    )
    assert set(np.unique(pieces)) == {0, 1, 2}
    assert np.array_equal(pieces > 0, square)


@given(
    mask=arrays(bool, (9, 11)),
    line=st.lists(st.tuples(st.integers(-3, 12), st.integers(-3, 12)), min_size=2, max_size=4),
)
def test_pieces_cover_exactly_the_object(mask, line) -> None:
    pieces = split_by_line(mask, line)
    assert np.array_equal(pieces > 0, mask)
    numbers = np.unique(pieces[mask])
    assert numbers.tolist() == list(range(1, len(numbers) + 1))


def test_each_pixel_goes_to_the_nearest_piece() -> None:
    assert nearest_piece(np.array([[1, 0, 0, 0, 0, 2]])).tolist() == [[1, 1, 1, 2, 2, 2]]
