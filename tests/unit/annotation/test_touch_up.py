"""Correcting objects in the labels: shape, parts and class, each with one undo."""

from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_promptable.annotation.automatic import NewObjects, commit_new
from napari_promptable.annotation.history import TOUCH_UPS, Verb
from napari_promptable.annotation.outcomes import Reason, describe_outcome
from napari_promptable.annotation.patches import OverlapPolicy, PlacedIds, find_extents
from napari_promptable.annotation.records import ObjectOnSlice, Origin
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.session_json import document_of, restore_session, state_of
from napari_promptable.annotation.touch_up import classify_objects, split_object, touch_up
from napari_promptable.batch.answering import answer_open_questions
from napari_promptable.batch.replay import replay_document
from napari_promptable.errors import LabelError, PromptError
from napari_promptable.plane_source import PlaneSource
from napari_promptable.planes import PlaneAxes
from napari_promptable.predict.embeddings import EmbeddingCache
from napari_promptable.prompts import PlanePrompts

SHAPE = (3, 20, 30)
PLANES = PlaneAxes(SHAPE, (1, 2))
ACROSS = [[0, 11], [19, 11]]


def make_session(labels: Any = None, **options: Any) -> SegmentationSession:
    """Object 4 is a square with a hole on slices 0 and 1; 7 stands beside it on slice 0."""
    if labels is None:
        labels = np.zeros(SHAPE, np.uint8)
        labels[:2, 5:15, 8:18] = 4
        labels[:2, 9, 9] = 0
        labels[0, 5:15, 18:20] = 7
    session = SegmentationSession(PLANES, labels, **{"first_id": 8, **options})
    for z in range(SHAPE[0]):
        session.note_plane((z,), find_extents(labels[z]))
    return session


def pixels(session: SegmentationSession) -> np.ndarray:
    return np.array(session.labels.array[:])


@pytest.mark.parametrize("verb", TOUCH_UPS)
@pytest.mark.parametrize("policy", OverlapPolicy)
def test_neighbours_keep_every_pixel_and_one_undo_restores_all(verb, policy) -> None:
    session = make_session()
    session.labels.policy = policy
    before = pixels(session)
    outcome = touch_up(session, verb, [4])
    after = pixels(session)
    assert np.array_equal(after == 7, before == 7)
    assert outcome.num_pixels == np.count_nonzero(after != before)
    assert outcome.has_changed == (verb is not Verb.CLEAN)
    if outcome.has_changed:
        assert outcome.num_slices == 2
        undone = session.undo()
        assert (undone.num_pixels, undone.num_slices) == (outcome.num_pixels, 2)
        assert np.array_equal(pixels(session), before)
        assert session.records.get(4, (0,)).extent == (slice(5, 15), slice(8, 18))
        session.redo()
        assert np.array_equal(pixels(session), after)


def test_records_follow_the_pixels_and_need_no_check() -> None:
    session = make_session()
    touch_up(session, Verb.GROW, [4], [(1,)])
    assert session.records.get(4, (0,)).extent == (slice(5, 15), slice(8, 18))
    grown = session.records.get(4, (1,))
    assert grown.extent == (slice(4, 16), slice(7, 19))
    assert grown.is_checked


def test_objects_grow_into_background_only_one_after_the_other() -> None:
    session = make_session()
    touch_up(session, Verb.GROW, [4, 7], [(0,)])
    labels = pixels(session)[0]
    assert (labels[6:14, 18] == 7).all()
    assert (labels[6:14, 17] == 4).all()
    assert (labels[6:14, 20] == 7).all()


def test_labels_on_disk_are_read_by_region(tmp_path) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=SHAPE, chunks=(1, 10, 10), dtype="u2")
    array[1, 5:15, 8:18] = 4
    session = SegmentationSession(PLANES, array, first_id=5)
    session.note_plane((1,), find_extents(array[1]))
    assert touch_up(session, Verb.SHRINK, [4]).num_pixels == 36
    assert (array[1] == 4).sum() == 64


def test_a_corrected_mask_takes_the_place_of_the_prompts() -> None:
    session = make_session()
    clicks = {(0,): PlanePrompts([[6, 9]], [1]), (2,): PlanePrompts([[1, 1]], [0])}
    session.prompts.assign({4: clicks})
    touch_up(session, Verb.FILL, [4])
    corrected = session.prompts.of(4)[0,]
    assert not len(corrected.points_yx)
    assert np.array_equal(corrected.mask, pixels(session)[0] == 4)
    assert session.prompts.of(4)[2,] == clicks[2,]
    assert session.prompts.current_object == 8
    session.undo()
    assert session.prompts.of(4) == clicks
    assert session.prompts.current_object == 8


