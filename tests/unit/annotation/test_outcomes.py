"""Verbs that change little or nothing say so, and lose nothing."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_promptable.annotation.history import Verb
from napari_promptable.annotation.outcomes import Course, Outcome, Reason, describe_outcome
from napari_promptable.annotation.patches import OverlapPolicy, find_extents
from napari_promptable.annotation.records import ObjectOnSlice, Origin
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.batch.answering import answer_open_questions
from napari_promptable.plane_source import PlaneSource
from napari_promptable.planes import PlaneAxes
from napari_promptable.predict.embeddings import EmbeddingCache
from napari_promptable.prompts import PlanePrompts

SHAPE = (3, 20, 24)
STACK = np.full(SHAPE, 0.5)
PLANES = PlaneAxes(SHAPE, (1, 2))
CLICK = PlanePrompts([[5, 6]])


def make_session(labels: Any = None, **options: Any) -> SegmentationSession:
    labels = np.zeros(SHAPE, np.uint8) if labels is None else labels
    return SegmentationSession(PlaneAxes(SHAPE, (1, 2)), labels, **options)


def click(session: SegmentationSession, segmenter: Any, prompts: PlanePrompts = CLICK) -> None:
    session.prompts.replace({(0,): prompts})
    source = PlaneSource(STACK, PLANES)
    answer_open_questions(session, segmenter, "fake", source, EmbeddingCache())


@pytest.mark.parametrize("policy", [OverlapPolicy.KEEP, OverlapPolicy.ADD])
def test_a_covered_object_is_not_committed(fake_segmenter, policy: OverlapPolicy) -> None:
    labels = np.full(SHAPE, 9, np.uint8)
    session = make_session(labels, first_id=10)
    session.labels.policy = policy
    click(session, fake_segmenter)
    num_pixels = int(session.answers.mask((0,)).unpack().sum())
    outcome = session.commit()
    assert outcome == Outcome(
        Verb.COMMIT,
        (10,),
        reason=Reason.COVERED,
        unwritten=(10,),
        num_asked=num_pixels,
        num_covered=num_pixels,
        covered_by=(9,),
    )
    assert (labels == 9).all()
    assert session.prompts.current_object == 10
    assert session.prompts.of_current == {(0,): CLICK}
    assert session.answers.mask((0,)) is not None
    assert not session.history.can_undo
    assert session.history.changes == []
    assert 10 not in session.records.object_ids
    assert describe_outcome(outcome) == (
        "Object 10 was not saved: object 9 holds all of its pixels. This is object 9: press P "
        "to correct it."
    )
    session.labels.policy = OverlapPolicy.REPLACE
    assert session.commit().num_pixels == num_pixels


def test_a_partly_covered_object_says_how_much_it_got(fake_segmenter) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, :, :6] = 9
    session = make_session(labels, first_id=10)
    click(session, fake_segmenter)
    mask = session.answers.mask((0,)).unpack()
    outcome = session.commit()
    assert outcome.has_changed
    assert outcome.num_covered == mask[:, :6].sum()
    assert outcome.num_pixels == mask[:, 6:].sum() == (labels == 10).sum()
    assert outcome.covered_by == (9,)
    _, columns = session.records.of(10)[0,].extent
    assert columns.start == 6, "the record holds the pixels that were written, not the mask"
    text = describe_outcome(outcome)
    assert text.startswith(f"Object 10 saved: {outcome.num_pixels} pixels on 1 slice. ")
    assert text.endswith(f"{outcome.num_covered} pixels stayed with object 9.")


def test_an_empty_mask_is_not_committed(fake_segmenter) -> None:
    session = make_session()
    dark = np.full(SHAPE, 0.5)
    dark[0, :10] = 0.1  # the fake paints bright pixels only
    session.prompts.replace({(0,): PlanePrompts([[0, 0]])})
    source = PlaneSource(dark, PLANES)
    answer_open_questions(session, fake_segmenter, "fake", source, EmbeddingCache())
    outcome = session.commit()
    assert outcome == Outcome(Verb.COMMIT, (1,), reason=Reason.EMPTY, unwritten=(1,))
    assert list(session.prompts.of_current) == [(0,)]
    assert session.history.changes == []
    assert describe_outcome(outcome) == (
        "Object 1 was not saved: its mask is empty. Add a + click inside it."
    )


def test_an_unchanged_object_is_not_committed_twice(fake_segmenter) -> None:
    session = make_session()
    click(session, fake_segmenter)
    session.commit()
    session.prompts.select(1)
    click(session, fake_segmenter)
    num_pixels = int(session.answers.mask((0,)).unpack().sum())
    outcome = session.commit()
    unchanged = Outcome(Verb.COMMIT, (1,), reason=Reason.UNCHANGED, num_asked=num_pixels)
    assert outcome == unchanged
    assert session.prompts.current_object == 1
    assert len(session.history.changes) == 1


def test_an_object_that_would_get_hardly_a_pixel_is_not_committed(fake_segmenter) -> None:
    labels = np.full(SHAPE, 9, np.uint8)
    session = make_session(labels, first_id=10)
    click(session, fake_segmenter)
    mask = session.answers.mask((0,))
    row, column = np.argwhere(mask.unpack())[0]
    labels[0, row, column] = 0
    before = labels.copy()
    assert session.labels.clip(10, (0,), mask).is_empty, "the preview shows what is written"
    outcome = session.commit()
    assert (outcome.num_pixels, outcome.reason) == (0, Reason.COVERED)
    assert np.array_equal(labels, before)
    assert session.prompts.current_object == 10
    assert session.prompts.of_current == {(0,): CLICK}
    assert session.history.changes == []
    assert describe_outcome(outcome) == (
        f"Object 10 was not saved: object 9 holds {mask.num_pixels - 1} of its "
        f"{mask.num_pixels} pixels. This is object 9: press P to correct it."
    )


def test_a_covered_correction_leaves_the_object_as_it_was(fake_segmenter) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    session = make_session(labels, first_id=10)
    click(session, fake_segmenter)
    session.commit()
    labels[labels == 10] = 9
    labels[0, 0, 0] = 10
    before, record = labels.copy(), session.records.get(10, (0,))
    session.prompts.select(10)
    click(session, fake_segmenter, PlanePrompts([[5, 6], [6, 7]]))
    assert session.commit().reason is Reason.COVERED
    assert np.array_equal(labels, before)
    assert session.records.get(10, (0,)) == record


def test_covered_boxes_stay_prompts(fake_segmenter) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, :, 12:] = 9
    session = make_session(labels, first_id=10)
    boxes = PlanePrompts(boxes_yxyx=[[1, 1, 5, 5], [8, 14, 12, 20]])
    session.prompts.replace({(0,): boxes})
    embedding = fake_segmenter.encode(STACK[0])
    questions = session.answers.questions_by_box()
    answers = [question.resolve(fake_segmenter, embedding) for question in questions]
    outcome = session.commit_answers(answers)
    assert outcome == Outcome(
        Verb.COMMIT,
        (10, 11),
        num_pixels=25,
        num_slices=1,
        unwritten=(11,),
        num_asked=60,
        num_covered=35,
        covered_by=(9,),
    )
    assert session.prompts.of(11) == {(0,): questions[1].prompts}
    assert session.records.object_ids == [10]
    assert describe_outcome(outcome) == (
        "Object 10 saved: 25 pixels on 1 slice. Object 11 got no pixels. 35 pixels stayed with "
        "object 9."
    )


def test_if_no_box_gets_a_pixel_all_boxes_stay(fake_segmenter) -> None:
    session = make_session(np.full(SHAPE, 9, np.uint8), first_id=10)
    boxes = PlanePrompts(boxes_yxyx=[[1, 1, 5, 5], [8, 14, 12, 20]])
    session.prompts.replace({(0,): boxes})
    embedding = fake_segmenter.encode(STACK[0])
    questions = session.answers.questions_by_box()
    answers = [question.resolve(fake_segmenter, embedding) for question in questions]
    outcome = session.commit_answers(answers)
    assert (outcome.reason, outcome.unwritten) == (Reason.COVERED, (10, 11))
    assert session.prompts.objects == {10: {(0,): boxes}}
    assert not session.history.can_undo


def test_a_propagation_that_changes_nothing_is_not_in_the_history() -> None:
    session = make_session()
    mask = np.zeros(SHAPE[1:], bool)
    mask[2:5, 2:5] = True
    objects = {(1, (1,)): ObjectOnSlice.of_mask(mask, Origin.PROPAGATED, 0.7)}
    assert session.commit_masks(objects).num_pixels == 9
    again = session.commit_masks(objects)
    assert (again.has_changed, again.reason) == (False, Reason.UNCHANGED)
    assert len(session.history.changes) == 1


def test_whole_objects_report_pixels_and_slices(fake_segmenter) -> None:
    session = make_session()
    for _ in range(2):
        mask = np.zeros(SHAPE[1:], bool)
        object_id = session.prompts.current_object
        mask[2:5, 10 * object_id - 8 : 10 * object_id] = True
        packed = ObjectOnSlice.of_mask(mask)
        session.commit_masks({(object_id, (0,)): packed, (object_id, (2,)): packed})
        session.prompts.new_object()
    size = {"num_pixels": 48, "num_slices": 2}
    assert session.relabel_object(2, 7) == Outcome(Verb.RELABEL, (7, 2), **size)
    merged = session.merge_objects([1, 7], into=1)
    assert merged == Outcome(Verb.MERGE, (1, 7), **size)
    deleted = session.delete_objects([1])
    assert deleted == Outcome(Verb.DELETE, (1,), num_pixels=96, num_slices=2)
    undone = session.undo()
    assert undone == Outcome(Verb.DELETE, (1,), 96, 2, course=Course.UNDONE)
    assert describe_outcome(undone) == "Deletion undone: 96 pixels on 2 slices."
    session.undo()
    redone = session.redo()
    assert redone == Outcome(Verb.MERGE, (1, 7), **size, course=Course.REDONE)


@pytest.mark.parametrize("object_ids", [[5], [5, 6]])
def test_objects_that_are_not_there_change_nothing(object_ids: list[int]) -> None:
    session = make_session()
    outcome = session.delete_objects(object_ids)
    assert outcome == Outcome(Verb.DELETE, tuple(object_ids), reason=Reason.UNCHANGED)
    assert session.history.changes == []


def test_deleting_an_object_of_prompts_only_can_be_undone() -> None:
    session = make_session()
    session.prompts.replace({(0,): CLICK})
    outcome = session.delete_objects([1])
    assert outcome == Outcome(Verb.DELETE, (1,))
    assert describe_outcome(outcome) == "Object 1 deleted: no pixels changed."
    session.undo()
    assert session.prompts.objects == {1: {(0,): CLICK}}


@pytest.mark.parametrize("policy", OverlapPolicy)
def test_a_clipped_mask_is_what_is_written(fake_segmenter, policy: OverlapPolicy) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, :, :6] = 9
    session = make_session(labels, first_id=10)
    session.labels.policy = policy
    click(session, fake_segmenter)
    clipped = session.labels.clip(10, (0,), session.answers.mask((0,)))
    session.commit()
    assert np.array_equal(labels[0] == 10, clipped.unpack())


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (
            Outcome(Verb.COMMIT, reason=Reason.NO_ANSWER),
            "There is no mask to save yet. Click inside an object, or drag a box.",
        ),
        (
            Outcome(Verb.MERGE, (5, 6), 1500, 3),
            "Objects 5 and 6 merged into object 5: 1,500 pixels on 3 slices.",
        ),
        (Outcome(Verb.RELABEL, (7, 2), 1, 1), "Object 2 is now object 7: 1 pixel on 1 slice."),
        (
            Outcome(Verb.PROPAGATE, (1, 2), 10, 2),
            "Objects 1 and 2 propagated: 10 pixels on 2 slices.",
        ),
        (
            Outcome(Verb.COMMIT, (1,), 10, 2, course=Course.UNDONE),
            "Commit undone: 10 pixels on 2 slices. Its prompts are back for editing.",
        ),
        (
            Outcome(Verb.COMMIT, (1,), 10, 2, course=Course.REDONE),
            "Commit redone: 10 pixels on 2 slices.",
        ),
        (
            Outcome(Verb.PROMPT, (1,), num_slices=1, course=Course.UNDONE),
            "Newest prompt undone.",
        ),
        (
            Outcome(
                Verb.COMMIT,
                (3, 4),
                reason=Reason.COVERED,
                unwritten=(3, 4),
                num_covered=9,
                covered_by=(1, 2),
            ),
            "Objects 3 and 4 were not saved: objects 1 and 2 hold all of their pixels. Press P "
            "on one of them to correct it, or choose Overwrite.",
        ),
        (
            Outcome(Verb.COMMIT, (3,), reason=Reason.UNCHANGED),
            "Nothing to save: the labels already hold object 3 exactly like this.",
        ),
    ],
)
def test_outcomes_in_words(outcome: Outcome, text: str) -> None:
    assert describe_outcome(outcome) == text


BOXES = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 6), st.integers(0, 6)),
    min_size=1,
    max_size=4,
)


@given(
    boxes=BOXES,
    policy=st.sampled_from(OverlapPolicy),
    foreign=st.integers(0, SHAPE[2]),
    num_times=st.integers(1, 2),
)
def test_any_boxes_report_what_they_changed(
    make_fake_segmenter, boxes: list, policy: OverlapPolicy, foreign: int, num_times: int
) -> None:
    """With any overlap, the outcome and the records describe the labels."""
    segmenter = make_fake_segmenter()
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, :, :foreign] = 9
    session = make_session(labels, first_id=10)
    session.labels.policy = policy
    prompts = PlanePrompts(boxes_yxyx=[(t, left, t + h, left + w) for t, left, h, w in boxes])
    session.prompts.replace({(0,): prompts})
    embedding = segmenter.encode(STACK[0])
    questions = session.answers.questions_by_box()
    answers = [question.resolve(segmenter, embedding) for question in questions]
    for count in range(num_times):
        before = labels.copy()
        prompts_before = dict(session.prompts.objects)
        outcome = session.commit_answers(answers)
        is_changed = before != labels
        assert outcome.num_pixels == np.count_nonzero(is_changed)
        assert outcome.num_slices == bool(is_changed.any())
        assert outcome.has_changed == bool(is_changed.any())
        if policy is not OverlapPolicy.REPLACE:
            assert np.array_equal(labels == 9, before == 9)
        else:
            assert outcome.num_covered == 0
        if not outcome.has_changed:
            assert session.prompts.objects == prompts_before
        elif count == 0:
            assert set(session.prompts.objects) == {q.object_id for q in questions}
        present = set(np.unique(labels).tolist())
        assert not present & set(outcome.unwritten)
        assert set(session.records.object_ids) == present - {0, 9}
        assert describe_outcome(outcome).endswith(".")
        assert session.history.can_undo or not is_changed.any()
    while session.undo() is not None:
        pass
    expected = np.zeros(SHAPE, np.uint8)
    expected[0, :, :foreign] = 9
    assert np.array_equal(labels, expected)


def test_an_overwritten_object_leaves_the_records_and_comes_back(fake_segmenter) -> None:
    session = make_session()
    click(session, fake_segmenter)
    session.commit()
    former = dict(session.records.of(1))
    session.labels.policy = OverlapPolicy.REPLACE
    everything = ObjectOnSlice.of_mask(np.ones(SHAPE[1:], bool))
    session.commit_masks({(2, (0,)): everything})
    assert session.records.object_ids == [2]
    session.undo()
    assert session.records.object_ids == [1]
    assert session.records.of(1) == former


def test_an_object_that_is_mostly_covered_stays_to_be_corrected(fake_segmenter) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[1] = 9
    session = make_session(labels, first_id=10)
    boxes = {
        (0,): PlanePrompts(boxes_yxyx=[[1, 1, 2, 2]]),
        (1,): PlanePrompts(boxes_yxyx=[[1, 1, 18, 22]]),
    }
    session.prompts.replace(boxes)
    source = PlaneSource(STACK, PLANES)
    answer_open_questions(session, fake_segmenter, "fake", source, EmbeddingCache())
    outcome = session.commit()
    assert outcome.has_changed and outcome.is_mostly_covered
    assert session.prompts.current_object == 10
    assert session.prompts.of_current == boxes
    text = describe_outcome(outcome)
    assert text.startswith(f"Only {outcome.num_pixels} of {outcome.num_asked} pixels of object")


def test_a_commit_that_only_removes_says_so(fake_segmenter) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    session = make_session(labels)
    click(session, fake_segmenter)
    num_pixels = session.commit().num_pixels
    session.prompts.select(1)
    session.prompts.replace({(0,): PlanePrompts([[5, 6]], [0])})
    outcome = session.commit()
    assert not labels.any()
    assert describe_outcome(outcome) == f"Object 1 removed: {num_pixels} pixels on 1 slice."


def test_undo_keeps_the_record_of_what_was_painted_since(fake_segmenter) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    session = make_session(labels)
    click(session, fake_segmenter)
    session.commit()
    row, column = np.argwhere(labels[0] == 1)[0]
    session.relabel_object(1, 5)
    session.undo()
    labels[0, row, column] = 5  # painted
    session.note_plane((0,), find_extents(labels[0]))
    session.undo()
    assert np.unique(labels).tolist() == [0, 5]
    assert session.records.object_ids == [5]
    session.redo()
    assert session.records.object_ids == [1, 5]
