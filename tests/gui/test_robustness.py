"""What people do at the wrong moment: deleting, renaming, closing, hurrying, cancelling."""

from collections.abc import Callable

import numpy as np
import pytest

from napari_promptable.errors import CheckpointError

pytestmark = pytest.mark.gui


def hold(open_widget: Callable, make_disks: Callable) -> tuple:
    """A user who waits for the answer to a click on the first disk, and the disks."""
    disks = make_disks()
    user = open_widget(disks.image)
    user.model.predict_gate.clear()
    user.model.is_predicting.clear()
    user.click(user.world(*disks.centres[0]), wait=False)
    user.wait_for(user.model.is_predicting.is_set)
    return user, disks


@pytest.fixture
def held_user(open_plugin, make_disks) -> tuple:
    return hold(open_plugin, make_disks)


@pytest.fixture
def held_desk(open_desk, make_disks) -> tuple:
    return hold(open_desk, make_disks)


# layers


def test_renamed_layers_go_on_working(open_desk, make_disks) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    for number, layer in enumerate(list(user.viewer.layers)):
        layer.name = f"renamed {number}"
    user.wait_for(lambda: user.control("image").currentText() == "renamed 0")
    assert user.control("labels").currentText() == "renamed 1"
    user.press("C")
    user.click(user.world(*disks.centres[1]))
    user.press("C")
    np.testing.assert_array_equal(user.labels, disks.truth)
    assert user.layer_names == [f"renamed {number}" for number in range(5)]


@pytest.mark.parametrize("name", ["prompt points", "prompt boxes", "preview", "image objects"])
def test_deleting_a_layer_in_mid_prediction(name, held_desk) -> None:
    user, disks = held_desk
    deleted = user.viewer.layers[name]
    user.viewer.layers.remove(deleted)
    user.process_events()
    user.model.open_gates()
    user.wait_idle()
    assert user.notifications == []
    if name == "prompt points":  # the prompts went with it
        assert not user.preview_mask.any()
        assert not user.control("commit").isEnabled()
    else:
        np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
        user.push("commit")
        np.testing.assert_array_equal(user.labels == 1, disks.mask(0))

    user.push("tool_positive")
    assert sorted(user.layer_names) == [
        "image",
        "image objects",
        "preview",
        "prompt boxes",
        "prompt points",
    ]
    user.click(user.world(*disks.centres[1]))
    user.push("commit")
    np.testing.assert_array_equal(user.labels[disks.mask(1)] > 0, True)
    if name == "image objects":
        assert not deleted.data.any()


def test_deleting_the_image_in_mid_prediction(held_desk, make_disks) -> None:
    user, _ = held_desk
    objects = user.objects
    user.viewer.layers.remove(user.image)
    user.wait_for(lambda: "Open Sample" in user.status)
    user.model.open_gates()
    user.wait_idle()
    assert user.layer_names == ["image objects"]
    assert not objects.data.any()
    assert user.notifications == []

    disks = make_disks((40, 50), [(18, 20)])
    user.image = user.viewer.add_image(disks.image, name="another")
    user.wait_for(lambda: user.session is not None)
    user.viewer.reset_view()
    user.wait_idle()
    user.click(user.world(18, 20))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))


def test_deleting_all_layers_at_once(held_user) -> None:
    user, _ = held_user
    user.viewer.layers.select_all()
    user.viewer.layers.remove_selected()
    user.wait_for(lambda: "Open Sample" in user.status)
    user.model.open_gates()
    user.wait_idle()
    assert user.layer_names == []
    assert user.notifications == []


def test_another_image_takes_over(open_desk, make_disks) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    other = make_disks((50, 50), [(30, 20)])
    second = user.viewer.add_image(other.image, name="second")
    user.wait_for(lambda: user.control("image").findText("second") >= 0)
    assert user.workspace.image is user.image
    user.choose("image", "second")
    assert user.workspace.image is second
    user.image = second
    user.click(user.world(30, 20))
    user.press("C")
    np.testing.assert_array_equal(user.labels, other.truth)
    user.choose("image", "image")
    assert user.objects.data.shape == disks.image.shape
    assert sum(name.startswith("prompt points") for name in user.layer_names) == 1


# hurry