def test_a_touch_up_that_changes_nothing_is_not_in_the_history() -> None:
    session = make_session()
    outcome = touch_up(session, Verb.CLEAN, [4])
    assert outcome.reason is Reason.UNCHANGED
    assert describe_outcome(outcome) == "Nothing changed: object 4 has no specks."
    elsewhere = touch_up(session, Verb.FILL, [4, 7], [(2,)])
    assert describe_outcome(elsewhere) == (
        "Nothing changed: objects 4 and 7 are not on this slice."
    )
    assert not session.history.can_undo


def test_outcomes_in_words() -> None:
    session = make_session()
    assert describe_outcome(touch_up(session, Verb.FILL, [4])) == (
        "Object 4 filled: 2 pixels on 2 slices."
    )
    assert describe_outcome(session.undo()) == "Filling undone: 2 pixels on 2 slices."
    assert describe_outcome(split_object(session, 4, ACROSS, (0,))) == (
        "Object 4 split into objects 4 and 9: 78 pixels on 2 slices."
    )
    assert describe_outcome(classify_objects(session, [4, 7], "cell")) == (
        "Objects 4 and 7 now have the class cell."
    )
    assert describe_outcome(session.undo()) == "Change of class undone."
    assert describe_outcome(split_object(session, 7, ACROSS, (0,))) == (
        "Object 7 was not split. Drag the line right across it."
    )


# split


def test_pieces_get_free_ids_and_no_pixel_is_lost() -> None:
    session = make_session()
    before = pixels(session)
    outcome = split_object(session, 4, ACROSS, (0,))
    assert outcome.object_ids == (4, 9)  # 8 is the id of the object that the user begins
    after = pixels(session)
    assert np.array_equal((after == 4) | (after == 9), before == 4)
    assert np.array_equal(after == 7, before == 7)
    assert {i for i, planes in ((i, session.records.of(i)) for i in (4, 9)) if len(planes) == 2}
    assert session.records.get(9, (1,)).origin is Origin.FOUND
    session.undo()
    assert np.array_equal(pixels(session), before)
    assert not session.records.of(9)
    session.redo()
    assert np.array_equal(pixels(session), after)


def test_other_slices_are_divided_at_the_same_place_or_left_alone() -> None:
    session = make_session()
    split_object(session, 4, ACROSS, (0,), [])
    assert 9 not in pixels(session)[1]
    session.undo()
    split_object(session, 4, ACROSS, (0,))
    labels = pixels(session)
    assert np.array_equal(labels[0] == 9, labels[1] == 9)


def test_a_piece_that_does_not_fit_the_labels_is_refused(monkeypatch) -> None:
    session = make_session()
    monkeypatch.setattr(session.prompts, "free_ids", lambda: iter([256]))  # the only one
    before = pixels(session)
    with pytest.raises(LabelError, match="256"):
        split_object(session, 4, ACROSS, (0,))
    assert np.array_equal(pixels(session), before)


def test_an_object_elsewhere_cannot_be_split() -> None:
    with pytest.raises(PromptError, match="object 4 is not on slice 2; draw"):
        split_object(make_session(), 4, ACROSS, (2,))


def test_merged_slices_stay_when_the_object_is_committed_again(fake_segmenter) -> None:
    session = make_session()
    session.prompts.assign({7: {(0,): PlanePrompts([[6, 18]], [1])}})
    anchor = ObjectOnSlice((slice(5, 15), slice(8, 18)), Origin.PROMPTS)
    session.records.update({(4, (1,)): anchor})
    session.merge_objects([4, 7], into=7)
    before = pixels(session)
    session.prompts.replace({(0,): PlanePrompts([[6, 18]], [1])})
    source = PlaneSource(np.full(SHAPE, 0.5), PLANES)
    answer_open_questions(session, fake_segmenter, "fake", source, EmbeddingCache())
    session.commit()
    assert np.array_equal(pixels(session)[1], before[1])


def test_a_merged_mask_takes_the_place_of_the_prompts() -> None:
    session = make_session()
    clicks = {(0,): PlanePrompts([[6, 9]], [1]), (1,): PlanePrompts([[6, 9]], [1])}
    session.prompts.assign({4: clicks})
    session.merge_objects([4, 7], into=4)
    merged = session.prompts.of(4)
    assert np.array_equal(merged[0,].mask, pixels(session)[0] == 4)
    assert merged[1,] == clicks[1,]
    session.undo()
    assert session.prompts.of(4) == clicks


# classes


def commit(session: SegmentationSession, object_id: int, z: int = 2, column: int = 2) -> None:
    mask = np.zeros(SHAPE[1:], bool)
    mask[2:6, column : column + 3] = True
    session.commit_masks({(object_id, (z,)): ObjectOnSlice.of_mask(mask)})


def test_new_objects_take_the_current_class_and_known_ones_keep_theirs() -> None:
    session = make_session()
    session.classes.define("nucleus")
    session.classes.choose("nucleus")
    commit(session, 8)
    commit(session, 4, column=12)  # it is on other slices already
    assert session.records.class_names == {8: "nucleus"}
    session.classes.choose("")
    commit(session, 9, column=20)
    assert session.records.class_names == {8: "nucleus"}
    session.undo()
    session.undo()
    session.undo()
    assert session.records.class_names == {}
    session.redo()
    assert session.records.class_names == {8: "nucleus"}


