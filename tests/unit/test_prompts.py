from typing import Any

import numpy as np
import pytest

from napari_promptable.errors import PromptError
from napari_promptable.prompts import PlanePrompts, PromptSet, as_boxes_yxyx


def test_parts_are_converted() -> None:
    prompts = PromptSet(
        points_yx=[[40, 52], [10, 9]],
        point_labels=[1, 0],
        box_yxyx=[30, 40, 60, 70],
        mask_logits=np.zeros((1, 8, 6)),
    )
    assert (prompts.points_yx.shape, prompts.points_yx.dtype) == ((2, 2), np.float32)
    assert (prompts.point_labels.tolist(), prompts.point_labels.dtype) == ([1, 0], np.int64)
    assert prompts.box_yxyx is not None
    assert (prompts.box_yxyx.tolist(), prompts.box_yxyx.dtype) == ([30, 40, 60, 70], np.float32)
    assert prompts.mask_logits is not None
    assert (prompts.mask_logits.shape, prompts.mask_logits.dtype) == ((8, 6), np.float32)


def test_points_are_foreground_unless_told() -> None:
    assert PromptSet(points_yx=[[1, 2], [3, 4]]).point_labels.tolist() == [1, 1]


def test_no_parts_are_empty_arrays() -> None:
    prompts = PromptSet()
    assert prompts.points_yx.shape == (0, 2)
    assert prompts.point_labels.shape == (0,)
    assert prompts.box_yxyx is None
    assert not prompts.is_answerable


@pytest.mark.parametrize(
    ("parts", "is_answerable", "is_ambiguous"),
    [
        ({"points_yx": [[1, 2]]}, True, True),
        ({"points_yx": [[1, 2]], "point_labels": [0]}, False, True),
        ({"points_yx": [[1, 2], [3, 4]], "point_labels": [0, 1]}, True, False),
        ({"box_yxyx": [0, 0, 5, 5]}, True, False),
        ({"points_yx": [[1, 2]], "box_yxyx": [0, 0, 5, 5]}, True, False),
        ({"mask_logits": np.zeros((4, 4))}, True, False),
        ({"points_yx": [[1, 2]], "mask_logits": np.zeros((4, 4))}, True, False),
        ({"points_yx": [[1, 2]], "point_labels": [0], "box_yxyx": [0, 0, 5, 5]}, True, False),
    ],
)
def test_what_can_be_answered(
    parts: dict[str, Any], is_answerable: bool, is_ambiguous: bool
) -> None:
    prompts = PromptSet(**parts)
    assert prompts.is_answerable is is_answerable
    assert prompts.is_ambiguous is is_ambiguous


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"points_yx": [1, 2]}, "shape"),
        ({"points_yx": [[1, 2, 3]]}, "shape"),
        ({"points_yx": [[1, 2], [3]]}, "regular"),
        ({"points_yx": "here"}, "numbers"),
        ({"points_yx": [[np.nan, 2]]}, "finite"),
        ({"points_yx": [[1e39, 2]]}, "finite"),
        ({"points_yx": [[1, 2]], "point_labels": [1, 0]}, "1 numbers"),
        ({"points_yx": [[1, 2]], "point_labels": [2]}, "1 .foreground"),
        ({"points_yx": [[1, 2]], "point_labels": [-1]}, "0 .background"),
        ({"points_yx": [[1, 2]], "point_labels": [0.5]}, "0 .background"),
        ({"points_yx": [[1, 2]], "point_labels": ["positive"]}, "positive"),
        ({"box_yxyx": []}, "four finite numbers"),
        ({"box_yxyx": [1, 2, 3]}, "four finite numbers"),
        ({"box_yxyx": [[1, 2], [3, 4]]}, "four finite numbers"),
        ({"box_yxyx": [5, 0, 4, 9]}, "top <= bottom"),
        ({"box_yxyx": [0, 9, 4, 8]}, "left <= right"),
        ({"box_yxyx": [0, 0, np.inf, 8]}, "finite"),
        ({"mask_logits": np.zeros((3, 4, 4))}, "index the candidate"),
        ({"mask_logits": np.zeros(4)}, "one .h, w. plane"),
        ({"mask_logits": np.full((4, 4), np.nan)}, "NaN"),
    ],
)
def test_malformed_prompts_are_refused(parts: dict[str, Any], problem: str) -> None:
    with pytest.raises(PromptError, match=problem):
        PromptSet(**parts)


