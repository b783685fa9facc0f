from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from napari_promptable.annotation.absence import mark_absent, planes_beyond
from napari_promptable.annotation.history import History, Verb
from napari_promptable.annotation.outcomes import Outcome, Reason
from napari_promptable.annotation.patches import OverlapPolicy, find_extents
from napari_promptable.annotation.records import ObjectOnSlice, Origin
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.batch.answering import answer_open_questions
from napari_promptable.errors import LabelError, PromptError
from napari_promptable.masks import mask_region
from napari_promptable.plane_source import PlaneSource
from napari_promptable.planes import PlaneAxes, SliceLine
from napari_promptable.predict.embeddings import EmbeddingCache
from napari_promptable.prompts import PlanePrompts

SHAPE = (3, 20, 24)
PLANES = PlaneAxes(SHAPE, (1, 2))
STACK = np.full(SHAPE, 0.5)
FOREIGN = 99


def make_session(labels: Any = None, **options: Any) -> SegmentationSession:
    labels = np.zeros(SHAPE, np.int32) if labels is None else labels
    return SegmentationSession(PLANES, labels, **options)


def make_click(row: float, column: float, label: int = 1) -> PlanePrompts:
    return PlanePrompts([[row, column]], [label])


def make_events(session: SegmentationSession) -> list[tuple]:
    """List to which all signals of a session are added."""
    events: list[tuple] = []

    def listen(signal: Any, name: str, num_values: int) -> None:
        signal.connect(lambda *values: events.append((name, *values[:num_values])))

    listen(session.prompts.current_changed, "current_object_changed", 1)
    listen(session.prompts.changed, "prompts_changed", 1)
    listen(session.answers.changed, "answer_changed", 1)
    listen(session.labels.changed, "labels_changed", 1)
    listen(session.records.changed, "records_changed", 0)
    listen(session.history.changed, "history_changed", 0)
    return events


def answer(session: SegmentationSession, segmenter: Any) -> None:
    source = PlaneSource(STACK, PLANES)
    answer_open_questions(session, segmenter, "fake", source, EmbeddingCache())


@pytest.fixture
def session() -> SegmentationSession:
    """Session without prompts, on empty labels."""
    return make_session()


# prompts and answers


def test_prompts_become_questions_and_questions_masks(session, fake_segmenter) -> None:
    session.prompts.replace({(2,): make_click(5, 6), (0,): make_click(9, 9)})
    assert [question.index for question in session.answers.open_questions()] == [(0,), (2,)]
    assert (
        session.answers.mask((0,))
        is session.answers.candidate((0,))
        is session.answers.prediction((0,))
        is None
    )
    assert not session.answers.answered
    answer(session, fake_segmenter)
    assert session.answers.open_questions() == []
    assert session.answers.answered
    assert session.answers.candidate((2,)) == 1
    mask = session.answers.mask((2,)).unpack()
    assert mask is not None
    assert mask[5, 6]
    assert not mask[15, 15]
    assert session.answers.mask((1,)) is None
    assert not session.labels.array.any()


def test_only_what_can_be_answered_is_asked(session) -> None:
    session.prompts.replace({(0,): make_click(5, 6, label=0), (1,): PlanePrompts()})
    assert session.answers.open_questions() == []
    assert list(session.prompts.of(1)) == [(0,)]


def test_one_more_click_is_one_more_call(session, fake_segmenter) -> None:
    session.prompts.replace({(0,): make_click(5, 6)})
    answer(session, fake_segmenter)
    session.prompts.replace({(0,): PlanePrompts([[5, 6], [9, 9]]), (1,): make_click(1, 1)})
    assert session.answers.prediction((0,)) is None
    answer(session, fake_segmenter)
    assert len(fake_segmenter.questions) == 1 + 1 + 1


def test_answers_to_unchanged_prompts_stay(session, fake_segmenter) -> None:
    session.prompts.replace({(0,): make_click(5, 6), (1,): make_click(5, 6)})
    answer(session, fake_segmenter)
    kept = session.answers.prediction((0,))
    session.prompts.replace({(0,): make_click(5, 6), (1,): make_click(5, 7)})
    assert session.answers.prediction((0,)) is kept
    assert [question.index for question in session.answers.open_questions()] == [(1,)]


def test_stale_answers_are_dropped(session, fake_segmenter) -> None:
    embedding = fake_segmenter.encode(STACK[0])
    session.prompts.replace({(0,): make_click(5, 6)})
    [question] = session.answers.open_questions()
    late = question.resolve(fake_segmenter, embedding)
    events = make_events(session)

    session.prompts.replace({(0,): make_click(5, 7)})
    events.clear()
    assert not session.answers.accept(late)
    session.prompts.replace({})
    events.clear()
    assert not session.answers.accept(late)
    session.prompts.replace({(0,): make_click(5, 6)})
    session.prompts.select(2)
    session.prompts.replace({(0,): make_click(5, 6)})
    events.clear()
    assert not session.answers.accept(late)
    assert events == []
    assert session.answers.prediction((0,)) is None

    session.prompts.select(1)
    assert session.answers.accept(late)
    assert session.answers.prediction((0,)) is late.steps[-1].prediction


def test_an_answer_to_part_of_the_clicks_is_stale(session, fake_segmenter) -> None:
    session.prompts.replace({(0,): make_click(5, 6)})
    [question] = session.answers.open_questions()
    session.prompts.replace({(0,): PlanePrompts([[5, 6], [9, 9]])})
    assert not session.answers.accept(
        question.resolve(fake_segmenter, fake_segmenter.encode(STACK[0]))
    )


