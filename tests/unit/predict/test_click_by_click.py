from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_promptable.errors import PromptError
from napari_promptable.masks import polygon_to_mask
from napari_promptable.predict.click_by_click import Step, answer_prompts, chosen_candidate
from napari_promptable.predict.prediction import Prediction
from napari_promptable.prompts import PlanePrompts

SHAPE = (24, 30)
IMAGE = np.full(SHAPE, 0.5)
CLICKS = st.tuples(
    st.integers(0, SHAPE[0] - 1), st.integers(0, SHAPE[1] - 1), st.integers(0, 1)
)
REFINES = st.none() | st.integers(0, 4)


@st.composite
def prompts_with_regions(draw: st.DrawFn) -> PlanePrompts:
    """Clicks, at times with a box or an outline."""
    clicks = draw(st.lists(CLICKS, max_size=5))
    has_box, has_polygon = draw(st.sampled_from([(0, 0), (1, 0), (0, 1), (1, 1)]))
    has_mask = draw(st.booleans())
    return PlanePrompts(
        [click[:2] for click in clicks],
        [click[2] for click in clicks],
        [[4, 5, 11, 13]] * has_box,
        ([[12, 14], [12, 25], [20, 25]],) * has_polygon,
        tuple(draw(REFINES) for _ in clicks),
        mask=MASK if has_mask else None,
    )


MASK = np.zeros(SHAPE, bool)
MASK[3:9, 4:12] = True


def have_equal_answers(first: tuple[Step, ...], second: tuple[Step, ...]) -> bool:
    return len(first) == len(second) and all(
        a.prompts.has_same_prompts(b.prompts)
        and np.array_equal(a.prediction.masks, b.prediction.masks)
        and np.array_equal(a.prediction.low_res_logits, b.prediction.low_res_logits)
        for a, b in zip(first, second, strict=True)
    )


