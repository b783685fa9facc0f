import json

import numpy as np
import pytest

from napari_promptable.annotation.answers import PackedAnswer
from napari_promptable.annotation.automatic import (
    NewObjects,
    ask_about_gaps,
    commit_new,
    first_free_id,
)
from napari_promptable.annotation.history import Verb
from napari_promptable.annotation.outcomes import Reason, describe_outcome
from napari_promptable.annotation.patches import OverlapPolicy, PlacedIds
from napari_promptable.annotation.records import ObjectOnSlice, Origin
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.session_json import document_of, state_of
from napari_promptable.batch.replay import replay_document
from napari_promptable.errors import LabelError, PromptError
from napari_promptable.instances.automatic import AutomaticResult
from napari_promptable.instances.found import FoundObject
from napari_promptable.instances.place import check_place
from napari_promptable.instances.settings import AutomaticSettings
from napari_promptable.masks import PackedMask
from napari_promptable.planes import PlaneAxes
from napari_promptable.prompts import PlanePrompts

SHAPE = (2, 20, 24)
PLANES = PlaneAxes(SHAPE, (1, 2))


@pytest.fixture
def session() -> SegmentationSession:
    """Labels that hold only object 9, on slice 0."""
    labels = np.zeros(SHAPE, np.int32)
    labels[0, :4, :4] = 9
    session = SegmentationSession(PLANES, labels, first_id=10)
    session.labels.policy = OverlapPolicy.REPLACE
    return session


@pytest.fixture
def new() -> NewObjects:
    """Object 10 on both slices, 11 on the first, where it covers part of 9."""
    planes = {(z,): np.zeros(SHAPE[1:], np.int64) for z in range(2)}
    for ids in planes.values():
        ids[10:15, 10:15] = 10
    planes[0,][2:8, 2:8] = 11
    placed = {index: PlacedIds(ids) for index, ids in planes.items()}
    return NewObjects(placed, {(10, (0,)): 0.9, (10, (1,)): 0.5, (11, (0,)): 0.6})


def test_existing_labels_keep_every_pixel_whatever_the_policy(session, new) -> None:
    outcome = commit_new(session, new, {})
    assert outcome.object_ids == (10, 11)
    assert outcome.num_pixels == 25 + 25 + 36 - 4
    labels = session.labels.array
    assert (labels[0, :4, :4] == 9).all()
    assert (labels[0, 4:8, 4:8] == 11).all()
    assert describe_outcome(outcome) == (
        "Objects 10 and 11 found and saved: 82 pixels on 2 slices."
    )


def test_objects_of_a_part_are_written_at_their_place(session) -> None:
    found = [
        FoundObject(
            PackedMask.pack_crop(np.ones((3, 4), bool), (top, 2), (9, 9)), 12, predicted_iou
        )
        for top, predicted_iou in ((1, 0.9), (5, 0.8))
    ]
    place = check_place((9, 9), None, None)
    result = AutomaticResult(tuple(found), AutomaticSettings(min_area=1), place, corner=(6, 8))
    new = NewObjects.of_results({(1,): result}, first_id=20)
    again = NewObjects.from_plain(json.loads(json.dumps(new.to_plain())), PLANES)
    commit_new(session, again, {})
    expected = np.zeros(SHAPE[1:], int)
    expected[7:10, 10:14], expected[11:14, 10:14] = 20, 21
    np.testing.assert_array_equal(session.labels.array[1], expected)
    assert session.records.of(21)[1,].extent == (slice(11, 14), slice(10, 14))
    rejected = result.toggled(np.array([8, 12]))
    assert len(rejected.chosen) == 1
    assert rejected.rejects(np.array([8, 12]))
    assert rejected.toggled(np.array([8.0, 12])).rejected == frozenset()
    assert result.toggled(np.array([2, 3])) is result  # outside the part


def test_one_undo_takes_all_objects_back(session, new) -> None:
    before = session.labels.array.copy()
    commit_new(session, new, {})
    after = session.labels.array.copy()
    outcome = session.undo()
    np.testing.assert_array_equal(session.labels.array, before)
    assert describe_outcome(outcome).startswith("Automatic segmentation undone: 82 pixels")
    assert not session.records.object_ids
    session.redo()
    np.testing.assert_array_equal(session.labels.array, after)


def test_every_object_has_its_confidence_and_is_open_to_doubt(session, new) -> None:
    commit_new(session, new, {})
    records = session.records.of(10)
    assert [records[z,].confidence for z in range(2)] == [0.9, 0.5]
    assert records[0,].origin is Origin.AUTOMATIC
    assert not records[0,].is_doubtful
    assert records[1,].is_doubtful


def test_nothing_to_write_is_no_change(session) -> None:
    outcome = commit_new(session, NewObjects({}, {}), {})
    assert outcome.reason is Reason.EMPTY
    assert not session.history.can_undo
    assert describe_outcome(outcome).startswith("No object was saved")