def test_an_answer_may_come_before_its_click(session, fake_segmenter) -> None:
    embedding = fake_segmenter.encode(STACK[0])
    session.prompts.replace({(0,): make_click(5, 6)})
    answer(session, fake_segmenter)
    shown = session.answers.prediction((0,))
    question = session.answers.ask((0,), PlanePrompts([[5, 6], [9, 9]]))
    assert len(question.known) == 1  # the first click is not answered again
    assert not session.answers.accept(question.resolve(fake_segmenter, embedding))
    assert session.answers.prediction((0,)) is shown

    session.prompts.replace({(0,): PlanePrompts([[5, 6], [9, 9]])})
    assert session.answers.open_questions() == []
    mask = session.answers.mask((0,))
    assert mask is not None
    assert mask.unpack()[9, 9]
    assert len(fake_segmenter.questions) == 2


def test_an_early_answer_is_for_its_click_only(session, fake_segmenter) -> None:
    embedding = fake_segmenter.encode(STACK[0])
    early = session.answers.ask((0,), make_click(5, 6)).resolve(fake_segmenter, embedding)
    for others in ({(0,): make_click(5, 7)}, {(1,): make_click(5, 6)}):
        session.answers.accept(early)
        session.prompts.replace(others)
        assert len(session.answers.open_questions()) == 1
    session.answers.forget()  # another model answers from now on
    session.prompts.replace({(0,): make_click(5, 6)})
    assert len(session.answers.open_questions()) == 1


def test_forgotten_answers_are_asked_again(session, fake_segmenter) -> None:
    session.prompts.replace({(0,): make_click(5, 6)})
    answer(session, fake_segmenter)
    events = make_events(session)
    session.answers.forget()
    assert events == [("answer_changed", (0,))]
    [question] = session.answers.open_questions()
    assert question.known == ()


def test_a_candidate_is_chosen(session, fake_segmenter) -> None:
    session.prompts.replace({(0,): make_click(9, 9)})
    answer(session, fake_segmenter)
    prediction = session.answers.prediction((0,))
    for candidate in (0, 2):
        session.answers.choose_candidate((0,), candidate)
        assert session.answers.candidate((0,)) == candidate
        assert np.array_equal(session.answers.mask((0,)).unpack(), prediction.masks[candidate])
        assert session.answers.prediction((0,)) is prediction
    assert session.prompts.of(1)[(0,)].candidate == 2
    session.prompts.replace({(0,): make_click(9, 9)})
    assert session.answers.candidate((0,)) == 2  # the prompts are the same
    session.prompts.replace({(0,): make_click(9, 8)})
    answer(session, fake_segmenter)
    assert session.answers.candidate((0,)) == 1


@pytest.mark.parametrize("candidate", [-1, 3])
def test_a_candidate_that_there_is_not_is_refused(session, fake_segmenter, candidate) -> None:
    with pytest.raises(PromptError, match="there are 0"):
        session.answers.choose_candidate((0,), 0)
    session.prompts.replace({(0,): make_click(9, 9)})
    answer(session, fake_segmenter)
    with pytest.raises(PromptError, match=f"candidate {candidate} was given; there are 3"):
        session.answers.choose_candidate((0,), candidate)


# objects


def test_selecting_an_object_brings_its_prompts_back(session, fake_segmenter) -> None:
    first = {(0,): make_click(5, 6), (1,): make_click(7, 8)}
    session.prompts.replace(first)
    answer(session, fake_segmenter)
    expected = session.answers.mask((1,)).unpack()
    assert session.prompts.new_object() == 2
    assert session.prompts.of(2) == {}
    assert session.answers.mask((1,)) is None
    session.prompts.replace({(1,): make_click(15, 15)})
    session.prompts.select(1)
    assert session.prompts.of_current == first
    assert session.prompts.objects == {1: first, 2: {(1,): make_click(15, 15)}}
    answer(session, fake_segmenter)
    assert np.array_equal(session.answers.mask((1,)).unpack(), expected)


def test_ids_start_where_told_and_are_positive() -> None:
    session = make_session(first_id=7)
    assert session.prompts.current_object == 7
    assert session.prompts.new_object() == 7  # it has no prompts yet
    session.prompts.replace({(0,): make_click(5, 6)})
    assert session.prompts.new_object() == 8
    for wrong in (0, -1):
        with pytest.raises(PromptError, match=f"object id {wrong}.*start at 1"):
            session.prompts.select(wrong)


def test_an_object_in_the_labels_is_never_a_new_one(session, fake_segmenter) -> None:
    session.prompts.replace({(0,): make_click(5, 6)})
    answer(session, fake_segmenter)
    session.commit()
    committed = session.labels.array.copy()
    session.prompts.select(1)
    session.prompts.replace({})
    assert session.prompts.new_object() == 2
    session.prompts.replace({(0,): make_click(15, 15)})
    answer(session, fake_segmenter)
    session.commit()
    assert np.array_equal(session.labels.array == 1, committed == 1)


# labels


def test_commit_writes_all_planes_and_begins_a_new_object(session, fake_segmenter) -> None:
    session.prompts.replace({(0,): make_click(5, 6), (2,): make_click(9, 9)})
    answer(session, fake_segmenter)
    masks = {index: session.answers.mask(index).unpack() for index in ((0,), (2,))}
    done = session.commit()
    assert done.has_changed
    assert done.object_ids == (1,)
    for index, mask in masks.items():
        assert np.array_equal(session.labels.array[index] == 1, mask)
    assert not session.labels.array[1].any()
    assert session.prompts.current_object == 2
    assert (session.history.can_undo, session.history.can_redo) == (True, False)


def test_planes_without_an_answer_are_not_written(session, fake_segmenter) -> None:
    session.prompts.replace({(0,): make_click(5, 6), (2,): make_click(9, 9)})
    answer(session, fake_segmenter)
    session.prompts.replace({(0,): make_click(5, 6), (2,): make_click(9, 8)})
    session.commit()
    assert session.labels.array[0].any()
    assert not session.labels.array[2].any()


