"""Carrying objects through a volume, on a segmenter without a network.

It answers a box with the bright pixels inside it, so the masks of a chain are known exactly.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from napari_promptable.errors import CancelledError, PromptError
from napari_promptable.masks import PackedMask, mask_iou, mask_to_box_yxyx
from napari_promptable.prompts import PromptSet
from napari_promptable.propagation.anchors import answer_slices
from napari_promptable.propagation.chains import PropagatedMask, propagate_masks
from napari_promptable.propagation.gaps import find_gaps
from napari_promptable.propagation.prompt_step import PromptStep
from napari_promptable.propagation.settings import (
    Direction,
    PropagationSettings,
    SplitPolicy,
    StopReason,
)
from napari_promptable.propagation.step import Sighting
from napari_promptable.propagation.volume import VolumeMasks

SHAPE = (40, 60)
EASY = PropagationSettings(
    box_margin=0.15, lost_iou=0.1, min_predicted_iou=0, min_area=0, max_area=float("inf")
)


def make_disk(centre: tuple[float, float], radius: float = 6) -> np.ndarray:
    rows, columns = np.indices(SHAPE)
    return np.hypot(rows - centre[0], columns - centre[1]) <= radius


def make_moving_disk(length: int, speed: float = 1, radius: float = 6) -> np.ndarray:
    """Bool volume; the disk moves to the right by `speed` pixels a slice."""
    return np.stack([make_disk((20, 15 + speed * z), radius) for z in range(length)])


class Job:
    """A volume, its segmenter, and the questions asked."""

    def __init__(self, segmenter, truth: np.ndarray) -> None:
        self.segmenter, self.truth = segmenter, truth
        self.embedded: list[int] = []

    def embed(self, position: int):
        self.embedded.append(position)
        return self.segmenter.encode(self.truth[position].astype(float))

    def anchor(self, position: int, region: np.ndarray | None = None) -> Sighting:
        """Answer to the exact box of the object, or of a part of it."""
        mask = self.truth[position] if region is None else region
        embedding = self.segmenter.encode(self.truth[position].astype(float))
        box = PromptSet(box_yxyx=mask_to_box_yxyx(mask))
        prediction = self.segmenter.predict_many(embedding, [box])[0]
        return PromptStep(self.segmenter).begin(embedding, prediction, 0)

    def run(self, anchors, settings=EASY, **options) -> list[PropagatedMask]:
        self.segmenter.questions.clear()
        self.segmenter.batch_sizes.clear()
        length = len(self.truth)
        return list(
            propagate_masks(
                PromptStep(self.segmenter, settings),
                self.embed,
                length,
                anchors,
                settings,
                **options,
            )
        )


@pytest.fixture
def moving(fake_segmenter) -> Job:
    """A disk that moves by a pixel a slice."""
    return Job(fake_segmenter, make_moving_disk(12))


def collect(values: Iterable[PropagatedMask], object_id: int = 1) -> dict[int, PropagatedMask]:
    """Last value of each slice."""
    return {value.position: value for value in values if value.object_id == object_id}


def nothing_like(sighting: Sighting) -> Sighting:
    return Sighting(np.zeros_like(sighting.mask), 0.5, 0.5, sighting.memory)


def same(first: PropagatedMask, second: PropagatedMask) -> bool:
    numbers = [
        (value.predicted_iou, value.stability, value.agreement) for value in (first, second)
    ]
    return (
        np.array_equal(first.mask, second.mask)
        and numbers[0] == pytest.approx(numbers[1])
        and (first.stop, first.is_anchor) == (second.stop, second.is_anchor)
    )


# chains


def test_a_moving_object_is_followed_both_ways(moving: Job) -> None:
    found = collect(moving.run({1: {5: moving.anchor(5)}}))
    assert sorted(found) == list(range(12))
    for position, value in found.items():
        assert np.array_equal(value.mask, moving.truth[position])
        assert value.stop is None
        assert value.is_anchor == (position == 5)
        assert 0 < value.confidence <= 1


def test_slices_come_in_the_order_of_work(moving: Job) -> None:
    values = moving.run({1: {5: moving.anchor(5)}})
    assert [value.position for value in values] == [5, 6, 7, 8, 9, 10, 11, 4, 3, 2, 1, 0]


def test_values_come_as_soon_as_their_slice_is_done(moving: Job) -> None:
    step = PromptStep(moving.segmenter, EASY)
    values = propagate_masks(step, moving.embed, 12, {1: {5: moving.anchor(5)}}, EASY)
    next(values)
    assert moving.embedded == []
    next(values)
    assert moving.embedded == [6]


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        (Direction.FORWARD, [5, 6, 7, 8, 9, 10, 11]),
        ("backward", [0, 1, 2, 3, 4, 5]),
        ("both", list(range(12))),
    ],
)
def test_only_the_chosen_direction_is_taken(moving: Job, direction, expected) -> None:
    settings = PropagationSettings(**EASY.to_dict() | {"direction": direction, "max_area": 9})
    found = collect(moving.run({1: {5: moving.anchor(5)}}, settings))
    assert sorted(found) == expected


def test_only_the_chosen_range_is_filled_and_read(moving: Job) -> None:
    settings = PropagationSettings(first=3, last=7, box_margin=0.15)
    anchors = {1: {5: moving.anchor(5), 11: moving.anchor(11)}}
    found = collect(moving.run(anchors, settings))
    assert sorted(found) == sorted({*moving.embedded, 5}) == [3, 4, 5, 6, 7]


def test_each_slice_is_embedded_once_per_direction(moving: Job) -> None:
    one = {5: moving.anchor(5)}
    moving.run({1: one, 2: one, 3: one})
    assert sorted(moving.embedded) == [z for z in range(12) if z != 5]
    moving.embedded.clear()
    moving.run({1: {2: moving.anchor(2), 6: moving.anchor(6)}})
    assert sorted(moving.embedded) == [0, 1, 3, 3, 4, 4, 5, 5, 7, 8, 9, 10, 11]


def test_slices_that_no_chain_reaches_are_not_embedded(fake_segmenter) -> None:
    truth = make_moving_disk(12)
    truth[7:] = make_disk((30, 50), 4)
    job = Job(fake_segmenter, truth)
    job.run({1: {3: job.anchor(3)}})
    assert sorted(job.embedded) == [0, 1, 2, 4, 5, 6, 7]


def test_many_objects_are_decoded_together(fake_segmenter) -> None:
    centres = [(8 + 12 * row, 8 + 14 * column) for row in range(3) for column in range(4)]
    truth = np.stack([np.any([make_disk(c, 4) for c in centres], axis=0)] * 4)
    job = Job(fake_segmenter, truth)
    anchors = {i: {0: job.anchor(0, make_disk(c, 4))} for i, c in enumerate(centres, 1)}
    values = job.run(anchors)
    assert fake_segmenter.batch_sizes == [12, 12, 12]
    for object_id, centre in enumerate(centres, 1):
        for value in collect(values, object_id).values():
            assert np.array_equal(value.mask, make_disk(centre, 4))


def test_very_many_objects_are_decoded_in_turns(moving: Job) -> None:
    anchor = moving.anchor(10)
    settings = PropagationSettings(direction="forward", box_margin=0.15)
    values = moving.run({i: {10: anchor} for i in range(1, 41)}, settings)
    assert moving.segmenter.batch_sizes == [16, 16, 8]
    assert {value.object_id for value in values} == set(range(1, 41))


def test_agreement_falls_from_slice_to_slice(moving: Job) -> None:
    found = collect(moving.run({1: {5: moving.anchor(5)}}))
    step = mask_iou(moving.truth[5], moving.truth[6])
    for position, value in found.items():
        assert value.agreement == pytest.approx(step ** abs(position - 5))
        product = value.predicted_iou * value.stability * value.agreement
        assert value.confidence == pytest.approx(product ** (1 / 3))


# stop rules


def make_truth(after: np.ndarray) -> np.ndarray:
    """A disk for four slices, then something else for four."""
    return np.stack([make_disk((20, 30))] * 4 + [after] * 4)


@pytest.mark.parametrize(
    ("after", "changes", "reason"),
    [
        (make_disk((2, 2), 2), {}, StopReason.EMPTY),
        (make_disk((20, 39)), {"lost_iou": 0.5}, StopReason.LOST),
        (make_disk((20, 30), 3), {"min_area": 0.5}, StopReason.DRIFTED),
        (make_disk((20, 30), 8), {"max_area": 1.2}, StopReason.DRIFTED),
    ],
)
def test_a_chain_stops_and_says_why(fake_segmenter, after, changes, reason) -> None:
    job = Job(fake_segmenter, make_truth(after))
    settings = PropagationSettings(**EASY.to_dict() | {"max_area": 99} | changes)
    found = collect(job.run({1: {1: job.anchor(1)}}, settings))
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert {p: v.stop for p, v in found.items() if v.stop} == {4: reason}
    assert not found[4].is_present
    assert np.isnan(found[4].confidence)
    lenient = {"lost_iou": 0, "min_area": 0, "max_area": 99}
    followed = job.run(
        {1: {1: job.anchor(1)}}, PropagationSettings(**settings.to_dict() | lenient)
    )
    if reason is not StopReason.EMPTY:
        assert len(collect(followed)) == 8


def test_an_unsure_answer_stops_the_chain(moving: Job) -> None:
    anchors = {1: {5: moving.anchor(5)}}  # of predicted IoU 0.6, like all first candidates
    moving.segmenter.predicted_iou = (0.3, 0.1, 0.1)
    strict, mild = (
        PropagationSettings(box_margin=0.15, min_predicted_iou=least) for least in (0.6, 0.4)
    )
    found = collect(moving.run(anchors, strict))
    assert {p: v.stop for p, v in found.items() if v.stop} == dict.fromkeys(
        (4, 6), StopReason.UNSURE
    )
    assert len(collect(moving.run(anchors, mild))) == 12


def test_the_model_is_never_asked_about_an_empty_mask(fake_segmenter) -> None:
    truth = make_moving_disk(9)
    truth[5:] = make_disk((35, 3), 2)
    job = Job(fake_segmenter, truth)
    anchor = job.anchor(3)
    found = collect(job.run({1: {3: anchor, 7: nothing_like(anchor)}}))
    assert found[5].stop is StopReason.EMPTY
    assert not found[7].is_present
    assert found[7].is_anchor
    assert 6 not in found
    assert 8 not in found
    assert len(fake_segmenter.questions) == 2 + 3
    assert all(question.is_answerable for question in fake_segmenter.questions)


def make_collision() -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
    """Two disks that move towards each other and meet at slice 5."""
    left, right = (20, 12), (20, 38)
    pairs = [
        make_disk((20, left[1] + 2 * z), 5) | make_disk((20, right[1] - z), 5) for z in range(8)
    ]
    return np.stack(pairs), left, right


def test_an_object_stops_where_a_more_confident_one_covers_it(fake_segmenter) -> None:
    truth, left, right = make_collision()
    job = Job(fake_segmenter, truth)
    anchors = {
        1: {0: job.anchor(0, make_disk(left, 5))},
        2: {0: job.anchor(0, make_disk(right, 5))},
    }
    settings = PropagationSettings(box_margin=0.3, lost_iou=0, max_area=99, max_overlap=0.5)
    values = job.run(anchors, settings)
    stops = {v.object_id: v.stop for v in values if v.stop is not None}
    assert len(stops) == 1
    assert set(stops.values()) == {StopReason.TOUCHING}
    survivor = ({1, 2} - set(stops)).pop()
    assert len(collect(values, survivor)) == 8
    free = job.run(anchors, PropagationSettings(box_margin=0.3, lost_iou=0, max_area=99))
    assert not any(value.stop for value in free)


def test_an_anchor_is_never_covered(fake_segmenter) -> None:
    truth = np.stack([make_disk((20, 30))] * 5)
    job = Job(fake_segmenter, truth)
    anchors = {1: {0: job.anchor(0)}, 2: {2: job.anchor(2)}}
    settings = PropagationSettings(direction="forward", max_overlap=0)
    values = job.run(anchors, settings)
    assert collect(values, 1)[2].stop is StopReason.TOUCHING
    assert collect(values, 2)[2].is_present


# objects in several parts


def make_splitting() -> np.ndarray:
    """A disk, and a small one that moves away from it; they part at slice 8."""
    return np.stack([make_disk((20, 22), 6) | make_disk((20, 26 + z), 4) for z in range(12)])


@pytest.mark.parametrize("split", SplitPolicy)
def test_parts_are_kept_as_the_policy_says(fake_segmenter, split: SplitPolicy) -> None:
    truth = make_splitting()
    job = Job(fake_segmenter, truth)
    settings = PropagationSettings(
        box_margin=0.2, split=split, lost_iou=0, min_area=0, max_area=99
    )
    last = collect(job.run({1: {0: job.anchor(0)}}, settings))[11].mask
    expected = truth[11] if split is SplitPolicy.ALL else make_disk((20, 22), 6)
    assert np.array_equal(last, expected)
    asked = fake_segmenter.batch_sizes
    assert asked[-1] == (2 if split is SplitPolicy.ALL else 1)


def test_the_largest_part_is_not_always_the_one_that_overlaps(fake_segmenter) -> None:
    small, large = make_disk((20, 16), 4), make_disk((20, 28), 6)
    job = Job(fake_segmenter, np.stack([small, small | large]))
    found = {}
    for split in ("largest", "overlapping"):
        settings = PropagationSettings(box_margin=1, split=split, lost_iou=0, max_area=99)
        anchor = Sighting(small, 0.9, 1, job.anchor(0).memory)
        found[split] = collect(job.run({1: {0: anchor}}, settings))[1].mask
    assert np.array_equal(found["overlapping"], small)
    assert not (found["largest"] & small).any()


# anchors, gaps and blending


def test_anchors_are_kept_exactly(moving: Job) -> None:
    anchors = {5: moving.anchor(5), 8: moving.anchor(8)}
    odd = np.zeros(SHAPE, bool)
    odd[18:22, 18:24] = True
    anchors[8] = Sighting(odd, 0.4, 0.3, anchors[8].memory)
    values = moving.run({1: anchors})
    assert sum(value.position in (5, 8) for value in values) == 2
    found = collect(values)
    assert np.array_equal(found[8].mask, odd)
    assert (found[8].predicted_iou, found[8].is_anchor) == (0.4, True)


def make_box_mask(top: int, bottom: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[top : bottom + 1, 20:30] = True
    return mask


def test_between_two_anchors_both_directions_are_blended(fake_segmenter) -> None:
    job = Job(fake_segmenter, np.ones((9, *SHAPE), bool))
    memory = job.anchor(0).memory
    anchors = {
        0: Sighting(make_box_mask(10, 19), 0.9, 1, memory),
        8: Sighting(make_box_mask(10, 35), 0.9, 1, memory),
    }
    settings = PropagationSettings(box_margin=0, lost_iou=0, max_area=99)
    found = collect(job.run({1: anchors}, settings))
    heights = [np.count_nonzero(found[z].mask[:, 25]) for z in range(9)]
    assert heights == sorted(heights)
    assert heights[0] == 10
    assert heights[8] == 26
    assert 14 <= heights[4] <= 22
    assert heights[1] < heights[4] < heights[7]
    assert found[4].agreement == pytest.approx(10 / 26)
    assert found[4].predicted_iou == pytest.approx(0.9)


def test_blending_does_not_depend_on_the_direction(fake_segmenter) -> None:
    rng = np.random.default_rng(0)
    truth = make_moving_disk(9) | (rng.random((9, *SHAPE)) < 0.03)
    job, mirrored = Job(fake_segmenter, truth), Job(fake_segmenter, truth[::-1])
    anchors = {0: job.anchor(0), 8: job.anchor(8)}
    found = collect(job.run({1: anchors}))
    reversed_anchors = {8 - position: anchor for position, anchor in anchors.items()}
    other = collect(mirrored.run({1: reversed_anchors}))
    assert all(same(found[z], other[8 - z]) for z in range(9))


def test_a_chain_that_is_lost_leaves_the_other_one(fake_segmenter) -> None:
    truth = make_moving_disk(10, speed=0)
    truth[4:] = make_disk((20, 45))
    job = Job(fake_segmenter, truth)
    found = collect(job.run({1: {1: job.anchor(1), 8: job.anchor(8)}}))
    assert sorted(found) == list(range(10))
    for position, value in found.items():
        assert np.array_equal(value.mask, truth[position])
    stops = {position: value.stop for position, value in found.items() if value.stop}
    assert stops == {3: StopReason.EMPTY, 4: StopReason.EMPTY}


def test_masks_that_lie_apart_are_not_blended_away(fake_segmenter) -> None:
    job = Job(fake_segmenter, np.ones((4, *SHAPE), bool))
    memory = job.anchor(0).memory
    left, right = make_box_mask(2, 8), make_box_mask(25, 35)
    anchors = {0: Sighting(left, 0.9, 1, memory), 3: Sighting(right, 0.9, 1, memory)}
    found = collect(job.run({1: anchors}, PropagationSettings(box_margin=0)))
    assert np.array_equal(found[1].mask, left)
    assert np.array_equal(found[2].mask, right)
    assert found[1].confidence == 0


def test_gaps_of_several_anchors() -> None:
    gaps = find_gaps({1: [3, 7], 2: [0]}, 10)
    assert [(g.object_id, g.before, g.after, g.slices) for g in gaps] == [
        (1, None, 3, range(3)),
        (1, 3, 7, range(4, 7)),
        (1, 7, None, range(8, 10)),
        (2, 0, None, range(1, 10)),
    ]


# corrections


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (7, [(3, 7), (7, 11)]),  # an anchor that came or changed
        (3, [(None, 3), (3, 7)]),
        (9, [(7, 11)]),  # one that went
        (14, [(11, None)]),
    ],
)
def test_a_change_concerns_the_gaps_beside_it(changed: int, expected: list) -> None:
    gaps = find_gaps({1: [3, 7, 11], 2: [5]}, 16, changed={1: [changed]})
    assert [(gap.before, gap.after) for gap in gaps] == expected
    assert {gap.object_id for gap in gaps} == {1}


def test_a_correction_runs_only_its_gaps(moving: Job) -> None:
    anchors = {position: moving.anchor(position) for position in (1, 5, 9)}
    other = {2: {5: moving.anchor(5)}}
    moving.run({1: anchors, **other}, changed={1: [9]})
    assert set(moving.embedded) == {6, 7, 8, 10, 11}
    assert len(moving.segmenter.questions) == 3 + 3 + 2


positions = st.sets(st.integers(0, 9), min_size=1, max_size=4)


@given(before=positions, after=positions)
@hypothesis_settings(max_examples=15)
def test_a_correction_gives_the_same_as_starting_over(
    make_fake_segmenter, before: set[int], after: set[int]
) -> None:
    truth = make_moving_disk(10)
    truth[6] = make_disk((20, 22), 3)
    job = Job(make_fake_segmenter(), truth)
    masks = VolumeMasks()
    for value in job.run({1: {position: job.anchor(position) for position in before}}):
        masks.add(value)
    anchors = {1: {position: job.anchor(position) for position in after}}
    changed = {1: before ^ after}
    masks.forget(find_gaps(anchors, 10, EASY, changed))
    for value in job.run(anchors, changed=changed):
        masks.add(value)
    found, expected = collect(masks), collect(job.run(anchors))
    assert sorted(found) == sorted(expected)
    assert all(same(found[position], expected[position]) for position in found)


def test_objects_that_may_stop_each_other_all_run_again() -> None:
    settings = PropagationSettings(max_overlap=0.5)
    gaps = find_gaps({1: [3], 2: [5]}, 8, settings, changed={1: [3]})
    assert {gap.object_id for gap in gaps} == {1, 2}


# the worker's side


def test_what_was_done_before_a_cancellation_is_good(moving: Job) -> None:
    asked = []

    def is_cancelled() -> bool:
        asked.append(len(moving.embedded))
        return len(asked) == 4

    found = []
    with pytest.raises(CancelledError):
        for value in propagate_masks(
            PromptStep(moving.segmenter, EASY),
            moving.embed,
            12,
            {1: {5: moving.anchor(5)}},
            EASY,
            is_cancelled=is_cancelled,
        ):
            found.append(value)
    assert [value.position for value in found] == [5, 6, 7, 8]
    assert moving.embedded == [6, 7, 8]


def test_progress_counts_each_slice_in_each_direction(moving: Job) -> None:
    reports: list[tuple[int, int]] = []
    anchors = {1: {2: moving.anchor(2), 6: moving.anchor(6)}}
    moving.run(anchors, progress=lambda done, total: reports.append((done, total)))
    total = 2 + 3 + 3 + 5
    assert reports == [(done, total) for done in range(1, total + 1)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (PropagationSettings(last=12), "0 to 11"),
        (PropagationSettings(first=7), "object 1 .* slices 7 to 11"),
    ],
)
def test_a_range_without_anchors_or_slices_is_refused(moving: Job, settings, message) -> None:
    with pytest.raises(PromptError, match=message):
        moving.run({1: {5: moving.anchor(5)}}, settings)


def test_values_hold_little_memory() -> None:
    mask = np.zeros((2048, 2048), bool)
    mask[1000:1100, 500:620] = True
    packed = PackedMask.pack(mask)
    assert packed.nbytes == 100 * 120 // 8
    assert np.array_equal(packed.unpack(), mask)
    assert mask_iou(packed.crop(), mask[packed.region]) == 1
    assert not PackedMask.pack(np.zeros((5, 7), bool)).unpack().any()


# other ways of stepping


class CarryMask:
    """A step that copies the mask and counts slices in its memory, without any model."""

    def begin(self, embedding, prediction, candidate) -> Sighting:
        return Sighting(prediction.mask(candidate), 1.0, 1.0, memory=0)

    def depart(self, anchor, other, distance) -> Sighting:
        return anchor

    def advance(self, embedding, previous) -> list[Sighting]:
        return [replace(sighting, memory=sighting.memory + 1) for sighting in previous]


def test_any_step_can_carry_objects(moving: Job) -> None:
    step = CarryMask()
    embedding = moving.embed(5)
    box = PromptSet(box_yxyx=mask_to_box_yxyx(moving.truth[5]))
    prompts = {1: {5: box}, 2: {0: box}}
    anchors = answer_slices(moving.segmenter, step, moving.embed, 12, prompts, EASY)
    moving.segmenter.questions.clear()
    values = list(propagate_masks(step, moving.embed, 12, anchors, EASY))
    assert moving.segmenter.questions == [], "this step asks no model"
    expected = moving.segmenter.predict_many(embedding, [box])[0].mask(0)
    assert np.array_equal(expected, moving.truth[5])
    found = collect(values)
    assert sorted(found) == list(range(12))
    assert all(np.array_equal(value.mask, expected) for value in found.values())
