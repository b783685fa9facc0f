import numpy as np

from napari_promptable.instances.linking import link_slices, match_labels


def rectangles(*boxes) -> np.ndarray:
    """Labels from 1, one per (top, left, bottom, right)."""
    labels = np.zeros((20, 30), np.int32)
    for number, (top, left, bottom, right) in enumerate(boxes, start=1):
        labels[top:bottom, left:right] = number
    return labels


LEFT, RIGHT = (2, 2, 10, 10), (2, 15, 10, 25)


def test_the_best_pairs_are_matched() -> None:
    first, second = rectangles(LEFT, RIGHT), rectangles(RIGHT, LEFT)
    assert sorted(match_labels(first, second)) == [(1, 2), (2, 1)]


def test_little_overlap_is_no_match() -> None:
    assert match_labels(rectangles(LEFT), rectangles((2, 9, 10, 17))) == []
    assert match_labels(rectangles(), rectangles(LEFT)) == []


def test_an_object_keeps_its_id_through_the_stack() -> None:
    ids = link_slices([rectangles(LEFT), rectangles(RIGHT, LEFT), rectangles(LEFT)])
    assert ids == [{1: 1}, {1: 2, 2: 1}, {1: 1}]


def test_an_object_keeps_its_id_across_one_missing_slice_only() -> None:
    there, gone = rectangles(LEFT), rectangles()
    assert link_slices([there, gone, there]) == [{1: 1}, {}, {1: 1}]
    assert link_slices([there, gone, gone, there])[3] == {1: 2}


def test_an_object_that_is_seen_meanwhile_is_not_taken_up_again() -> None:
    """The left one moves away in small steps; what appears at its old place is new."""
    moved = (2, 5, 10, 13)
    ids = link_slices([rectangles(LEFT), rectangles(moved), rectangles(LEFT, (2, 7, 10, 15))])
    assert ids[1] == {1: 1}
    assert ids[2] == {2: 1, 1: 2}


def test_ids_start_where_they_are_told_to() -> None:
    assert link_slices([rectangles(LEFT, RIGHT)], first_id=7) == [{1: 7, 2: 8}]