def test_the_newest_prompts_win(held_user) -> None:
    user, disks = held_user
    shown = []
    user.preview.events.labels_update.connect(lambda: shown.append(user.preview_mask.any()))
    user.click(user.world(21, 24), wait=False)
    user.click(user.world(*disks.centres[1]), wait=False)
    assert user.status == "Preparing this slice… your clicks are kept."
    user.model.open_gates()
    user.wait_idle()
    assert [len(question.points_yx) for question in user.model.questions][-1] == 3
    np.testing.assert_array_equal(user.preview_mask, user.session.answers.mask(()).unpack())
    assert user.preview_mask[40, 58]
    assert len(user.session.answers.prediction(()).masks) == 3
    assert shown.count(True) <= 1  # the answer to the first click was never shown


def test_clicks_during_encoding_are_kept(open_desk, make_disks, fake_model) -> None:
    fake_model.encode_gate.clear()
    disks = make_disks()
    user = open_desk(disks.image, is_awaited=False)
    user.wait_for(fake_model.is_encoding.is_set)
    assert user.control("cancel").isEnabled()
    user.click(user.world(*disks.centres[0]), wait=False)
    assert len(user.points.data) == 1
    assert "kept" in user.status
    fake_model.open_gates()
    user.wait_idle()
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    assert not user.control("cancel").isEnabled()


def test_the_progress_bar_moves_while_work_lasts(held_desk) -> None:
    user, _ = held_desk
    progress = user.control("progress")
    user.wait_for(lambda: progress.maximum() == 0)
    user.model.open_gates()
    user.wait_idle()
    assert progress.maximum() == 1


def test_cancelling_the_encoding(open_desk, make_disks, fake_model) -> None:
    fake_model.encode_gate.clear()
    disks = make_disks()
    user = open_desk(disks.image, is_awaited=False)
    user.wait_for(fake_model.is_encoding.is_set)
    user.click(user.world(*disks.centres[0]), wait=False)
    user.push("cancel")
    assert fake_model.num_cancelled == 1
    assert fake_model.planes == []
    assert "Press Segment (S)" in user.status
    assert user.notifications == []
    fake_model.open_gates()
    user.press("S")
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))


def test_leaving_a_slice_drops_nothing(open_desk, make_disks) -> None:
    disks = make_disks((3, 60, 80), [(0, 20, 24), (2, 40, 58)])
    user = open_desk(disks.image)
    user.viewer.dims.set_current_step(0, 0)
    user.wait_idle()
    user.model.predict_gate.clear()
    user.click(user.on_plane(20, 24), wait=False)
    user.viewer.dims.set_current_step(0, 2)
    user.click(user.on_plane(40, 58), wait=False)
    user.model.open_gates()
    user.wait_idle()
    np.testing.assert_array_equal(user.preview_mask, disks.truth > 0)


# closing and opening again


def test_closing_the_dock_while_working(held_user) -> None:
    user, _ = held_user
    objects = user.objects
    user.close_dock()
    assert user.layer_names == ["image", "image objects"]
    user.model.open_gates()
    user.wait_idle()
    user.process_events()
    assert not objects.data.any()
    assert user.notifications == []


def test_closing_the_viewer_while_working(held_user) -> None:
    user, _ = held_user
    scheduler = user.scheduler
    user.viewer.close()
    user.qtbot.waitUntil(lambda: user.widget.controller._is_closed)
    user.model.open_gates()
    user.qtbot.waitUntil(lambda: not scheduler.is_busy)


def test_closing_leaves_the_viewer_as_it_was(open_plugin, make_disks) -> None:
    def bind_own_key(viewer) -> None:
        own = viewer.add_labels(np.zeros((60, 80), int), name="own")
        own.bind_key("C", keep)
        keys.update(viewer.keymap)

    def keep(layer) -> None:
        pass

    disks, keys = make_disks(), {}
    user = open_plugin(disks.image, before=bind_own_key, scale=(2, 2))
    own = user.viewer.layers["own"]
    user.choose("labels", "own")
    ours = {"C", "D", "H", "N", "S", "Shift+C", "T", "Y"}
    ours |= {f"Ctrl+{digit}" for digit in range(10)}  # classes
    assert {str(key) for key in own.keymap} == ours, "M, P and undo stay napari's"
    user.choose("labels", "image objects")
    assert {str(key): action for key, action in own.keymap.items()} == {"C": keep}
    objects, image = user.objects, user.image
    assert {str(key) for key in objects.keymap} == ours
    user.close_dock()
    assert user.layer_names == ["image", "image objects", "own"]
    assert objects.keymap == {}
    assert image.keymap == {}
    assert user.viewer.keymap == keys
    np.testing.assert_array_equal(image.data, disks.image)
    np.testing.assert_array_equal(image.scale, (2, 2))
    assert not user.notifications