def test_without_an_answer_there_is_nothing_to_commit(session) -> None:
    events = make_events(session)
    assert session.commit() == Outcome(Verb.COMMIT, (1,), reason=Reason.NO_ANSWER)
    session.prompts.replace({(0,): make_click(5, 6)})
    events.clear()
    assert session.commit() == Outcome(Verb.COMMIT, (1,), reason=Reason.NO_ANSWER)
    assert events == []
    assert (session.prompts.current_object, session.history.can_undo) == (1, False)


def test_refining_an_object_replaces_its_former_pixels(session, fake_segmenter) -> None:
    session.prompts.replace({(0,): make_click(5, 6)})
    answer(session, fake_segmenter)
    session.commit()
    session.prompts.select(1)
    session.prompts.replace({(0,): make_click(14, 16)})
    answer(session, fake_segmenter)
    mask = session.answers.mask((0,)).unpack()
    session.commit()
    assert np.array_equal(session.labels.array[0] == 1, mask)
    assert not session.labels.array[0, 5, 6]


def make_boxes(*boxes: tuple[float, float, float, float]) -> PlanePrompts:
    return PlanePrompts(boxes_yxyx=boxes)


def test_undo_of_boxes_brings_all_prompts_back(session, fake_segmenter) -> None:
    boxes = make_boxes((1, 1, 5, 5), (8, 8, 12, 15))
    click = make_click(3, 3)
    session.prompts.replace({(2,): boxes, (0,): click})
    embedding = fake_segmenter.encode(STACK[0])
    questions = session.answers.questions_by_box()
    session.commit_answers([q.resolve(fake_segmenter, embedding) for q in questions])
    session.undo()
    assert not session.labels.array.any()
    assert session.prompts.objects == {1: {(2,): boxes, (0,): click}}
    assert session.prompts.current_object == 1
    session.redo()
    assert set(np.unique(session.labels.array)) == {0, 1, 2}
    assert session.prompts.objects == {q.object_id: {q.index: q.prompts} for q in questions}


def test_a_plane_without_prompts_any_more_is_cleared(session, fake_segmenter) -> None:
    session.prompts.replace({(0,): make_click(5, 6), (2,): make_click(9, 9)})
    answer(session, fake_segmenter)
    session.commit()
    before = session.labels.array.copy()
    assert before[0].any() and before[2].any()
    session.prompts.select(1)
    session.prompts.replace({(2,): make_click(9, 9)})
    answer(session, fake_segmenter)
    session.commit()
    assert not session.labels.array[0].any()
    assert np.array_equal(session.labels.array[2], before[2])
    session.undo()
    assert np.array_equal(session.labels.array, before)


def test_boxes_become_objects(session, fake_segmenter) -> None:
    embedding = fake_segmenter.encode(STACK[0])
    session.prompts.replace(
        {(2,): make_boxes((1, 1, 5, 5), (8, 8, 12, 15)), (0,): make_boxes((2, 3, 6, 6))}
    )
    questions = session.answers.questions_by_box()
    asked = [(q.object_id, q.index, q.prompts.boxes_yxyx.tolist()) for q in questions]
    assert asked == [
        (1, (0,), [[2, 3, 6, 6]]),
        (2, (2,), [[1, 1, 5, 5]]),
        (3, (2,), [[8, 8, 12, 15]]),
    ]
    answers = [question.resolve(fake_segmenter, embedding) for question in questions]
    done = session.commit_answers(answers)
    size = 5 * 4 + 25 + 5 * 8
    assert done == Outcome(Verb.COMMIT, (1, 2, 3), size, num_slices=2, num_asked=size)
    expected = np.zeros(SHAPE, np.int32)
    expected[0, 2:7, 3:7] = 1
    expected[2, 1:6, 1:6] = 2
    expected[2, 8:13, 8:16] = 3
    assert np.array_equal(session.labels.array, expected)
    assert session.prompts.objects == {q.object_id: {q.index: q.prompts} for q in questions}
    assert session.prompts.current_object == 4
    session.undo()
    assert not session.labels.array.any()
    assert not session.history.can_undo
    session.redo()
    assert np.array_equal(session.labels.array, expected)


@pytest.mark.parametrize("policy", OverlapPolicy)
def test_objects_of_one_commit_may_overlap(policy: OverlapPolicy, fake_segmenter) -> None:
    session = make_session()
    session.labels.policy = policy
    session.prompts.replace({(0,): make_boxes((1, 1, 5, 5), (3, 3, 9, 9))})
    embedding = fake_segmenter.encode(STACK[0])
    session.commit_answers(
        [
            question.resolve(fake_segmenter, embedding)
            for question in session.answers.questions_by_box()
        ]
    )
    assert session.labels.array[0, 4, 4] == (2 if policy is OverlapPolicy.REPLACE else 1)
    after = session.labels.array.copy()
    session.undo()
    assert not session.labels.array.any()
    session.redo()
    assert np.array_equal(session.labels.array, after)


def test_without_boxes_no_object_is_made_of_them(session) -> None:
    session.prompts.replace({(0,): make_click(5, 6)})
    assert session.answers.questions_by_box() == []
    assert session.commit_answers([]) == Outcome(Verb.COMMIT, reason=Reason.NO_ANSWER)
    assert (session.prompts.current_object, session.history.can_undo) == (1, False)


def test_many_objects_are_written_or_none(fake_segmenter) -> None:
    session = make_session(np.zeros(SHAPE, np.uint8), first_id=255)
    session.prompts.replace({(0,): make_boxes((1, 1, 5, 5), (8, 8, 12, 15))})
    embedding = fake_segmenter.encode(STACK[0])
    first, second = session.answers.questions_by_box()
    questions = [first, replace(second, object_id=256)]
    answers = [question.resolve(fake_segmenter, embedding) for question in questions]
    events = make_events(session)
    with pytest.raises(LabelError, match="256"):
        session.commit_answers(answers)
    assert not session.labels.array.any()
    assert events == []
    assert not session.history.can_undo