def test_a_mask_is_its_own_answer_until_a_click_corrects_it(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    steps = answer_prompts(fake_segmenter, embedding, PlanePrompts(mask=MASK))
    assert np.array_equal(steps[-1].prediction.masks, MASK[None])
    assert fake_segmenter.questions == []

    answer_prompts(fake_segmenter, embedding, PlanePrompts([[3, 4]], [1], mask=MASK), steps)
    [question] = fake_segmenter.questions
    assert question.box_yxyx is None
    assert np.array_equal(question.mask_logits, steps[0].prediction.low_res_logits[0])


def test_a_box_beside_a_mask_is_united_with_it(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    prompts = PlanePrompts(boxes_yxyx=[[15, 20, 18, 25]], mask=MASK)
    [step] = answer_prompts(fake_segmenter, embedding, prompts)
    expected = MASK.copy()
    expected[15:19, 20:26] = True
    assert np.array_equal(step.prediction.masks, expected[None])


def test_a_mask_of_another_size_is_refused(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    with pytest.raises(PromptError, match="a mask of the image's size"):
        answer_prompts(fake_segmenter, embedding, PlanePrompts(mask=MASK[:-1]))


@given(prompts_with_regions())
def test_click_by_click_gives_the_same_as_all_at_once(
    make_fake_segmenter: Callable, prompts: PlanePrompts
) -> None:
    segmenter = make_fake_segmenter()
    embedding = segmenter.encode(IMAGE)
    known: tuple[Step, ...] = ()
    for count in range(len(prompts.points_yx) + 1):
        prefix = prompts.with_points(slice(count))
        if prefix.is_answerable:
            known = answer_prompts(segmenter, embedding, prefix, known)
    if not prompts.is_answerable:
        assert known == ()
        return
    assert have_equal_answers(known, answer_prompts(segmenter, embedding, prompts))


@given(prompts_with_regions(), prompts_with_regions())
def test_what_is_known_never_changes_the_answer(
    make_fake_segmenter: Callable, former: PlanePrompts, prompts: PlanePrompts
) -> None:
    segmenter = make_fake_segmenter()
    embedding = segmenter.encode(IMAGE)
    if not (former.is_answerable and prompts.is_answerable):
        return
    known = answer_prompts(segmenter, embedding, former)
    found = answer_prompts(segmenter, embedding, prompts, known)
    assert have_equal_answers(found, answer_prompts(segmenter, embedding, prompts))


def test_one_call_per_new_click(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    prompts = PlanePrompts([[5, 5], [9, 9], [2, 20]], [1, 0, 1])
    known = answer_prompts(fake_segmenter, embedding, prompts.with_points(slice(2)))
    assert len(fake_segmenter.questions) == len(known) == 2
    steps = answer_prompts(fake_segmenter, embedding, prompts, known)
    assert len(fake_segmenter.questions) == len(steps) == 3
    assert steps[:2] == known
    assert answer_prompts(fake_segmenter, embedding, prompts, steps) == steps
    assert len(fake_segmenter.questions) == 3


def test_a_moved_click_is_answered_anew_with_those_after_it(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    known = answer_prompts(
        fake_segmenter, embedding, PlanePrompts([[5, 5], [9, 9], [2, 20]], [1, 0, 1])
    )
    moved = PlanePrompts([[5, 5], [9, 8], [2, 20]], [1, 0, 1])
    steps = answer_prompts(fake_segmenter, embedding, moved, known)
    assert len(fake_segmenter.questions) == 3 + 2
    assert steps[0] is known[0]
    assert steps[2] is not known[2]


def test_each_click_refines_the_answer_before_it(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    prompts = PlanePrompts([[5, 5], [9, 9], [2, 20]], refines=(None, 2, None))
    steps = answer_prompts(fake_segmenter, embedding, prompts)
    first, second, third = fake_segmenter.questions
    assert first.mask_logits is None
    assert np.array_equal(second.mask_logits, steps[0].prediction.low_res_logits[2])
    default = steps[1].prediction.default
    assert np.array_equal(third.mask_logits, steps[1].prediction.low_res_logits[default])
    assert [len(question.points_yx) for question in fake_segmenter.questions] == [1, 2, 3]


def test_what_is_offered_is_refined_unless_told(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    steps = answer_prompts(fake_segmenter, embedding, PlanePrompts([[5, 5], [9, 9]]))
    assert steps[0].prediction.default == 1
    logits = fake_segmenter.questions[1].mask_logits
    assert np.array_equal(logits, steps[0].prediction.low_res_logits[1])


def test_a_refined_candidate_that_there_is_not_is_the_last(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    prompts = PlanePrompts([[5, 5], [9, 9]], refines=(None, 7))
    steps = answer_prompts(fake_segmenter, embedding, prompts)
    logits = fake_segmenter.questions[1].mask_logits
    assert np.array_equal(logits, steps[0].prediction.low_res_logits[2])


def test_which_candidate_is_refined_makes_a_difference(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    small, large = (
        answer_prompts(
            fake_segmenter, embedding, PlanePrompts([[9, 9], [9, 20]], refines=(None, refined))
        )[-1].prediction
        for refined in (0, 2)
    )
    assert not np.array_equal(small.low_res_logits, large.low_res_logits)


def test_negative_clicks_wait_for_a_positive_one(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    prompts = PlanePrompts([[5, 5], [9, 9], [2, 20]], [0, 0, 1])
    steps = answer_prompts(fake_segmenter, embedding, prompts)
    assert len(steps) == 1
    [question] = fake_segmenter.questions
    assert question.point_labels.tolist() == [0, 0, 1]
    assert question.mask_logits is None


def test_negative_clicks_correct_a_box(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    prompts = PlanePrompts([[8, 8]], [0], [[4, 4, 14, 14]])
    steps = answer_prompts(fake_segmenter, embedding, prompts)
    assert [len(question.points_yx) for question in fake_segmenter.questions] == [0, 1]
    before, after = (step.prediction.masks[0] for step in steps)
    assert before[8, 8]
    assert not after[8, 8]
    assert after[13, 13]


def test_a_box_comes_before_the_clicks(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    prompts = PlanePrompts([[8, 8]], [1], [[4, 4, 14, 14]])
    answer_prompts(fake_segmenter, embedding, prompts)
    first, second = fake_segmenter.questions
    assert first.box_yxyx.tolist() == second.box_yxyx.tolist() == [4, 4, 14, 14]
    assert (first.mask_logits is None, second.mask_logits is None) == (True, False)


def test_several_boxes_are_united(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    boxes = [[2, 2, 6, 6], [10, 12, 18, 20]]
    [step] = answer_prompts(fake_segmenter, embedding, PlanePrompts(boxes_yxyx=boxes))
    parts = [
        answer_prompts(fake_segmenter, embedding, PlanePrompts(boxes_yxyx=[box]))[-1].prediction
        for box in boxes
    ]
    mask = step.prediction.masks
    assert mask.shape == (1, *SHAPE)
    assert np.array_equal(mask[0], parts[0].masks[0] | parts[1].masks[0])
    assert step.prediction.predicted_iou.tolist() == pytest.approx([0.6])
    assert step.prediction.predicted_iou.dtype == np.float32
    logits = step.prediction.low_res_logits[0, : SHAPE[0], : SHAPE[1]]
    assert np.array_equal(logits > 0, mask[0])


def test_clicks_belong_to_the_box_they_are_in(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    boxes = [[2, 2, 6, 6], [10, 12, 18, 20]]
    prompts = PlanePrompts([[4, 4], [12, 14], [22, 28], [14, 3]], [1, 1, 1, 0], boxes)
    [step] = answer_prompts(fake_segmenter, embedding, prompts)
    asked = [
        (
            None if question.box_yxyx is None else question.box_yxyx.tolist(),
            question.points_yx.tolist(),
        )
        for question in fake_segmenter.questions
    ]
    assert asked == [
        (boxes[0], []),
        (boxes[0], [[4, 4]]),
        (boxes[0], [[4, 4], [14, 3]]),
        (boxes[1], []),
        (boxes[1], [[12, 14]]),
        (boxes[1], [[12, 14], [14, 3]]),
        (None, [[22, 28]]),
        (None, [[22, 28], [14, 3]]),
    ]
    assert step.prediction.masks[0, 22, 28]
    assert answer_prompts(fake_segmenter, embedding, prompts, (step,)) == (step,)
    assert len(fake_segmenter.questions) == len(asked)


def test_an_outline_is_a_mask_and_its_box(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    outline = [[4, 4], [4, 15], [15, 15], [15, 4]]
    [step] = answer_prompts(fake_segmenter, embedding, PlanePrompts(polygons_yx=(outline,)))
    [question] = fake_segmenter.questions
    mask = polygon_to_mask(outline, SHAPE)
    rows, columns = np.nonzero(mask)
    expected = [rows.min(), columns.min(), rows.max(), columns.max()]
    assert question.box_yxyx.tolist() == expected
    assert question.mask_logits.shape == embedding.low_res_size
    assert np.array_equal(question.mask_logits[: SHAPE[0], : SHAPE[1]] > 0, mask)
    assert np.array_equal(step.prediction.masks[0], mask)


def test_an_outline_outside_the_image_is_refused(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    prompts = PlanePrompts(polygons_yx=([[100, 100], [100, 110], [110, 110]],))
    with pytest.raises(PromptError, match="empty mask"):
        answer_prompts(fake_segmenter, embedding, prompts)


def test_brightness_matters_to_the_fake(fake_segmenter, disk_image: np.ndarray) -> None:
    embedding = fake_segmenter.encode(disk_image)
    [step] = answer_prompts(fake_segmenter, embedding, PlanePrompts([[30, 26]]))
    assert step.prediction.masks[1].any()
    assert (disk_image[step.prediction.masks[1]] > 0.5).all()


def test_the_candidate_that_is_named_is_chosen(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    prompts = PlanePrompts([[5, 5]])
    prediction = answer_prompts(fake_segmenter, embedding, prompts)[-1].prediction
    assert chosen_candidate(prompts, prediction) == 1
    for named, expected in ((0, 0), (2, 2), (3, 1)):
        named_prompts = PlanePrompts([[5, 5]], candidate=named)
        assert chosen_candidate(named_prompts, prediction) == expected


class _Leaves:
    """Segmenter of which each answer keeps some share of the mask that it corrects."""

    def __init__(self, segmenter, share: float) -> None:
        self._segmenter, self._share = segmenter, share

    def predict_many(self, embedding, prompts, _multimask):
        left = np.zeros_like(MASK)
        rows, columns = np.nonzero(MASK)
        count = round(self._share * len(rows))
        left[rows[:count], columns[:count]] = True
        logits = np.ones((1, *embedding.low_res_size), np.float32)
        return [Prediction(left[None], np.full(1, 0.5, np.float32), logits)] * len(prompts)


@pytest.mark.parametrize(("share", "is_left"), [(0.05, False), (0.5, True)])
def test_background_clicks_leave_no_specks_of_a_mask(
    fake_segmenter, share: float, is_left: bool
) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    prompts = PlanePrompts([[5, 5]], [0], mask=MASK)
    steps = answer_prompts(_Leaves(fake_segmenter, share), embedding, prompts)
    assert steps[-1].prediction.mask(0).any() == is_left
    assert (steps[-1].prediction.absence is None) == is_left


def test_a_foreground_click_after_a_removal_starts_afresh(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    removed = PlanePrompts([[5, 5]], [0], mask=MASK)
    known = answer_prompts(_Leaves(fake_segmenter, 0.0), embedding, removed)
    back = PlanePrompts([[5, 5], [9, 9]], [0, 1], mask=MASK)
    answer_prompts(fake_segmenter, embedding, back, known)
    assert fake_segmenter.questions[-1].mask_logits is None


class _Specks:
    """Segmenter whose masks are an object with a small hole, and specks."""

    def predict_many(self, embedding, prompts, _multimask):
        mask = MASK.copy()
        mask[5, 6] = False
        mask[[0, 20], [0, 20]] = True
        logits = np.ones((1, *embedding.low_res_size), np.float32)
        return [Prediction(mask[None], np.full(1, 0.5, np.float32), logits)] * len(prompts)


def test_one_part_is_kept_where_the_prompts_say_so(fake_segmenter, monkeypatch) -> None:
    monkeypatch.setattr("napari_promptable.masks._SMALL_HOLE", 0.05)  # 48 pixels are few
    embedding = fake_segmenter.encode(IMAGE)
    tidy, whole = (
        answer_prompts(_Specks(), embedding, PlanePrompts([[4, 6]], one_part=one_part))[-1]
        for one_part in (True, False)
    )
    assert np.array_equal(tidy.prediction.masks, MASK[None])
    assert ndimage.label(whole.prediction.mask(0))[1] == 3
    assert np.array_equal(tidy.prediction.low_res_logits, whole.prediction.low_res_logits)


def test_another_wish_for_parts_is_another_question(fake_segmenter) -> None:
    embedding = fake_segmenter.encode(IMAGE)
    clicks = PlanePrompts([[4, 6]]), PlanePrompts([[4, 6]], one_part=True)
    assert clicks[0] != clicks[1]
    known = answer_prompts(_Specks(), embedding, clicks[0])
    again = answer_prompts(_Specks(), embedding, clicks[1], known)
    assert not again[-1].prediction.mask(0)[0, 0]


def test_a_mask_as_it_is_keeps_its_parts(fake_segmenter) -> None:
    mask = MASK.copy()
    mask[20, 20] = True
    embedding = fake_segmenter.encode(IMAGE)
    steps = answer_prompts(fake_segmenter, embedding, PlanePrompts(mask=mask, one_part=True))
    assert np.array_equal(steps[-1].prediction.mask(0), mask)