def test_opening_again_brings_everything_back(open_desk, make_disks) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    names = user.layer_names
    user.click(user.world(*disks.centres[0]))
    user.press("C")
    user.click(user.world(*disks.centres[1]))
    user.close()
    user.open(is_shown=True)
    assert user.layer_names == names
    assert user.control("object_id").value() == 2
    assert len(user.points.data) == 1
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))
    user.push("commit")
    np.testing.assert_array_equal(user.labels, disks.truth)
    user.push("undo")
    user.push("undo")
    assert not user.labels.any()
    assert len(user.points.data) == 1
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))


def test_clearing_the_layer_list_ends(open_plugin, make_disks) -> None:
    user = open_plugin(make_disks().image)
    user.viewer.layers.clear()
    user.wait_for(lambda: "Open Sample" in user.status)
    assert user.layer_names == []


# errors


def test_a_model_that_cannot_be_loaded(open_plugin, make_disks, monkeypatch) -> None:
    disks = make_disks()
    user = open_plugin(disks.image)

    def fail(*_, **__):
        raise CheckpointError("the weights are damaged")

    with monkeypatch.context() as patch:
        patch.setattr("napari_promptable.predict.load_model.load_model", fail)
        monkeypatch.setattr(
            "napari_promptable.gui.actions.models.needs_download", lambda _: False
        )
        user.choose("model", "Everyday images · ViT-T")
    said = "Everyday images · ViT-T could not be loaded. tiny stays in use."
    [notification] = user.notifications
    assert notification.startswith(said)
    assert user.status.startswith(said)
    user.click(user.world(*disks.centres[0]))
    assert len(user.notifications) == 1  # not once for each click
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))


def test_a_question_that_cannot_be_answered(open_desk, make_disks) -> None:
    """The error of one question is told once, and the next question is answered."""
    from napari_promptable.errors import PromptError

    disks = make_disks()
    user = open_desk(disks.image)
    predict = user.model.predict_many

    def fail(embedding, prompts, multimask_output):
        raise PromptError("no such thing")

    user.model.predict_many = fail
    user.click(user.world(*disks.centres[0]))
    assert user.notifications == ["no such thing"]
    user.model.predict_many = predict
    user.press("N")
    user.click(user.world(*disks.centres[1]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))


def test_an_unexpected_error_is_raised_once_and_blocks_nothing(
    open_desk, make_disks, qtbot
) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    predict = user.model.predict_many

    def fail(embedding, prompts, multimask_output):
        raise MemoryError("a thousand gigabytes")

    user.model.predict_many = fail
    with qtbot.captureExceptions() as raised:
        user.click(user.world(*disks.centres[0]))
    assert [error[0] for error in raised] == [MemoryError]
    assert user.status == "segmenting failed (MemoryError: a thousand gigabytes)"
    user.model.predict_many = predict
    user.press("S")
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))


def test_ids_go_on_above_those_of_the_users_layer(open_desk, make_disks) -> None:
    disks = make_disks()
    own = np.zeros((60, 80), np.int32)
    own[50:55, 5:10] = 41
    user = open_desk(disks.image, before=lambda viewer: viewer.add_labels(own, name="own"))
    user.choose("labels", "own")
    assert user.control("object_id").value() == 42
    user.click(user.world(*disks.centres[0]))
    user.press("C")
    labels = user.viewer.layers["own"].data
    np.testing.assert_array_equal(labels == 42, disks.mask(0))
    assert (labels[50:55, 5:10] == 41).all()
    assert np.count_nonzero(labels == 41) == 25


def test_full_labels_are_refused_and_left_alone(open_desk, make_disks) -> None:
    disks = make_disks()
    own = np.zeros((60, 80), np.uint8)
    own[-4:].flat[:255] = np.arange(1, 256)
    user = open_desk(
        disks.image, before=lambda viewer: viewer.add_labels(own.copy(), name="own")
    )
    user.choose("labels", "own")
    user.click(user.world(*disks.centres[0]))
    user.push("commit")
    [message] = user.notifications
    assert "256" in message
    assert "uint8" in message
    np.testing.assert_array_equal(user.labels, own)
    assert len(user.points.data) == 1  # nothing of the user's is lost
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    user.choose("labels", "new layer")
    assert user.objects is user.viewer.layers["image objects [1]"]
    user.click(user.world(*disks.centres[0]))
    user.push("commit")
    np.testing.assert_array_equal(user.labels == 1, disks.mask(0))