def test_a_commit_after_undo_clears_what_undo_brought_back(session, fake_segmenter) -> None:
    for click in ((5, 6), (14, 16)):
        session.prompts.select(1)
        session.prompts.replace({(0,): make_click(*click)})
        answer(session, fake_segmenter)
        session.commit()
    session.undo()
    assert session.labels.array[0, 5, 6] == 1
    session.prompts.replace({(0,): make_click(14, 4)})
    answer(session, fake_segmenter)
    mask = session.answers.mask((0,)).unpack()
    session.commit()
    assert np.array_equal(session.labels.array[0] == 1, mask)


@pytest.mark.parametrize("policy", OverlapPolicy)
def test_the_policy_decides_about_overlaps(policy: OverlapPolicy, fake_segmenter) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, :, :7] = FOREIGN
    session = make_session(labels)
    session.labels.policy = policy
    session.prompts.replace({(0,): make_click(5, 6)})
    answer(session, fake_segmenter)
    session.commit()
    assert labels[0, 5, 6] == (1 if policy is OverlapPolicy.REPLACE else FOREIGN)
    assert labels[0, 5, 8] == 1


def test_an_id_that_does_not_fit_writes_nothing(fake_segmenter) -> None:
    session = make_session(np.zeros(SHAPE, np.uint8), first_id=256)
    session.prompts.replace({(0,): make_click(5, 6), (1,): make_click(5, 6)})
    answer(session, fake_segmenter)
    events = make_events(session)
    with pytest.raises(LabelError, match="256"):
        session.commit()
    assert not session.labels.array.any()
    assert events == []
    assert (session.prompts.current_object, session.history.can_undo) == (256, False)


def test_undo_and_redo_of_zarr_labels(fake_segmenter) -> None:
    labels = zarr.zeros(SHAPE, chunks=(1, 8, 8), dtype=np.uint16)
    session = make_session(labels)
    session.prompts.replace({(0,): make_click(5, 6), (1,): make_click(5, 6)})
    answer(session, fake_segmenter)
    session.commit()
    after = labels[:]
    session.undo()
    assert not labels[:].any()
    assert session.prompts.current_object == 1
    assert list(session.prompts.of(1)) == [(0,), (1,)]
    session.redo()
    assert np.array_equal(labels[:], after)
    assert session.prompts.current_object == 2


def test_with_no_history_nothing_is_undone(session) -> None:
    events = make_events(session)
    assert session.undo() is session.redo() is None
    assert events == []


def test_a_commit_ends_what_could_be_redone(session, fake_segmenter) -> None:
    session.prompts.replace({(0,): make_click(5, 6)})
    answer(session, fake_segmenter)
    session.commit()
    session.undo()
    session.prompts.replace({(0,): make_click(9, 9)})
    answer(session, fake_segmenter)
    session.commit()
    assert not session.history.can_redo
    assert session.redo() is None


def test_what_is_painted_by_hand_survives_undo_and_redo(session, fake_segmenter) -> None:
    session.prompts.replace({(0,): make_click(5, 6)})
    answer(session, fake_segmenter)
    session.commit()
    session.labels.array[0, 5, 6] = FOREIGN
    session.undo()
    session.labels.array[0, 5, 7] = FOREIGN
    session.redo()
    session.undo()
    assert session.labels.array[0, 5, 6] == session.labels.array[0, 5, 7] == FOREIGN
    assert np.count_nonzero(session.labels.array) == 2


# signals


def test_signals_tell_what_happened(session, fake_segmenter) -> None:
    events = make_events(session)
    prompts = make_click(5, 6)
    session.prompts.replace({(0,): prompts})
    assert events == [("prompts_changed", 1), ("answer_changed", (0,))]
    events.clear()
    session.prompts.replace({(0,): make_click(5, 6)})
    assert events == []
    answer(session, fake_segmenter)
    assert events == [("answer_changed", (0,))]
    events.clear()
    session.answers.choose_candidate((0,), 0)
    assert events == [("answer_changed", (0,))]
    events.clear()
    session.commit()
    [done] = session.history.changes
    assert events == [
        ("labels_changed", done.patches),
        ("records_changed",),
        ("history_changed",),
        ("current_object_changed", 2),
        ("answer_changed", (0,)),
    ]
    events.clear()
    session.prompts.select(2)
    assert events == []
    session.undo()
    [(name, [patch]), *others] = events
    assert name == "labels_changed"
    assert patch.region == done.patches[0].region
    assert np.array_equal(patch.before, done.patches[0].after)
    assert np.array_equal(patch.after, done.patches[0].before)
    assert others == [
        ("records_changed",),
        ("history_changed",),
        ("current_object_changed", 1),
    ]
    events.clear()
    session.redo()
    assert [name for name, *_ in events] == [
        "labels_changed",
        "records_changed",
        "history_changed",
        "current_object_changed",
    ]


def test_a_removed_plane_loses_its_answer(session, fake_segmenter) -> None:
    session.prompts.replace({(0,): make_click(5, 6), (1,): make_click(5, 6)})
    answer(session, fake_segmenter)
    events = make_events(session)
    session.prompts.replace({(1,): make_click(5, 6)})
    assert events == [("prompts_changed", 1), ("answer_changed", (0,))]
    assert session.answers.mask((0,)) is None


# images


def test_a_2d_image_has_one_plane(fake_segmenter) -> None:
    labels = np.zeros(SHAPE[1:], np.int32)
    session = SegmentationSession(PlaneAxes(SHAPE[1:], (0, 1)), labels)
    events = make_events(session)
    session.prompts.replace({(): make_click(5, 6)})
    source = PlaneSource(STACK[0], session.planes)
    answer_open_questions(session, fake_segmenter, "fake", source, EmbeddingCache())
    assert ("answer_changed", ()) in events
    session.commit()
    assert labels[5, 6] == 1