def test_a_box_may_be_one_pixel() -> None:
    assert as_boxes_yxyx([[3, 4, 3, 4]]).tolist() == [[3, 4, 3, 4]]


@pytest.mark.parametrize("nothing", [(), [], np.zeros((0, 4))])
def test_no_boxes_are_an_empty_array(nothing: Any) -> None:
    assert as_boxes_yxyx(nothing).shape == (0, 4)


@pytest.fixture
def full_prompts() -> PlanePrompts:
    """Prompts of each kind."""
    return PlanePrompts(
        points_yx=[[1, 2], [3, 4], [5, 6]],
        point_labels=[1, 0, 1],
        boxes_yxyx=[[0, 0, 8, 8]],
        polygons_yx=([[0, 0], [0, 5], [5, 5]],),
        refines=(None, 2, 0),
        candidate=1,
        extra={"note": "a"},
        point_extra=({"n": 0}, {"n": 1}, {"n": 2}),
    )


def test_with_points_keeps_what_belongs_to_them(full_prompts: PlanePrompts) -> None:
    for chosen in ([2, 1], np.array([False, True, True])):
        part = full_prompts.with_points(chosen)
        order = [1, 2] if isinstance(chosen, np.ndarray) else [2, 1]
        assert part.points_yx.tolist() == [[2 * i + 1, 2 * i + 2] for i in order]
        assert part.point_labels.tolist() == [[1, 0, 1][i] for i in order]
        assert part.refines == tuple((None, 2, 0)[i] for i in order)
        assert part.point_extra == tuple({"n": i} for i in order)
        assert np.array_equal(part.boxes_yxyx, full_prompts.boxes_yxyx)
        assert part.extra == {"note": "a"}
        assert part.candidate == 1


def test_with_no_points_the_regions_stay(full_prompts: PlanePrompts) -> None:
    part = full_prompts.with_points(slice(0))
    assert part.points_yx.shape == (0, 2)
    assert part.is_answerable
    assert not part.is_empty


def test_equality_is_of_all_prompts_and_the_candidate(full_prompts: PlanePrompts) -> None:
    twin = full_prompts.with_points(slice(None))
    assert twin == full_prompts
    changes: list[dict[str, Any]] = [
        {"points_yx": [[1, 2], [3, 4], [5, 7]]},
        {"point_labels": [1, 1, 1]},
        {"boxes_yxyx": [[0, 0, 8, 9]]},
        {"boxes_yxyx": None},
        {"polygons_yx": ()},
        {"polygons_yx": ([[0, 0], [0, 5], [5, 6]],)},
        {"refines": (None, None, 0)},
    ]
    for change in changes:
        other = PlanePrompts(**(vars(full_prompts) | change))
        assert not other.has_same_prompts(full_prompts), change
        assert other != full_prompts
    other = PlanePrompts(**(vars(full_prompts) | {"candidate": 2}))
    assert other.has_same_prompts(full_prompts)
    assert other != full_prompts
    assert full_prompts != "something else"


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"refines": (0,)}, "1 values for 2 points"),
        ({"refines": (0, -1)}, "candidate must be"),
        ({"refines": (0, "1")}, "candidate must be"),
        ({"point_extra": ({},)}, "1 values for 2 points"),
        ({"candidate": -1}, "candidate must be"),
        ({"candidate": 1.5}, "candidate must be"),
        ({"boxes_yxyx": [1, 2, 3, 4]}, "four finite numbers"),
        ({"polygons_yx": ([[0, 0, 0]],)}, "shape"),
    ],
)
def test_malformed_plane_prompts_are_refused(parts: dict[str, Any], problem: str) -> None:
    with pytest.raises(PromptError, match=problem):
        PlanePrompts(points_yx=[[1, 2], [3, 4]], **parts)


@pytest.mark.parametrize(
    ("parts", "is_empty", "is_answerable"),
    [
        ({}, True, False),
        ({"points_yx": [[1, 2]], "point_labels": [0]}, False, False),
        ({"points_yx": [[1, 2]]}, False, True),
        ({"boxes_yxyx": [[0, 0, 1, 1]]}, False, True),
        ({"polygons_yx": ([[0, 0], [0, 2], [2, 2]],)}, False, True),
    ],
)
def test_which_plane_prompts_can_be_answered(
    parts: dict[str, Any], is_empty: bool, is_answerable: bool
) -> None:
    prompts = PlanePrompts(**parts)
    assert prompts.is_empty is is_empty
    assert prompts.is_answerable is is_answerable
