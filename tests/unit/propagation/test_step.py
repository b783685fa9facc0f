import numpy as np
import pytest

from napari_promptable.masks import blend_masks, mask_to_box_yxyx
from napari_promptable.predict.prediction import Prediction
from napari_promptable.propagation.parts import keep_parts, split_mask
from napari_promptable.propagation.prompt_step import PromptMemory, PromptStep, grow_box
from napari_promptable.propagation.settings import PropagationSettings, SplitPolicy, StepPrompt
from napari_promptable.propagation.step import Sighting, stability_of

SHAPE = (24, 32)


def make_mask(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Boxes given by first and last row and column."""
    mask = np.zeros(SHAPE, bool)
    for top, left, bottom, right in boxes:
        mask[top : bottom + 1, left : right + 1] = True
    return mask


def make_sighting(mask: np.ndarray) -> Sighting:
    logits = np.where(mask, 2, -2).astype(np.float32)
    return Sighting(mask, 0.9, 1.0, PromptMemory(logits))


def test_stability_is_the_share_that_no_threshold_changes() -> None:
    logits = np.array([[-3, -0.5, 0.5], [2, 2, 3]], np.float32)
    assert stability_of(logits) == pytest.approx(3 / 5)
    assert stability_of(np.full((2, 2), 4, np.float32)) == 1
    assert stability_of(np.full((2, 2), -4, np.float32)) == 0


def test_an_anchor_is_one_candidate(fake_segmenter) -> None:
    masks = np.stack([make_mask((1, 1, 3, 3)), make_mask((1, 1, 5, 5))])
    prediction = Prediction(
        masks, np.array([0.4, 0.8], np.float32), np.where(masks, 2, -2).astype(np.float32)
    )
    embedding = fake_segmenter.encode(np.ones(SHAPE))
    sighting = PromptStep(fake_segmenter).begin(embedding, prediction, 1)
    assert np.array_equal(sighting.mask, masks[1])
    assert sighting.predicted_iou == pytest.approx(0.8)
    assert sighting.stability == 1


def test_a_box_grows_up_to_the_border() -> None:
    box = np.array([2, 10, 11, 29], np.float32)  # 10 × 20 pixels
    assert grow_box(box, 0.1, SHAPE).tolist() == [1, 8, 12, 31]
    assert grow_box(box, 0, SHAPE).tolist() == box.tolist()
    assert grow_box(box, 0.5, SHAPE).tolist() == [0, 0, 16, 31]
    assert grow_box(box, -0.1, SHAPE).tolist() == [3, 12, 10, 27]
    pixel = np.array([4, 5, 4, 5], np.float32)
    assert grow_box(pixel, -0.2, SHAPE).tolist() == pixel.tolist()


@pytest.mark.parametrize(
    ("kind", "has_box", "has_point", "has_logits"),
    [
        (StepPrompt.BOX, True, False, False),
        (StepPrompt.BOX_AND_POINT, True, True, False),
        (StepPrompt.BOX_AND_LOGITS, True, False, True),
        (StepPrompt.LOGITS, False, False, True),
        (StepPrompt.POINT, False, True, False),
    ],
)
def test_the_mask_is_asked_about_as_chosen(
    fake_segmenter, kind: StepPrompt, has_box: bool, has_point: bool, has_logits: bool
) -> None:
    mask = make_mask((4, 6, 12, 14))
    embedding = fake_segmenter.encode(np.ones(SHAPE))
    settings = PropagationSettings(step_prompt=kind, box_margin=0)
    PromptStep(fake_segmenter, settings).advance(embedding, [make_sighting(mask)])
    [question] = fake_segmenter.questions
    assert (question.box_yxyx is not None) == has_box
    assert (len(question.points_yx) == 1) == has_point
    assert (question.mask_logits is not None) == has_logits
    if has_box:
        assert question.box_yxyx.tolist() == mask_to_box_yxyx(mask).tolist()
    if has_point:
        assert question.points_yx.tolist() == [[8, 10]]


@pytest.mark.parametrize("carries_masks", [False, True])
def test_models_that_are_better_at_it_are_shown_the_last_mask(
    fake_segmenter, carries_masks: bool
) -> None:
    fake_segmenter.carries_masks = carries_masks
    embedding = fake_segmenter.encode(np.ones(SHAPE))
    sighting = make_sighting(make_mask((4, 6, 12, 14)))
    PromptStep(fake_segmenter).advance(embedding, [sighting])
    [question] = fake_segmenter.questions
    assert (question.mask_logits is not None) == carries_masks
    assert (question.box_yxyx is None) == carries_masks


def test_the_candidate_that_is_sure_and_like_the_last_mask_is_chosen(fake_segmenter) -> None:
    last, other = make_mask((4, 4, 10, 10)), make_mask((4, 4, 20, 28))

    class Answers:
        carries_masks = False

        def predict_many(self, embedding, prompts, multimask_output=True):
            masks = np.stack([other, last, last])
            logits = np.where(masks, 2, -2).astype(np.float32)
            return [Prediction(masks, np.array([0.95, 0.5, 0.7], np.float32), logits)]

    embedding = fake_segmenter.encode(np.ones(SHAPE))
    [found] = PromptStep(Answers()).advance(embedding, [make_sighting(last)])
    assert np.array_equal(found.mask, last)
    assert found.predicted_iou == pytest.approx(0.7)


def test_specks_are_no_parts() -> None:
    mask = make_mask((2, 2, 11, 11), (20, 20, 20, 20))
    [part] = split_mask(mask)
    assert np.array_equal(part, make_mask((2, 2, 11, 11)))
    assert [part.any() for part in split_mask(make_mask())] == [False]


def test_pixels_that_touch_at_a_corner_are_connected() -> None:
    mask = make_mask((2, 2, 5, 5), (6, 6, 9, 9))
    assert len(split_mask(mask)) == 1


def test_policies_of_parts() -> None:
    large, small = make_mask((2, 2, 11, 11)), make_mask((2, 20, 7, 25))
    previous = make_mask((3, 21, 8, 26))
    parted = large | small
    assert np.array_equal(keep_parts(parted, previous, SplitPolicy.LARGEST), large)
    assert np.array_equal(keep_parts(parted, previous, SplitPolicy.OVERLAPPING), small)
    assert np.array_equal(keep_parts(parted, previous, SplitPolicy.ALL), parted)


def test_a_blend_lies_between_its_masks() -> None:
    first, second = make_mask((4, 4, 11, 11)), make_mask((4, 8, 11, 15))
    assert np.array_equal(blend_masks(first, second, 0), first)
    assert np.array_equal(blend_masks(first, second, 1), second)
    middle = blend_masks(first, second, 0.5)
    assert np.array_equal(middle, blend_masks(second, first, 0.5))
    assert not (middle & ~(first | second)).any()
    assert (middle | ~(first & second)).all()
    shares = [
        np.count_nonzero(blend_masks(first, second, share) & second)
        for share in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert shares == sorted(shares)