# objects in the labels


def make_committed(fake_segmenter: Any, *centres: tuple[int, int]) -> SegmentationSession:
    """Session with one committed object at each position, on planes 0 and 1."""
    session = make_session()
    for row, column in centres:
        session.prompts.replace({(z,): make_click(row, column) for z in (0, 1)})
        answer(session, fake_segmenter)
        session.commit()
    return session


def test_what_is_committed_is_on_record(fake_segmenter) -> None:
    session = make_committed(fake_segmenter, (9, 9))
    records = dict(session.records.of(1))
    assert list(records) == [(0,), (1,)]
    assert records[0,].origin is Origin.PROMPTS
    assert records[0,].confidence == pytest.approx(0.9)
    assert records[0,].extent == mask_region(np.asarray(session.labels.array[0]) == 1)
    session.undo()
    assert session.records.object_ids == []
    session.redo()
    assert session.records.of(1) == records


def test_a_deleted_object_and_its_prompts_come_back(fake_segmenter) -> None:
    session = make_committed(fake_segmenter, (5, 5), (15, 15))
    before = session.labels.array.copy()
    session.delete_objects([1])
    assert session.records.object_ids == [2]
    assert np.array_equal(session.labels.array, np.where(before == 1, 0, before))
    assert list(session.prompts.objects) == [2]
    session.undo()
    assert np.array_equal(session.labels.array, before)
    assert list(session.prompts.objects) == [1, 2]
    assert session.prompts.current_object == 1


def test_merged_objects_are_one(fake_segmenter) -> None:
    session = make_committed(fake_segmenter, (5, 5), (5, 9), (15, 15))
    before = session.labels.array.copy()
    session.merge_objects([2, 1], into=1)
    assert np.array_equal(session.labels.array, np.where(before == 2, 1, before))
    for (z,), record in session.records.of(1).items():
        assert record.extent == mask_region(np.asarray(session.labels.array[z]) == 1)
    session.delete_objects([1])
    assert set(np.unique(session.labels.array)) == {0, 3}
    session.undo()
    session.undo()
    assert np.array_equal(session.labels.array, before)
    with pytest.raises(PromptError, match="two or more"):
        session.merge_objects([3], into=3)
    with pytest.raises(PromptError, match="two or more"):
        session.merge_objects([1, 2], into=3)


def test_an_object_takes_a_free_id_only(fake_segmenter) -> None:
    session = make_committed(fake_segmenter, (5, 5), (15, 15))
    before = session.labels.array.copy()
    with pytest.raises((PromptError, LabelError), match="2"):
        session.relabel_object(1, 2)
    session.records.rename_class([1], "nucleus")
    session.relabel_object(1, 7)
    assert session.records.class_names == {7: "nucleus"}
    assert np.array_equal(session.labels.array, np.where(before == 1, 7, before))
    assert list(session.prompts.of(7)) == [(0,), (1,)]
    assert session.prompts.of(1) == {}
    session.undo()
    assert np.array_equal(session.labels.array, before)
    assert list(session.prompts.of(1)) == [(0,), (1,)]
    assert session.records.class_names == {1: "nucleus"}
    session.redo()
    assert session.records.class_names == {7: "nucleus"}


def test_an_id_that_does_not_fit_is_refused_before_anything_is_written(fake_segmenter) -> None:
    session = make_session(np.zeros(SHAPE, np.uint8))
    session.prompts.replace({(0,): make_click(5, 5)})
    answer(session, fake_segmenter)
    session.commit()
    before = session.labels.array.copy()
    with pytest.raises(LabelError, match="256"):
        session.relabel_object(1, 256)
    with pytest.raises(LabelError, match="256"):
        mask = np.ones(SHAPE[1:], bool)
        session.commit_masks(
            {(2, (0,)): ObjectOnSlice.of_mask(mask), (256, (0,)): ObjectOnSlice.of_mask(mask)}
        )
    assert np.array_equal(session.labels.array, before)
    assert session.history.changes[-1].object_ids == (1,)


def test_an_object_of_anyone_is_refined_and_keeps_its_id(fake_segmenter) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, 4:12, 4:12] = FOREIGN
    labels[0, 15:18, 4:12] = 5
    session = make_session(labels)
    session.refine_object(FOREIGN, (0,))
    assert session.prompts.current_object == FOREIGN
    answer(session, fake_segmenter)
    assert np.array_equal(session.answers.mask((0,)).unpack(), labels[0] == FOREIGN)
    assert fake_segmenter.questions == []

    session.prompts.replace({(0,): PlanePrompts([[6, 6], [11, 11]], [1, 0])})
    answer(session, fake_segmenter)
    [_, question] = fake_segmenter.questions
    assert question.mask_logits is not None
    session.commit()
    assert labels[0, 5, 5] == FOREIGN
    assert labels[0, 11, 11] == 0
    assert (labels[0, 15:18, 4:12] == 5).all()
    session.undo()
    assert (labels[0, 4:12, 4:12] == FOREIGN).all()


def test_an_object_that_a_2d_image_lacks_cannot_be_refined() -> None:
    session = SegmentationSession(PlaneAxes((8, 9), (0, 1)), np.zeros((8, 9), np.uint8))
    with pytest.raises(PromptError, match="object 3 is not in the image; pick"):
        session.refine_object(3, ())


def test_what_is_not_in_view_cannot_be_refined(session) -> None:
    with pytest.raises(PromptError, match="object 3 is not on slice 0; pick"):
        session.refine_object(3, (0,))
    with pytest.raises(PromptError, match="object 0"):
        session.refine_object(0, (0,))