def test_ids_that_do_not_fit_are_refused_and_nothing_is_written(new) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    session = SegmentationSession(PLANES, labels)
    planes = {(0,): PlacedIds(np.where(new.planes[0,].ids > 0, 300, 0))}
    with pytest.raises(LabelError, match="object id 300"):
        commit_new(session, NewObjects(planes, {(300, (0,)): 0.5}), {})
    assert not labels.any()


def test_new_ids_begin_after_all_others(session) -> None:
    assert first_free_id(session) == 10
    session.prompts.replace({(0,): PlanePrompts([[5, 6]], [1])})
    assert first_free_id(session) == 11


def test_results_are_linked_and_numbered() -> None:
    def result(*boxes) -> AutomaticResult:
        found = [
            FoundObject(
                PackedMask.pack_crop(np.ones((5, 5), bool), (top, left), SHAPE[1:]), 25, iou
            )
            for top, left, iou in boxes
        ]
        settings = AutomaticSettings(min_confidence=0.1)
        return AutomaticResult(tuple(found), settings, check_place(SHAPE[1:], None, None))

    results = {(0,): result((1, 1, 0.8)), (1,): result((10, 10, 0.9), (1, 1, 0.7))}
    new = NewObjects.of_results(results, first_id=4)
    assert (new.planes[0,].ids[1:6, 1:6] == 4).all()
    assert (new.planes[1,].ids[1:6, 1:6] == 4).all()
    assert (new.planes[1,].ids[10:15, 10:15] == 5).all()
    assert new.confidence == pytest.approx({(4, (0,)): 0.8, (4, (1,)): 0.7, (5, (1,)): 0.9})


@pytest.fixture
def gapped() -> NewObjects:
    """Object 4 is missing on the plane between its two others, object 5 only at the end."""
    planes = {(z,): np.zeros(SHAPE[1:], int) for z in range(3)}
    planes[0,][2:6, 2:6], planes[2,][4:8, 4:8] = 4, 4
    planes[0,][2:6, 10:13] = 5
    placed = {index: PlacedIds(ids) for index, ids in planes.items()}
    return NewObjects(placed, {(4, (0,)): 0.9, (4, (2,)): 0.8, (5, (0,)): 0.7})


def result_that_rejects(*rejected: FoundObject) -> AutomaticResult:
    place = check_place(SHAPE[1:], None, None)
    return AutomaticResult(rejected, AutomaticSettings(), place, frozenset(rejected))


def test_a_gap_is_asked_about_halfway_between_its_neighbours(gapped) -> None:
    results = dict.fromkeys(gapped.planes, result_that_rejects())
    [question] = ask_about_gaps(gapped, results)
    assert (question.object_id, question.index) == (4, (1,))
    np.testing.assert_array_equal(question.prompts.boxes_yxyx, [[3, 3, 6, 6]])
    mask = np.zeros(SHAPE[1:], bool)
    mask[3:7, 3:7] = True
    gapped.planes[1,].ids[3, 3] = 9
    answer = PackedAnswer(question, ObjectOnSlice.of_mask(mask, confidence=0.6))
    filled = gapped.with_answers([answer])
    assert filled.confidence[4, (1,)] == 0.6
    assert np.count_nonzero(filled.planes[1,].ids == 4) == 15
    assert filled.planes[1,].ids[3, 3] == 9, "other new objects keep their pixels"
    assert not (gapped.planes[1,].ids == 4).any()


def test_what_the_user_rejected_is_no_gap(gapped) -> None:
    mask = np.zeros(SHAPE[1:], bool)
    mask[3:7, 3:7] = True
    rejected = FoundObject(PackedMask.pack(mask), 16, 0.5)
    results = dict.fromkeys(gapped.planes, result_that_rejects(rejected))
    assert ask_about_gaps(gapped, results) == []


def test_a_saved_session_gives_the_same_labels_by_script(new, fake_segmenter) -> None:
    session = SegmentationSession(PLANES, np.zeros(SHAPE, np.int32))
    commit_new(session, new, AutomaticSettings().to_dict())
    assert session.history.last_done.verb is Verb.AUTOMATIC
    document = document_of(state_of(session), "image", "fake")
    labels = replay_document(lambda _: fake_segmenter, np.zeros(SHAPE), document)
    np.testing.assert_array_equal(labels, session.labels.array)


def test_plain_data_survive_json_and_damage_is_reported(new) -> None:
    plain = json.loads(json.dumps(new.to_plain()))
    again = NewObjects.from_plain(plain, PLANES)
    for index, placed in new.planes.items():
        found, expected = again.planes[index].trimmed(), placed.trimmed()
        assert found.corner == expected.corner
        np.testing.assert_array_equal(found.ids, expected.ids)
    assert again.confidence == new.confidence
    for corner in ([-1, 2], [18, 2], [2]):
        plain[0]["objects"][0]["corner"] = corner
        with pytest.raises(PromptError, match="automatic objects cannot be read"):
            NewObjects.from_plain(plain, PLANES)
    del plain[0]["objects"][0]["corner"]
    with pytest.raises(PromptError, match="automatic objects cannot be read"):
        NewObjects.from_plain(plain, PLANES)
