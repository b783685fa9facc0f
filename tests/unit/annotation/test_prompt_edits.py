"""Undo and redo of prompts, alone and mixed with changes of the labels."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_promptable.annotation.history import Verb
from napari_promptable.annotation.outcomes import Course, Outcome
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.batch.answering import answer_open_questions
from napari_promptable.plane_source import PlaneSource
from napari_promptable.planes import PlaneAxes
from napari_promptable.predict.embeddings import EmbeddingCache
from napari_promptable.prompts import PlanePrompts

SHAPE = (3, 20, 24)
STACK = np.full(SHAPE, 0.5)
PLANES = PlaneAxes(SHAPE, (1, 2))
A, B = PlanePrompts([[5, 6]]), PlanePrompts([[5, 6], [9, 9]])


def make_session() -> SegmentationSession:
    return SegmentationSession(PlaneAxes(SHAPE, (1, 2)), np.zeros(SHAPE, np.uint8))


def answer(session: SegmentationSession, segmenter: Any) -> None:
    source = PlaneSource(STACK, PLANES)
    answer_open_questions(session, segmenter, "fake", source, EmbeddingCache())


def click_twice_and_commit(segmenter: Any) -> SegmentationSession:
    session = make_session()
    for prompts in (A, B):
        session.prompts.replace({(0,): prompts})
        answer(session, segmenter)
    session.commit()
    return session


def test_the_newest_prompt_goes_first_then_the_last_change(fake_segmenter) -> None:
    session = click_twice_and_commit(fake_segmenter)
    committed = session.labels.array.copy()
    session.prompts.replace({(2,): A})
    outcome = session.undo_step()
    assert outcome == Outcome(Verb.PROMPT, (2,), num_slices=1, course=Course.UNDONE)
    assert session.prompts.objects == {1: {(0,): B}}
    assert np.array_equal(session.labels.array, committed)

    undone = session.undo_step()
    assert undone is not None
    assert (undone.verb, undone.course) == (Verb.COMMIT, Course.UNDONE)
    assert undone.num_pixels == np.count_nonzero(committed)
    assert not session.labels.array.any()
    assert session.prompts.objects == {1: {(0,): B}}

    for expected in ({1: {(0,): A}}, {}):
        session.undo_step()
        assert session.prompts.objects == expected
    assert session.undo_step() is None

    for expected in ({1: {(0,): A}}, {1: {(0,): B}}):
        session.redo_step()
        assert session.prompts.objects == expected
    redone = session.redo_step()
    assert redone is not None
    assert (redone.verb, redone.course) == (Verb.COMMIT, Course.REDONE)
    assert np.array_equal(session.labels.array, committed)
    assert session.prompts.current_object == 2
    session.redo_step()
    assert session.prompts.of(2) == {(2,): A}
    assert session.redo_step() is None


def test_an_undone_click_needs_no_new_answer(fake_segmenter) -> None:
    session = make_session()
    masks = []
    for prompts in (A, B):
        session.prompts.replace({(0,): prompts})
        answer(session, fake_segmenter)
        masks.append(session.answers.mask((0,)).unpack())
    num_calls = len(fake_segmenter.questions)
    session.undo_step()
    answer(session, fake_segmenter)
    assert np.array_equal(session.answers.mask((0,)).unpack(), masks[0])
    assert len(fake_segmenter.questions) == num_calls


def test_listeners_learn_which_prompts_to_show(fake_segmenter) -> None:
    session = make_session()
    session.prompts.replace({(0,): A})
    session.prompts.replace({(0,): A, (1,): A})
    events: list[tuple] = []
    session.prompts.changed.connect(lambda *about: events.append(("changed", *about)))
    session.prompts.restored.connect(lambda i: events.append(("restored", i)))
    session.answers.changed.connect(lambda index: events.append(("answer", index)))
    session.undo_step()
    assert events == [("changed", 1, ((1,),)), ("answer", (1,)), ("restored", 1)]


def test_each_object_has_its_own_edits(fake_segmenter) -> None:
    session = make_session()
    session.prompts.replace({(0,): A})
    session.prompts.new_object()
    session.prompts.replace({(1,): A})
    session.prompts.select(1)
    session.undo_step()
    assert session.prompts.objects == {2: {(1,): A}}
    assert not session.prompts.can_undo
    session.prompts.select(2)
    assert session.prompts.can_undo


def test_undone_boxes_come_back_with_their_edits(fake_segmenter) -> None:
    boxes = [[1, 1, 5, 5]], [[1, 1, 5, 5], [8, 8, 12, 15]]
    one, two = (PlanePrompts(boxes_yxyx=some) for some in boxes)
    session = make_session()
    session.prompts.replace({(0,): one})
    session.prompts.replace({(0,): two})
    embedding = fake_segmenter.encode(STACK[0])
    questions = session.answers.questions_by_box()
    session.commit_answers([q.resolve(fake_segmenter, embedding) for q in questions])
    session.prompts.select(1)
    assert not session.prompts.can_undo, "the edits led to other prompts"
    session.undo_step()
    assert session.prompts.of(1) == {(0,): two}
    session.undo_step()
    assert session.prompts.of(1) == {(0,): one}


def test_a_chosen_candidate_does_not_hide_the_newest_prompt(fake_segmenter) -> None:
    session = make_session()
    session.prompts.replace({(0,): A})
    answer(session, fake_segmenter)
    session.answers.choose_candidate((0,), 2)
    session.prompts.replace({(0,): PlanePrompts([[5, 6]], candidate=1)})
    assert session.prompts.can_undo
    session.undo_step()
    assert session.prompts.objects == {}


@given(
    edits=st.lists(
        st.dictionaries(
            st.tuples(st.integers(0, 2)),
            st.lists(st.tuples(st.integers(0, 19), st.integers(0, 23)), min_size=1, max_size=3),
            max_size=2,
        ),
        max_size=8,
    ),
    num_back=st.integers(0, 9),
)
@pytest.mark.filterwarnings("error")
def test_any_edits_are_undone_and_redone(edits: list[dict], num_back: int) -> None:
    session = make_session()
    states: list[dict] = [{}]
    for edit in edits:
        prompts = {index: PlanePrompts(points) for index, points in edit.items()}
        session.prompts.replace(prompts)
        if prompts != states[-1]:
            states.append(prompts)
    num_back = min(num_back, len(states) - 1)
    for count in range(num_back):
        assert session.undo_step() is not None
        assert dict(session.prompts.of_current) == states[-2 - count]
    for count in range(num_back, 0, -1):
        assert session.redo_step() is not None
        assert dict(session.prompts.of_current) == states[len(states) - count]
    assert not session.prompts.can_redo