def test_objects_of_others_are_noted(fake_segmenter) -> None:
    session = make_committed(fake_segmenter, (9, 9))
    session.labels.array[0, 0, :3] = FOREIGN
    events = make_events(session)
    session.records.note_plane((0,), find_extents(session.labels.array[0]))
    assert session.records.of(FOREIGN) == {(0,): ObjectOnSlice(np.s_[0:1, 0:3], Origin.FOUND)}
    assert session.records.of(1)[0,].origin is Origin.PROMPTS
    assert next(session.prompts.free_ids()) == FOREIGN + 1
    session.labels.array[0][session.labels.array[0] == FOREIGN] = 0
    session.records.note_plane((0,), find_extents(session.labels.array[0]))
    assert session.records.object_ids == [1]
    assert events.count(("records_changed",)) == 2


def test_an_id_that_turns_out_to_be_taken_is_left(session, fake_segmenter) -> None:
    session.prompts.replace({(0,): make_click(5, 6)})
    answer(session, fake_segmenter)
    extents = {1: np.s_[0:2, 0:2], 4: np.s_[0:2, 5:7]}
    assert session.note_plane((2,), extents)
    assert session.prompts.current_object == 5
    assert list(session.prompts.of(5)) == [(0,)]
    assert session.answers.mask((0,)) is not None
    assert not session.note_plane((2,), extents)
    session.commit()
    session.prompts.select(5)
    session.note_plane((0,), find_extents(session.labels.array[0]))
    assert session.prompts.current_object == 5


def test_propagated_masks_are_one_change(fake_segmenter) -> None:
    session = make_committed(fake_segmenter, (9, 9))
    before = session.labels.array.copy()
    mask = np.zeros(SHAPE[1:], bool)
    mask[8:11, 8:11] = True
    outcome = session.commit_masks(
        {(1, (2,)): ObjectOnSlice.of_mask(mask, Origin.PROPAGATED, 0.7, "lost")}, {"axis": 0}
    )
    assert outcome == Outcome(Verb.PROPAGATE, (1,), num_pixels=9, num_slices=1, num_asked=9)
    done = session.history.changes[-1]
    assert done.verb is Verb.PROPAGATE
    assert done.details == {"policy": "keep", "axis": 0}
    assert list(done.asked[1]) == [(0,), (1,)]
    assert np.array_equal(session.labels.array[2] == 1, mask)
    record = session.records.of(1)[2,]
    assert (record.confidence, record.stop) == (0.7, "lost")

    session.prompts.select(1)
    session.prompts.replace({**session.prompts.of_current, (0,): make_click(9, 12)})
    answer(session, fake_segmenter)
    session.commit()
    assert np.array_equal(session.labels.array[2] == 1, mask), (
        "a correction leaves other slices"
    )
    session.undo()
    session.undo()
    assert np.array_equal(session.labels.array, before)
    assert session.commit_masks({}) == Outcome(Verb.PROPAGATE, reason=Reason.NO_ANSWER)


def test_a_click_on_a_propagated_slice_corrects_what_is_there(fake_segmenter) -> None:
    session = make_committed(fake_segmenter, (9, 9))
    mask = np.zeros(SHAPE[1:], bool)
    mask[8:11, 8:11] = True
    session.commit_masks({(1, (2,)): ObjectOnSlice.of_mask(mask, Origin.PROPAGATED)})
    session.prompts.select(1)
    prompts = dict(session.prompts.of(1))
    session.prompts.replace({**prompts, (2,): make_click(9, 12)})
    assert np.array_equal(session.prompts.of(1)[2,].mask, mask)
    session.prompts.replace({**prompts, (2,): PlanePrompts([[9, 12], [9, 14]])})
    assert np.array_equal(session.prompts.of(1)[2,].mask, mask)
    session.prompts.replace(prompts)
    assert (2,) not in session.prompts.of(1)
    session.prompts.replace({**prompts, (2,): PlanePrompts(boxes_yxyx=[[8, 8, 12, 12]])})
    assert session.prompts.of(1)[2,].mask is None


def test_a_failure_in_the_midst_of_writing_leaves_the_labels_as_they_were() -> None:
    class FullDisk(np.ndarray):
        """Labels whose second slice cannot be written completely."""

        def __setitem__(self, region: Any, values: Any) -> None:
            super().__setitem__(region, values)
            if region[0] == 1 and np.any(values):
                raise OSError("no space left")

    session = make_session(np.zeros(SHAPE, np.int32).view(FullDisk))
    session.labels.array[0, 0, 0] = FOREIGN
    before = session.labels.array.copy()
    whole = ObjectOnSlice.of_mask(np.ones(SHAPE[1:], bool))
    with pytest.raises(OSError, match="no space"):
        session.commit_masks({(1, (0,)): whole, (1, (1,)): whole})
    assert np.array_equal(session.labels.array, before)
    assert not session.history.can_undo


def test_names_of_classes(session) -> None:
    session.records.rename_class([1, 2], "nucleus")
    session.records.rename_class([2], "")
    assert session.records.class_names == {1: "nucleus"}


def test_history_has_a_limit_and_the_newest_can_always_be_undone(fake_segmenter) -> None:
    session = make_session()
    session.history = History(max_bytes=1)
    for column in (3, 9, 15):
        session.prompts.replace({(0,): make_click(9, column)})
        answer(session, fake_segmenter)
        session.commit()
    assert [change.object_ids for change in session.history.changes] == [(1,), (2,), (3,)]
    assert session.undo() is not None
    assert session.undo() is None
    assert set(np.unique(session.labels.array)) == {0, 1, 2}