def test_pieces_keep_the_class_and_deleted_and_merged_objects_lose_it() -> None:
    session = make_session()
    classify_objects(session, [4], "cell")
    classify_objects(session, [7], "debris")
    split_object(session, 4, ACROSS, (0,))
    assert session.records.class_names == {4: "cell", 7: "debris", 9: "cell"}
    session.merge_objects([4, 9], into=4)
    assert session.records.class_names == {4: "cell", 7: "debris"}
    session.delete_objects([7])
    assert session.records.class_names == {4: "cell"}
    session.undo()
    session.undo()
    assert session.records.class_names == {4: "cell", 7: "debris", 9: "cell"}


def test_classes_have_colors_and_can_be_renamed_and_removed() -> None:
    session = make_session()
    classes, changes = session.classes, []
    classes.changed.connect(lambda: changes.append(dict(classes.colors)))
    classes.define(" nucleus ")
    classes.define("cell", "#ABCDEF")
    first, second = classes.colors.values()
    assert list(classes.colors) == ["nucleus", "cell"]
    assert (first != second, second) == (True, "#abcdef")
    classify_objects(session, [4], "cell")
    classes.choose("cell")
    classes.rename("cell", "yeast")
    assert session.records.class_names == {4: "yeast"}
    assert classes.current == "yeast"
    classes.remove("yeast")
    assert session.records.class_names == {}
    assert (classes.current, list(classes.colors)) == ("", ["nucleus"])
    assert changes[-1] == dict(classes.colors)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda classes: classes.define("  "),
        lambda classes: classes.define("cell", "blue"),
        lambda classes: classes.rename("cell", "nucleus"),
        lambda classes: classes.rename("cell", ""),
        lambda classes: classes.choose("yeast"),
    ],
)
def test_wrong_classes_are_refused(wrong) -> None:
    classes = make_session().classes
    classes.define("cell")
    classes.define("nucleus")
    with pytest.raises(LabelError):
        wrong(classes)
    assert list(classes.colors) == ["cell", "nucleus"]


def test_many_classes_have_colors() -> None:
    classes = make_session().classes
    for number in range(30):
        classes.define(f"class {number}")
    assert len(set(list(classes.colors.values())[:9])) == 9


# files


def test_a_file_keeps_classes_and_a_script_repeats_touch_ups() -> None:
    labels = np.zeros(SHAPE, np.uint32)
    session = SegmentationSession(PLANES, labels)
    session.classes.define("cell", "#112233")
    session.classes.choose("cell")
    ring = np.zeros(SHAPE[1:], np.int64)
    ring[5:15, 8:18] = 2
    ring[9, 9] = 0
    commit_new(
        session,
        NewObjects(
            {(0,): PlacedIds(ring), (1,): PlacedIds(ring)},
            dict.fromkeys([(2, (0,)), (2, (1,))], 0.9),
        ),
        {},
    )
    touch_up(session, Verb.FILL, [2], [(0,)])
    outcome = split_object(session, 2, ACROSS, (1,))
    touch_up(session, Verb.GROW, outcome.object_ids)
    classify_objects(session, [outcome.object_ids[1]], "debris")
    document = document_of(state_of(session), "stack", "fake")

    def refuse(_name: str) -> Any:
        raise AssertionError("no model is needed")

    repeated = replay_document(refuse, np.zeros(SHAPE), document)
    assert np.array_equal(repeated, labels)
    opened = SegmentationSession(PLANES, labels.copy())
    restore_session(document, opened)
    assert dict(opened.classes.colors) == dict(session.classes.colors)
    assert opened.classes.current == "cell"
    assert opened.records.class_names == session.records.class_names


@given(
    labels=st.lists(st.integers(0, 3), min_size=80, max_size=80),
    verbs=st.lists(st.sampled_from(TOUCH_UPS), min_size=1, max_size=4),
)
def test_undo_gives_back_every_pixel_whatever_was_done(labels, verbs) -> None:
    planes = PlaneAxes((8, 10), (0, 1))
    array = np.array(labels, np.uint8).reshape(8, 10)
    before = array.copy()
    session = SegmentationSession(planes, array, first_id=4)
    session.note_plane((), find_extents(array))
    for verb in verbs:
        former = array.copy()
        touch_up(session, verb, [1, 2])
        assert np.array_equal(array == 3, former == 3)
        assert set(np.unique(array)) >= set(np.unique(former)) - {0}
        for object_id, extent in find_extents(array).items():
            assert session.records.get(object_id, ()).extent == extent
    while session.history.can_undo:
        session.undo()
    assert np.array_equal(array, before)
