"""Stacks: propagation, review, the list of objects, and what survives closing and crashes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import zarr
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QMessageBox, QPushButton, QTableView

from napari_promptable.errors import CacheError
from napari_promptable.gui.actions import messages
from napari_promptable.gui.panels.next_step import START
from napari_promptable.gui.panels.object_table import ObjectList, ObjectRow
from napari_promptable.gui.saving.autosave import _PLACES
from napari_promptable.propagation.settings import PropagationSettings

pytestmark = pytest.mark.gui

SHAPE = (7, 60, 80)
CENTRES = ((20, 24), (40, 58), (20, 58))
SLICES = {0: range(1, 6), 1: range(7), 2: range(2, 5)}


@pytest.fixture
def columns(make_disks):
    """Stack in which three disks go through some of the slices."""
    return make_disks(
        SHAPE,
        [(z, *CENTRES[number]) for number, slices in SLICES.items() for z in slices],
    )


def column_mask(columns, number: int) -> np.ndarray:
    """Where one of the three is."""
    row, column = CENTRES[number]
    mask = columns.truth > 0
    near = np.hypot(*np.meshgrid(np.arange(60) - row, np.arange(80) - column, indexing="ij"))
    return mask & (near < 10)


def click_disk(user, number: int) -> None:
    user.push("tool_positive")
    user.click(user.on_plane(*CENTRES[number]))


def changes_of(before: np.ndarray, after: np.ndarray) -> str:
    """How a message counts what changed."""
    is_changed = before != after
    num_slices = int(is_changed.any(axis=(1, 2)).sum())
    return f"{is_changed.sum():,} pixels on {num_slices} slices"


def propagate_in_part(user, num_free: int = 3) -> None:
    """Begin to propagate, and hold the model up after some slices, the prompted one first."""
    user.model.num_free = num_free
    user.model.predict_gate.clear()
    user.push("propagate", wait=False)
    user.wait_for(lambda: user.model.num_free == 0)


def cancel_in_part(user) -> None:
    """Cancel a propagation after three slices, so that it can be kept or discarded."""
    propagate_in_part(user)
    user.push("cancel", wait=False)
    user.model.open_gates()
    user.wait_for(lambda: user.control("keep_propagated").isVisible())


def rows(user) -> list[tuple[int, str]]:
    """Id and slices of the objects in the list."""
    user.wait_idle()
    user.process_events()  # the list is filled after events
    model = user.control("object_list").model()
    return [(row.object_id, row.slices) for row in model.rows]


def choose_rows(user, *numbers: int) -> None:
    user.control("objects_fold").setChecked(True)
    table = user.control("object_list")
    for count, number in enumerate(numbers):
        place = table.visualRect(
            table.model().index(number, 2)
        ).center()  # "class" may be hidden
        key = Qt.KeyboardModifier.ControlModifier if count else Qt.KeyboardModifier.NoModifier
        user.qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, key, pos=place)
    user.wait_idle()


def open_stack(open_desk, columns, position: int = 3):
    user = open_desk(columns.image)
    user.viewer.dims.set_current_step(0, position)
    user.wait_idle()
    return user


def test_three_objects_go_through_a_stack(open_desk, columns, tmp_path, monkeypatch) -> None:
    """Label, propagate, correct, undo and redo, save, close, reopen."""
    user = open_stack(open_desk, columns)
    for number in range(3):
        click_disk(user, number)
        user.propagate()
        assert np.array_equal(user.labels == number + 1, column_mask(columns, number))
        user.press("N")
    assert rows(user) == [(1, "1–5"), (2, "0–6"), (3, "2–4")]
    before = user.labels

    choose_rows(user, 0)
    user.choose_object(1)
    user.viewer.dims.set_current_step(0, 5)
    user.wait_idle()
    user.push("tool_negative")
    user.click(user.on_plane(20, 24))
    assert user.session.prompts.of(1)[5,].mask is not None
    encoded = len(user.model.questions)
    user.propagate()
    assert len(user.model.questions) - encoded < 12, "only the gaps beside slice 5"
    after = user.labels
    assert not np.array_equal(after[4:], before[4:])
    assert np.array_equal(after[:3], before[:3])
    assert np.array_equal(after > 1, before > 1)

    user.push("undo")
    assert np.array_equal(user.labels, before)
    user.push("redo")
    assert np.array_equal(user.labels, after)

    path = tmp_path / "prompts.json"
    monkeypatch.setattr(
        "napari_promptable.gui.panels.current_object.QFileDialog.getSaveFileName",
        lambda *_: (str(path), ""),
    )
    user.push("save_prompts")
    assert [one["id"] for one in json.loads(path.read_text())["objects"]] == [1, 2, 3]

    user.close()
    user.open(is_shown=True)
    assert [object_id for object_id, _ in rows(user)] == [1, 2, 3]
    user.push("undo")
    assert np.array_equal(user.labels, before)


def test_propagation_shows_slices_as_they_come_and_can_be_kept(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 1)
    cancel_in_part(user)
    assert not user.labels.any()
    user.push("keep_propagated")
    assert not user.control("keep_propagated").isVisible()
    kept = user.labels
    assert np.array_equal(kept[3] == 1, column_mask(columns, 1)[3])
    user.push("undo")
    assert not user.labels.any()


def test_what_was_cancelled_can_be_completed(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 1)
    propagate_in_part(user)
    user.push("cancel", wait=False)
    user.model.open_gates()
    user.push("keep_propagated")
    user.propagate()
    assert np.array_equal(user.labels == 1, column_mask(columns, 1))


def agree_to_download(user) -> None:
    """Press the button of the question about a model that is not on disk."""
    [question] = user.widget.findChildren(QMessageBox, "download_question")
    [button] = [b for b in question.findChildren(QPushButton) if "Download" in b.text()]
    user.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_another_model_ends_a_propagation(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 1)
    propagate_in_part(user)
    box = user.control("model")
    box.setCurrentIndex(1)
    agree_to_download(user)
    user.wait_for(lambda: not user.scheduler.propagation.is_running)
    user.model.open_gates()
    user.wait_for(lambda: user.control("keep_propagated").isVisible())
    user.push("discard_propagated")
    assert not user.labels.any()
    assert not user.session.history.can_undo


def test_prompts_made_during_a_propagation_are_for_the_next_one(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 1)
    propagate_in_part(user)
    user.viewer.dims.set_current_step(0, 6)
    user.click(user.on_plane(*CENTRES[1]), wait=False)
    user.model.open_gates()
    user.wait_propagated()
    [change] = user.session.history.changes
    assert list(change.asked[1]) == [(3,)]
    for _ in range(2):  # a smaller candidate, so that the propagation changes pixels
        user.press("M")
    user.propagate()
    assert sorted(user.session.history.changes[-1].asked[1]) == [(3,), (6,)]


def test_a_cancelled_propagation_can_be_discarded(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 1)
    cancel_in_part(user)
    user.push("discard_propagated")
    assert not user.labels.any()
    assert np.array_equal(user.preview_mask[3], column_mask(columns, 1)[3])
    assert not user.preview_mask[2].any()
    assert not user.session.history.can_undo


@pytest.mark.parametrize(
    ("num_done", "text"),
    [
        (3, "The propagation ended early: 3 finished slices were not saved. Propagate again."),
        (0, "The propagation ended before it finished a slice. Propagate again."),
    ],
)
def test_a_propagation_that_ends_with_its_labels_says_so(
    open_desk, columns, num_done: int, text: str
) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 1)
    propagate_in_part(user, num_done)
    run = user.widget.controller.volume_actions._run
    user.wait_for(lambda: run.num_slices == num_done)
    user.viewer.layers.remove(user.objects)
    user.model.open_gates()
    user.wait_idle()
    user.process_events()
    assert user.status == text
    assert not user.labels.any()
    user.propagate()
    assert np.array_equal(user.labels == 1, column_mask(columns, 1))


def test_all_objects_at_once(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    for number in range(3):
        click_disk(user, number)
        user.press("N")
    user.control("propagate_all").setChecked(True)
    user.propagate()
    for number in range(3):
        assert np.array_equal(user.labels == number + 1, column_mask(columns, number))
    assert len(user.session.history.changes) == 1


def test_a_propagation_says_how_much_it_changed(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 0)
    user.propagate()
    before = user.labels
    assert changes_of(np.zeros(SHAPE), before) in user.status
    show_slice(user, 2)
    user.push("tool_positive")
    user.click(user.on_plane(*CENTRES[2]))  # this slice and the ones before it change
    user.propagate()
    assert changes_of(before, user.labels) in user.status


def test_range_and_direction(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 1)
    user.control("last_slice").setValue(5)
    box = user.control("direction")
    box.setCurrentIndex(box.findData("forward"))
    user.propagate()
    assert rows(user) == [(1, "3–5")]


def test_without_prompts_nothing_is_propagated(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    user.propagate()
    assert "Click the object on one slice first" in user.status
    click_disk(user, 0)
    user.propagate()
    user.propagate()
    assert "Nothing has changed" in user.status
    assert len(user.session.history.changes) == 1


def test_doubtful_slices_are_visited_in_order(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 0)
    user.propagate()
    reviews = user.widget.controller.volume_actions.review.slices()
    doubtful = [z for z, review in reviews.items() if review.is_doubtful]
    user.push("next_doubtful")
    if doubtful:
        assert user.index()[0] in doubtful
        assert f"Slice {user.index()[0]}" in user.status
    else:
        assert "No slice of this object is doubtful" in user.status


def show_slice(user, position: int) -> None:
    user.viewer.dims.set_current_step(0, position)
    user.wait_idle()


def propagate_doubtfully(user, columns) -> list[int]:
    """Propagate object 1 from slice 3, and make the slices 1, 4 and 5 doubtful."""
    click_disk(user, 0)
    user.propagate()
    records = user.session.records
    for z, confidence in ((1, 0.3), (2, 0.9), (4, 0.2), (5, 0.4)):
        record = replace(records.get(1, (z,)), confidence=confidence, stop="")
        records.update({(1, (z,)): record})
    return [4, 1, 5]


def test_each_doubtful_slice_is_visited_once(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    doubtful = propagate_doubtfully(user, columns)
    seen = []
    for _ in doubtful:
        user.press("D")
        seen.append(user.index()[0])
    assert seen == doubtful
    user.press("D")
    assert user.index() == (5,), "all were seen"
    assert "seen all doubtful slices (3 not accepted)" in user.status
    user.press("D")
    assert user.index() == (4,)


@pytest.mark.parametrize("by_key", [True, False])
def test_a_slice_that_looks_right_is_not_doubtful(open_desk, columns, by_key: bool) -> None:
    user = open_stack(open_desk, columns)
    propagate_doubtfully(user, columns)
    before = user.labels
    user.press("D")
    for expected in (1, 5):
        user.press("Y") if by_key else user.push("looks_right")
        assert user.index() == (expected,)
    user.press("Y")
    assert "No slice of this object is doubtful" in user.status
    assert np.array_equal(user.labels, before)


@pytest.mark.parametrize("by_key", [True, False])
def test_an_object_is_not_on_a_slice(open_desk, columns, by_key: bool) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 0)
    user.propagate()
    before = user.labels
    show_slice(user, 4)
    user.press("H") if by_key else user.push("not_here")
    assert np.array_equal(user.labels[:4], before[:4])
    assert not user.labels[4:].any()
    assert "2 slices" in user.status
    assert user.points.features["label"].tolist() == ["positive", "negative"]
    user.propagate()
    assert not user.labels[4:].any(), "propagation ends there"
    user.push("undo")
    assert np.array_equal(user.labels, before)
    assert user.points.features["label"].tolist() == ["positive"]


def test_an_unfinished_propagation_is_decided_on_before_not_here(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 0)
    cancel_in_part(user)
    before = dict(user.session.prompts.of_current)
    user.widget.controller.volume_actions.review.not_here()
    assert user.status.startswith("Another propagation is not finished.")
    assert user.session.prompts.of_current == before
    user.push("discard_propagated")
    user.push("not_here")
    assert user.session.prompts.of_current[3,].says_absent


def test_a_negative_click_alone_says_that_the_object_is_absent(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 0)
    show_slice(user, 5)
    user.push("tool_negative")
    user.click(user.on_plane(*CENTRES[0]))
    assert user.status.startswith("Not on this slice")
    assert not user.preview_mask[5].any()
    user.propagate()
    assert user.labels[1:5].any(axis=(1, 2)).all()
    assert not user.labels[5:].any()


def test_a_click_on_the_strip_goes_to_the_slice(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    strip = user.control("confidence_strip")
    click_disk(user, 1)
    assert not strip.isVisible(), "nothing was propagated yet"
    user.propagate()
    assert strip.isVisible()
    x = int(strip.width() * 5.5 / SHAPE[0])
    user.qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=QPoint(x, 9))
    user.wait_idle()
    assert user.index() == (5,)


def test_a_flat_image_has_no_volume_controls(open_desk, make_disks) -> None:
    user = open_desk(make_disks().image)
    assert not user.control("propagate").isVisible()
    for key in "DYH":
        user.press("N")
        assert user.status == START
        user.press(key)
        assert user.status == messages.NO_SLICES


# objects


def test_the_list_follows_the_layer(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 0)
    user.press("C")
    assert rows(user) == [(1, "3")]
    user.objects.data_setitem((np.array([3, 3]), np.array([50, 51]), np.array([5, 5])), 7)
    user.scheduler.wake()
    user.wait_for(lambda: rows(user) == [(1, "3"), (7, "3")])
    user.objects.undo()
    user.scheduler.wake()
    user.wait_for(lambda: rows(user) == [(1, "3")])


def test_objects_are_deleted_and_merged(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    for number in range(3):
        click_disk(user, number)
        user.press("C")
    before = user.labels
    choose_rows(user, 1)
    user.push("delete_objects")
    assert rows(user) == [(1, "3"), (3, "3")]
    choose_rows(user, 0, 1)
    user.push("merge_objects")
    assert rows(user) == [(1, "3")]
    assert np.array_equal(user.labels > 0, (before > 0) & (before != 2))
    user.push("undo")
    user.push("undo")
    assert np.array_equal(user.labels, before)


def test_an_object_gets_another_id_and_a_class(open_desk, columns, monkeypatch) -> None:
    user = open_stack(open_desk, columns)
    for number in range(2):
        click_disk(user, number)
        user.press("C")
    dialog = "napari_promptable.gui.panels.object_table.QInputDialog"
    monkeypatch.setattr(f"{dialog}.getInt", lambda *_: (2, True))
    choose_rows(user, 0)
    user.push("relabel")
    assert any(
        "id 2 is in use" in text or "object 2 has" in text for text in user.notifications
    )
    monkeypatch.setattr(f"{dialog}.getInt", lambda *_: (7, True))
    user.push("relabel")
    assert rows(user) == [(2, "3"), (7, "3")]
    monkeypatch.setattr(f"{dialog}.getItem", lambda *_: ("nucleus", True))
    choose_rows(user, 1)
    user.push("rename_class")
    rows(user)
    assert user.control("object_list").model().rows[1].class_name == "nucleus"
    user.push("undo")
    rows(user)
    assert user.control("object_list").model().rows[1].class_name == ""
    user.push("undo")
    assert [object_id for object_id, _ in rows(user)] == [1, 2]


def test_a_commit_leaves_the_other_rows_of_the_list_alone(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    for number in (0, 1):
        click_disk(user, number)
        user.press("C")
    assert rows(user) == [(1, "3"), (2, "3")]
    choose_rows(user, 0)
    model, calls = user.control("object_list").model(), []
    model.modelReset.connect(lambda: calls.append("all"))
    model.rowsInserted.connect(lambda _, first, last: calls.append((first, last)))
    click_disk(user, 2)
    user.press("C")
    assert rows(user) == [(1, "3"), (2, "3"), (3, "3")]
    assert calls == [(2, 2)]
    assert user.widget.controller.panel.objects.selected == [], "a click ends the selection"
    user.widget.controller.object_actions.delete([1])
    assert rows(user) == [(2, "3"), (3, "3")]
    assert calls == [(2, 2)]


def test_the_list_holds_thousands_of_objects(qtbot) -> None:
    objects = ObjectList(lambda _: QColor())
    qtbot.addWidget(objects)
    objects.update_rows({i: ObjectRow(i, "", "", 0.5) for i in range(2000, 0, -1)})
    ids = [row.object_id for row in objects.findChild(QTableView).model().rows]
    assert ids == list(range(1, 2001))
    objects.select([7, 9])
    changes = dict.fromkeys(range(8, 2001))
    objects.update_rows(changes)
    assert objects.selected == [7]


def test_a_click_in_the_list_goes_to_the_object(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 0)
    user.press("C")
    user.viewer.dims.set_current_step(0, 0)
    assert rows(user) == [(1, "3")]
    choose_rows(user, 0)
    assert user.index() == (3,)


def test_an_object_is_hidden_and_shown(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    for number in range(2):
        click_disk(user, number)
        user.press("C")
    former = user.objects.colormap
    view = user.widget.controller.object_view
    view.set_visible(1, False)
    assert user.objects.get_color(1)[3] == 0
    assert np.allclose(user.objects.get_color(2), former.map(2))
    view.set_visible(1, True)
    assert user.objects.colormap is former


def test_any_object_is_picked_and_refined(open_plugin, columns) -> None:
    user = open_plugin(columns.image)
    show_slice(user, 3)
    user.objects.data[3, 30:40, 30:40] = 5
    user.objects.refresh()
    user.qtbot.mouseMove(user.canvas, user.pixel(user.on_plane(34, 34)))
    user.wait_for(lambda: user.widget.controller._pointer.place() is not None)
    user.press("P")
    assert user.session.prompts.current_object == 5
    assert np.array_equal(user.preview_mask[3], user.labels[3] == 5)
    assert "Object 5" in user.status


def test_the_policy_is_the_users(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    user.objects.data[3, :, :24] = 9
    user.objects.refresh()
    box = user.control("overlap")
    box.setCurrentIndex(box.findData("replace"))
    box.activated.emit(box.currentIndex())
    user.choose_object(1)
    click_disk(user, 0)
    user.press("C")
    assert np.array_equal(user.labels[3] == 1, column_mask(columns, 0)[3])


def test_labels_on_disk_are_looked_through_before_anything_is_written(
    open_desk, columns, tmp_path
) -> None:
    labels = zarr.create_array(
        tmp_path / "labels.zarr", shape=SHAPE, chunks=(1, *SHAPE[1:]), dtype="uint16"
    )
    labels[6, 50:, 70:] = 1

    user = open_desk(columns.image, lambda viewer: viewer.add_labels(labels, name="on disk"))
    user.choose("labels", "on disk")
    user.wait_for(lambda: user.workspace.job.num_unread_labels == 0)
    user.viewer.dims.set_current_step(0, 3)
    user.wait_idle()
    assert user.session.prompts.current_object == 2
    click_disk(user, 1)
    user.propagate()
    assert np.array_equal(labels[:] == 2, column_mask(columns, 1))
    assert (labels[6, 50:, 70:] == 1).all()
    user.push("undo")
    assert set(np.unique(labels[:])) == {0, 1}


# what survives


def test_a_session_survives_a_crash(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 1)
    user.propagate()
    user.press("N")
    click_disk(user, 0)
    user.press("C")
    before = user.labels
    user.widget.controller.autosave.save_now()
    user.viewer.layers.remove(user.objects)  # as good as a crash: the session goes with it
    user.wait_for(lambda: user.session is not None and not user.labels.any())
    user.wait_for(lambda: user.control("restore_session").isVisible())
    user.push("restore_session")
    assert np.array_equal(user.labels, before)
    assert rows(user) == [(1, "0–6"), (2, "3")]
    assert not user.control("restore_session").isVisible()
    user.choose_object(1)
    assert len(user.points.data) == 1


def test_a_save_that_fails_is_told_once_and_made_up_for(
    open_desk, columns, monkeypatch
) -> None:
    user = open_stack(open_desk, columns)
    autosave = user.widget.controller.autosave

    def fail(*_: object) -> None:
        raise CacheError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("napari_promptable.gui.saving.autosave.SessionFolder.save", fail)
        for number in range(2):
            click_disk(user, number)
            user.press("C")
            autosave.save_now()
    assert user.notifications.count("the disk is full") == 1
    user.viewer.dims.set_current_step(0, 4)
    user.wait_idle()
    click_disk(user, 1)
    user.press("C")
    autosave.save_now()
    [saved] = _PLACES[user.session].shelf.find_sessions()
    assert saved.num_objects == 3
    assert {block.index for block, _ in saved.folder.read_blocks()} == {(3,), (4,)}


def test_saving_now_does_not_rely_on_a_thread(open_desk, columns, monkeypatch) -> None:
    """The thread of the last save may not have begun when napari is closed."""
    monkeypatch.setattr("napari_promptable.gui.saving.autosave.call_in_thread", lambda *_: None)
    user = open_stack(open_desk, columns)
    autosave = user.widget.controller.autosave
    click_disk(user, 1)
    user.wait_for(lambda: autosave._running is not None)
    user.press("C")
    shelf = _PLACES[user.session].shelf
    assert shelf.find_sessions() == []
    autosave.save_now()
    [saved] = shelf.find_sessions()
    assert saved.num_objects == 1
    assert [block.index for block, _ in saved.folder.read_blocks()] == [(3,)]


def test_a_saved_session_can_be_discarded(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    click_disk(user, 1)
    user.press("C")
    user.widget.controller.autosave.save_now()
    user.viewer.layers.remove(user.objects)
    user.wait_for(lambda: user.control("restore_session").isVisible())
    user.push("discard_session")
    user.wait_for(lambda: not user.control("restore_session").isVisible())
    found = []
    user.widget.controller.recovery.look()
    user.widget.controller.autosave.find_session(found.append)
    user.wait_for(lambda: bool(found))
    assert found == [None]
    assert not user.control("restore_session").isVisible()


# encoding ahead


def with_differences(columns):
    """The stack with a pixel that tells its slices apart; equal ones are encoded once."""
    image = columns.image.copy()
    image[:, 0, 0] = np.linspace(0.1, 0.6, len(image))
    return replace(columns, image=image)


def test_all_slices_are_encoded_once_and_for_all(open_desk, columns, tmp_path) -> None:
    user = open_stack(open_desk, with_differences(columns))
    user.push("encoding_fold")
    user.push("encode_all", wait=False)
    user.wait_for(lambda: len(user.model.planes) == SHAPE[0])
    user.wait_idle()
    assert user.control("keep_embeddings").isChecked()
    user.close()
    user.open(is_shown=True)  # with nothing in memory
    user.control("keep_embeddings").setChecked(True)
    user.viewer.dims.set_current_step(0, 6)
    user.wait_idle()
    click_disk(user, 1)
    assert user.preview_mask[6].any()
    user.press("C")
    assert len(user.model.planes) <= SHAPE[0] + 3  # encoded after reopening, in memory only


def test_encoding_all_can_be_cancelled_and_resumed(open_desk, columns) -> None:
    user = open_stack(open_desk, with_differences(columns))
    known = len(user.model.planes)
    user.model.encode_gate.clear()
    user.push("encoding_fold")
    user.push("encode_all", wait=False)
    user.wait_for(lambda: user.scheduler.is_busy)
    user.push("cancel", wait=False)
    user.wait_idle()
    assert len(user.model.planes) == known
    user.model.open_gates()
    user.push("encode_all", wait=False)
    user.wait_for(lambda: len(user.model.planes) == SHAPE[0])


def test_a_scheduler_that_is_not_there_is_named(open_desk, columns, monkeypatch) -> None:
    monkeypatch.setattr("napari_promptable.predict.scheduler._CONNECT_S", 0.2)
    user = open_stack(open_desk, columns)
    field = user.control("scheduler")
    field.setText("tcp://127.0.0.1:1")
    field.editingFinished.emit()
    user.wait_for(lambda: any("there is no scheduler" in text for text in user.notifications))
    user.wait_idle()
    click_disk(user, 0)
    assert user.preview_mask[3].any(), "encoded here instead"


def test_the_panel_begins_with_the_measured_settings(open_desk, columns) -> None:
    user = open_stack(open_desk, columns)
    chosen = user.widget.controller.panel.volume.settings()
    assert chosen == PropagationSettings(first=0, last=SHAPE[0] - 1)
    user.control("lost_iou").setValue(0.45)
    split = user.control("split")
    split.setCurrentIndex(split.findData("largest"))
    chosen = user.widget.controller.panel.volume.settings()
    assert (chosen.lost_iou, chosen.split) == (0.45, "largest")