def test_history_counts_the_bytes_of_changes_that_it_can_undo_or_redo(fake_segmenter) -> None:
    session = make_session()

    def commit(column: int) -> int:
        session.prompts.replace({(0,): make_click(9, column)})
        answer(session, fake_segmenter)
        session.commit()
        return session.history.last_done.nbytes

    first, second = commit(3), commit(9)
    assert session.history.nbytes == first + second > 0
    session.undo()
    assert session.history.nbytes == first + second
    session.prompts.replace({})
    third = commit(15)
    assert session.history.nbytes == first + third


# any sequence of verbs

CLICKS = st.lists(
    st.tuples(
        st.integers(0, SHAPE[1] - 1), st.integers(0, SHAPE[2] - 1), st.sampled_from([1, 1, 0])
    ),
    max_size=3,
)
INDICES = st.tuples(st.integers(0, SHAPE[0] - 1))


class AnySequenceOfVerbs(RuleBasedStateMachine):
    """A session, next to snapshots of its labels and prompts."""

    make_segmenter: Callable[[], Any]

    @initialize(foreign=st.integers(0, SHAPE[2]))
    def begin(self, foreign: int) -> None:
        """Start with an object that the session did not make, on some columns of one plane."""
        labels = np.zeros(SHAPE, np.uint8)
        labels[1, :, :foreign] = FOREIGN
        self.session = make_session(labels)
        self.segmenter = self.make_segmenter()
        self.snapshots = [labels.copy()]
        self.position = 0
        self.prompts: dict[int, dict] = {}
        self.moved: list[tuple[dict, dict]] = []

    @rule(planes=st.dictionaries(INDICES, CLICKS, max_size=2))
    def replace_prompts(self, planes: dict) -> None:
        """Click here and there."""
        prompts = {
            index: PlanePrompts([click[:2] for click in clicks], [click[2] for click in clicks])
            for index, clicks in planes.items()
        }
        self.session.prompts.replace(prompts)
        kept = {index: value for index, value in prompts.items() if not value.is_empty}
        self.prompts[self.session.prompts.current_object] = kept

    @rule()
    def answer(self) -> None:
        """Answer the open questions."""
        answer(self.session, self.segmenter)
        assert self.session.answers.open_questions() == []

    @rule(index=INDICES, candidate=st.integers(0, 2))
    def choose_candidate(self, index: tuple[int], candidate: int) -> None:
        """Choose one where there is a choice."""
        if self.session.answers.prediction(index) is not None:
            self.session.answers.choose_candidate(index, candidate)
            assert self.session.answers.candidate(index) == candidate

    @rule(object_id=st.integers(1, 4))
    def select_object(self, object_id: int) -> None:
        """Go back to an object, or take a free id."""
        self.session.prompts.select(object_id)

    @rule()
    def new_object(self) -> None:
        """Begin an object; no pixel may have its id."""
        object_id = self.session.prompts.new_object()
        assert not self.prompts.get(object_id)
        assert not (self.session.labels.array == object_id).any()

    @rule()
    def commit(self) -> None:
        """Write; others keep all their pixels."""
        object_id, before = self.session.prompts.current_object, self.snapshots[self.position]
        masks = {
            (z,): mask.unpack()
            for z in range(SHAPE[0])
            if (mask := self.session.answers.mask((z,))) is not None
        }
        outcome = self.session.commit()
        after = self.session.labels.array
        self.check_counts(outcome, before)
        if not outcome.has_changed:
            assert self.session.prompts.current_object == object_id
            assert (outcome.reason is Reason.NO_ANSWER) == (not masks)
            return
        is_foreign = (before != 0) & (before != object_id)
        assert np.array_equal(after[is_foreign], before[is_foreign])
        for index, mask in masks.items():
            assert np.array_equal(after[index] == object_id, mask & ~is_foreign[index])
        for index, prompts in self.prompts.get(object_id, {}).items():
            assert not (prompts.says_absent and (after[index] == object_id).any())
        self.remember({}, {})

    def check_counts(self, outcome: Outcome, before: np.ndarray) -> None:
        """Compare the outcome with what changed in the labels."""
        is_changed = before != self.session.labels.array
        assert outcome.num_pixels == np.count_nonzero(is_changed)
        assert outcome.num_slices == np.count_nonzero(is_changed.any(axis=(1, 2)))

    def remember(self, before: dict, after: dict) -> None:
        """Keep the state after a change, and the prompts that went with it."""
        self.snapshots[self.position + 1 :] = [self.session.labels.array.copy()]
        self.moved[self.position :] = [(before, after)]
        self.prompts |= after
        self.position += 1

    @rule(object_id=st.integers(1, 4))
    def delete(self, object_id: int) -> None:
        """Delete one object; nothing else changes."""
        before = self.session.labels.array.copy()
        kept = dict(self.prompts.get(object_id, {}))
        outcome = self.session.delete_objects([object_id])
        assert np.array_equal(
            self.session.labels.array, np.where(before == object_id, 0, before)
        )
        self.check_counts(outcome, before)
        assert outcome.has_changed == (outcome.num_pixels > 0 or bool(kept))
        if outcome.has_changed:
            self.remember({object_id: kept}, {object_id: {}})

    @rule(first=st.integers(1, 4), second=st.integers(1, 4))
    def merge(self, first: int, second: int) -> None:
        """Make one object of two; nothing else changes."""
        if first == second:
            return
        before = self.session.labels.array.copy()
        kept = dict(self.prompts.get(first, {}))
        own = self.prompts.get(second, {})
        outcome = self.session.merge_objects([first, second], into=second)
        assert np.array_equal(
            self.session.labels.array, np.where(before == first, second, before)
        )
        self.check_counts(outcome, before)
        assert outcome.has_changed == (outcome.num_pixels > 0 or bool(kept))
        joined = {index for index in own if (before[index] == first).any()}
        corrected = {i: PlanePrompts() if i in joined else asked for i, asked in own.items()}
        if joined:
            self.remember({first: kept, second: own}, {first: {}, second: corrected})
        elif outcome.has_changed:
            self.remember({first: kept}, {first: {}})

    @precondition(lambda self: self.position > 0)
    @rule()
    def undo(self) -> None:
        """One step back."""
        before = self.session.labels.array.copy()
        outcome = self.session.undo()
        assert outcome is not None
        assert self.session.prompts.current_object == outcome.object_ids[0]
        self.check_counts(outcome, before)
        self.position -= 1
        self.prompts |= self.moved[self.position][0]

    @precondition(lambda self: self.position < len(self.snapshots) - 1)
    @rule()
    def redo(self) -> None:
        """One step forth."""
        before = self.session.labels.array.copy()
        outcome = self.session.redo()
        assert outcome is not None
        self.check_counts(outcome, before)
        self.prompts |= self.moved[self.position][1]
        self.position += 1

    @invariant()
    def labels_and_prompts_are_what_they_were(self) -> None:
        """Compare with the snapshots."""
        assert np.array_equal(self.session.labels.array, self.snapshots[self.position])
        assert self.session.history.can_undo == (self.position > 0)
        assert self.session.history.can_redo == (self.position < len(self.snapshots) - 1)
        found = {
            object_id: {index: value.points_yx.tolist() for index, value in planes.items()}
            for object_id, planes in self.session.prompts.objects.items()
        }
        expected = {
            object_id: {index: value.points_yx.tolist() for index, value in planes.items()}
            for object_id, planes in self.prompts.items()
            if planes
        }
        assert found == expected

    def teardown(self) -> None:
        """Undo everything."""
        if not hasattr(self, "session"):
            return
        while self.session.undo() is not None:
            pass
        assert np.array_equal(self.session.labels.array, self.snapshots[0])


