"""Fields of view: where they are, what they show, and the way back to the plane."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_promptable.errors import PromptError
from napari_promptable.field_prompts import in_field, with_field
from napari_promptable.fields import Field, FieldRule, parse_field, unite_fields, with_margin
from napari_promptable.masks import PackedMask
from napari_promptable.plane_source import PlaneSource, levels_by_step
from napari_promptable.planes import PlaneAxes
from napari_promptable.prompts import PlanePrompts

SLIDE = FieldRule((40_000, 60_000), 1024, (1, 2, 4, 8, 16, 32))
PLANE = FieldRule((3000, 4000), 1024)


@st.composite
def boxes(draw, rule: FieldRule) -> np.ndarray:
    top, left = (draw(st.integers(0, n - 2)) for n in rule.plane_shape)
    bottom = draw(st.integers(top + 1, rule.plane_shape[0] - 1))
    return np.array([top, left, bottom, draw(st.integers(left + 1, rule.plane_shape[1] - 1))])


@pytest.mark.parametrize("rule", [SLIDE, PLANE])
@given(data=st.data())
def test_a_field_holds_what_is_in_view(rule, data) -> None:
    box = data.draw(boxes(rule))
    field = rule.choose(box)
    longest = np.max(box[2:] - box[:2])
    if field is None:
        assert rule is PLANE
        return
    assert field.holds(box)
    assert field.step in rule.steps
    assert field.top % field.step == field.left % field.step == 0
    assert (
        max(field.height, field.width) <= max(256, 2 * 8 / 6 * longest) or field == rule.whole()
    )
    assert max(field.shape) < 2.1 * 1024 or field.step == 1
    inside = Field(0, 0, *rule.plane_shape)
    assert inside.holds([field.top, field.left, *np.subtract(field_end(field), 1)])


def field_end(field: Field) -> tuple[int, int]:
    return field.top + field.height, field.left + field.width


def test_views_nearby_share_a_field() -> None:
    view = np.array([1000.0, 1000, 1399, 1399])
    field = PLANE.choose(view)
    assert field == Field(768, 768, 768, 768)
    assert PLANE.choose(view - 40) == PLANE.choose(view + 0.4) == field
    assert PLANE.choose(view + 400) != field


@pytest.mark.parametrize("longest", [2000, 3999])
def test_half_of_the_plane_or_more_is_the_whole(longest: int) -> None:
    assert PLANE.choose(np.array([0, 0, 100, longest])) is None


def test_a_slide_is_read_at_the_level_that_fills_the_input() -> None:
    assert SLIDE.whole() == Field(0, 0, 40_000, 60_000, 32)
    assert SLIDE.choose(np.array([0, 0, 40_000, 50_000])) == SLIDE.whole()
    assert SLIDE.choose(np.array([20_000, 20_000, 20_500, 20_500])).step == 1
    field = SLIDE.choose(np.array([10_000, 10_000, 16_000, 16_000]))
    assert field.step == 8


def test_small_planes_are_shown_whole() -> None:
    rule = FieldRule((3000, 4000), 1024, least_side=4096)
    assert rule.choose(np.array([10, 10, 20, 20])) is None
    assert FieldRule((200, 250), 1024).choose(np.array([10, 10, 20, 20])) is None


def test_the_margin_ends_at_the_plane() -> None:
    np.testing.assert_allclose(with_margin([10, 100, 109, 199], (120, 300)), [0, 90, 119, 209])


@pytest.mark.parametrize("step", [1, 2, 4])
@given(data=st.data())
def test_masks_go_there_and_back(step: int, data) -> None:
    top, left = (step * data.draw(st.integers(0, 5)) for _ in range(2))
    field = Field(top, left, 24, 21, step)
    shape = 60, 61
    mask = np.zeros(field.shape, bool)
    first, second = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    mask[first : first + 4, second : second + 3] = step > 1 or data.draw(st.booleans())
    placed = field.place(mask, shape)
    drawn = placed.unpack()
    assert not drawn[:top].any() and not drawn[:, :left].any()
    assert not drawn[top + 24 :].any() and not drawn[:, left + 21 :].any()
    np.testing.assert_array_equal(field.cut(placed), mask)
    if step == 1:
        np.testing.assert_array_equal(drawn[top : top + 24, left : left + 21], mask)


def test_prompts_are_moved_by_centres_of_pixels() -> None:
    field = Field(8, 4, 40, 40, 4)
    prompts = in_field(
        PlanePrompts([[9.5, 5.5]], boxes_yxyx=[[9.5, 5.5, 13.5, 9.5]], field=field)
    )
    np.testing.assert_allclose(prompts.points_yx, [[0, 0]])
    np.testing.assert_allclose(prompts.boxes_yxyx, [[0, 0, 1, 1]])
    assert in_field(plain := PlanePrompts([[1, 2]])) is plain


def test_a_mask_follows_its_prompts_to_another_field() -> None:
    first, second, shape = Field(0, 0, 20, 20), Field(10, 10, 20, 20), (60, 60)
    mask = np.zeros((20, 20), bool)
    mask[12:15, 13:16] = True
    prompts = PlanePrompts(mask=mask, field=first)
    moved = with_field(prompts, second, shape)
    assert moved.field == second
    np.testing.assert_array_equal(np.argwhere(moved.mask)[0], [2, 3])
    whole = with_field(moved, None, shape)
    np.testing.assert_array_equal(whole.mask[:20, :20], mask)
    np.testing.assert_array_equal(with_field(whole, first, shape).mask, mask)
    assert with_field(prompts, Field(40, 40, 20, 20), shape).mask is None


def test_prompts_of_other_fields_are_other_prompts() -> None:
    first = PlanePrompts([[5, 5]], field=Field(0, 0, 20, 20))
    assert not first.has_same_prompts(PlanePrompts([[5, 5]]))
    assert first.has_same_prompts(PlanePrompts([[5, 5]], field=Field(0, 0, 20, 20)))


def test_fields_are_united() -> None:
    united = unite_fields([Field(0, 8, 20, 20), Field(16, 0, 20, 20, 4)])
    assert united == Field(0, 0, 36, 28, 4)
    assert unite_fields([Field(0, 8, 20, 20), None]) is None


def test_united_fields_lie_on_the_grid_of_their_step() -> None:
    united = unite_fields([Field(7, 11, 30, 30), Field(9, 15, 30, 60, 3)])
    assert united == Field(6, 9, 33, 66, 3)
    assert united == parse_field(**united.to_plain())


@given(
    step=st.sampled_from([2, 3, 5]),
    rounding=st.sampled_from([math.floor, math.ceil, round]),
    data=st.data(),
)
def test_a_level_of_any_factor_fills_its_field(step, rounding, data) -> None:
    shape = data.draw(st.tuples(*[st.integers(40, 90)] * 2))
    full = np.indices(shape).sum(axis=0).astype(np.int32)
    ends = [rounding(length / step) for length in shape]
    level = full[::step, ::step][: ends[0], : ends[1]] + 1000
    source = PlaneSource(full, PlaneAxes(shape, (0, 1)), levels={step: level})
    rule = FieldRule(shape, input_side=8, steps=source.steps, least_side=0)
    top, left = (data.draw(st.integers(0, length - 1)) for length in shape)
    for field in (rule.whole(), rule.choose(np.array([top, left, top, left]))):
        assert field is not None
        pixels = source.read((), field)
        assert pixels.shape == field.shape
        row, column = (np.array([field.top, field.left]) // step).tolist()
        there = level[row : row + field.shape[0], column : column + field.shape[1]]
        np.testing.assert_array_equal(pixels[: there.shape[0], : there.shape[1]], there)


def test_a_field_is_plain_data_and_back() -> None:
    field = Field(8, 4, 40, 30, 4)
    assert parse_field(**field.to_plain()) == field
    with pytest.raises(PromptError, match="must be a multiple of its step 4"):
        parse_field([3, 4], [40, 30], 4)


def test_pixels_beyond_a_level_are_read_at_full_resolution() -> None:
    full = np.arange(41 * 41).reshape(41, 41)
    source = PlaneSource(full, PlaneAxes((41, 41), (0, 1)), levels={2: full[:40:2, :40:2]})
    assert source.read((), Field(40, 40, 1, 1, 2)) == full[40, 40]


@pytest.mark.parametrize("colours", [(), (3,)])
def test_a_source_reads_fields_at_their_level(colours) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (2, 50, 70, *colours)).astype(np.uint8)
    half = rng.integers(0, 255, (2, 25, 35, *colours)).astype(np.uint8)
    planes = PlaneAxes((2, 50, 70), (1, 2))
    source = PlaneSource(image, planes, levels=levels_by_step([image, half], (1, 2)))
    assert source.steps == (1, 2)
    field = Field(10, 20, 30, 40)
    np.testing.assert_array_equal(source.read((1,), field), image[1, 10:40, 20:60])
    field = Field(10, 20, 30, 40, 2)
    np.testing.assert_array_equal(source.read((1,), field), half[1, 5:20, 10:30])
    field = Field(8, 16, 42, 54, 4)
    means = source.read((0,), field)
    assert means.shape[:2] == field.shape
    np.testing.assert_allclose(means[0, 0], image[0, 8:12, 16:20].mean(axis=(0, 1)), atol=0.51)
    np.testing.assert_allclose(means[-1, -1], image[0, 48:, 68:].mean(axis=(0, 1)), atol=0.51)


def test_levels_that_are_no_fraction_are_left_out() -> None:
    shapes = [(4, 100, 100), (4, 50, 50), (2, 25, 25), (4, 30, 25), (4, 13, 13)]
    arrays = [np.empty(shape) for shape in shapes]
    assert {step: a.shape for step, a in levels_by_step(arrays, (1, 2)).items()} == {
        2: (4, 50, 50),
        8: (4, 13, 13),
    }


def test_a_packed_mask_outside_a_field_is_cut_off() -> None:
    mask = np.zeros((60, 60), bool)
    mask[5:30, 5:30] = True
    cut = Field(20, 20, 20, 20).cut(PackedMask.pack(mask))
    np.testing.assert_array_equal(cut, mask[20:40, 20:40])