def test_any_sequence_of_verbs(make_fake_segmenter: Callable[[], Any]) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    class Machine(AnySequenceOfVerbs):
        make_segmenter = staticmethod(make_fake_segmenter)

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None)
    )


# absent objects


def make_propagated(session: SegmentationSession, fake_segmenter: Any) -> None:
    """Commit object 1 on slice 0, and write what propagation found on slices 1 and 2."""
    session.prompts.replace({(0,): make_click(5, 6)})
    answer(session, fake_segmenter)
    session.commit()
    mask = session.labels.find(1, (0,)).unpack()
    found = ObjectOnSlice.of_mask(mask, Origin.PROPAGATED, 0.3)
    session.commit_masks({(1, (1,)): found, (1, (2,)): found})
    session.prompts.select(1)


def test_an_object_is_marked_as_absent_on_a_slice_and_beyond(session, fake_segmenter) -> None:
    make_propagated(session, fake_segmenter)
    before = np.array(session.labels.array)
    line = SliceLine(0, (1,), 3)
    beyond = planes_beyond(line, (1,), session.prompts.of(1), session.records.of(1))
    assert beyond == [(2,)]
    outcome = mark_absent(session, (1,), beyond)
    assert (outcome.verb, outcome.num_slices) == (Verb.CLEAR, 2)
    assert outcome.num_pixels == np.count_nonzero(before[1:])
    assert not session.labels.array[1:].any()
    asked = session.prompts.of(1)[1,]
    assert asked.says_absent
    row, column = asked.points_yx[0].astype(int)
    assert before[1, row, column] == 1, "the click is inside the mask that was removed"
    session.undo()
    assert np.array_equal(session.labels.array, before)
    assert (1,) not in session.prompts.of(1)
    session.redo()
    assert not session.labels.array[1:].any()
    assert session.prompts.current_object == 1, "as after the verb itself"
    assert session.prompts.of(1)[1,].says_absent


def test_slices_between_prompted_ones_are_not_beyond(session, fake_segmenter) -> None:
    make_propagated(session, fake_segmenter)
    session.prompts.replace({(0,): make_click(5, 6), (2,): make_click(5, 6)})
    line = SliceLine(0, (1,), 3)
    records = session.records.of(1)
    assert planes_beyond(line, (1,), session.prompts.of(1), records) == []
    assert planes_beyond(line, (1,), {}, records) == [], "no prompts to count from"


def test_an_uncommitted_object_is_marked_as_absent_by_a_prompt(session) -> None:
    session.prompts.replace({(0,): PlanePrompts(boxes_yxyx=[[2, 4, 6, 8]])})
    outcome = mark_absent(session, (2,))
    assert outcome.has_changed and outcome.num_pixels == 0
    assert session.prompts.of_current[2,].points_yx.tolist() == [[4, 6]]
    assert not session.history.changes
    assert mark_absent(session, (2,)).reason is Reason.UNCHANGED
    session.undo_step()
    assert (2,) not in session.prompts.of_current


def test_an_object_that_is_nowhere_cannot_be_absent(session) -> None:
    outcome = mark_absent(session, (1,))
    assert outcome.reason is Reason.NO_ANSWER
    assert not session.prompts.of_current


def test_a_commit_removes_an_object_where_prompts_say_that_it_is_absent(
    session, fake_segmenter
) -> None:
    make_propagated(session, fake_segmenter)
    absent = make_click(5, 6, label=0)
    session.prompts.assign({1: {**session.prompts.of(1), (2,): absent}})
    answer(session, fake_segmenter)
    session.commit()
    assert session.labels.array[0].any() and session.labels.array[1].any()
    assert not session.labels.array[2].any()


def test_a_slice_that_was_checked_is_not_doubtful(session, fake_segmenter) -> None:
    make_propagated(session, fake_segmenter)
    assert session.records.get(1, (1,)).is_doubtful
    assert session.records.check(1, (1,))
    assert not session.records.get(1, (1,)).is_doubtful
    assert not session.records.check(1, (7,))
