"""Finding all objects in the window: look, choose by thresholds, reject, commit, review."""

from collections.abc import Callable

import numpy as np
import pytest

from napari_promptable.annotation.history import Verb
from napari_promptable.gui.layers import labels_array
from napari_promptable.gui.layers.adapters import camera_of
from napari_promptable.instances import automatic as instances_automatic
from napari_promptable.instances.found import FoundObject
from napari_promptable.masks import PackedMask

pytestmark = pytest.mark.gui

CONFIDENCE = (0.95, 0.9)


@pytest.fixture
def find_disks(monkeypatch) -> Callable[..., None]:
    """Let the search find the bright disks of a plane, with these confidences in order."""

    def prepare(truth: np.ndarray, confidence=CONFIDENCE) -> None:
        def find_each(model, rgb, settings, place, progress):
            progress(1, 2)
            plane = truth if truth.ndim == 2 else truth[np.argmax(truth.any(axis=(1, 2)))]
            for number, value in enumerate(confidence, start=1):
                mask = (plane == number) & (rgb[..., 0] > 127)
                yield FoundObject(PackedMask.pack(mask), int(mask.sum()), value)

        monkeypatch.setattr("napari_promptable.instances.automatic.find_each", find_each)

    return prepare


@pytest.fixture
def show_controls(make_disks, find_disks):
    """Function that opens two disks, and the controls for everything."""

    def show(open_image):
        disks = make_disks()
        find_disks(disks.truth)
        user = open_image(disks.image)
        user.disks = disks
        user.push("auto")
        return user

    return show


@pytest.fixture
def user(open_desk, show_controls):
    return show_controls(open_desk)


@pytest.fixture
def window_user(open_plugin, show_controls):
    return show_controls(open_plugin)


def test_the_controls_take_the_place_of_the_single_object(user) -> None:
    assert user.control("auto_find").isVisible()
    assert not user.control("commit").isVisible()
    user.push("auto_close")
    assert user.control("commit").isVisible()
    assert not user.control("auto_find").isVisible()


def test_all_objects_become_labels_by_one_change(user) -> None:
    user.push("auto_find")
    assert user.control("auto_count").text() == "2 objects here"
    np.testing.assert_array_equal(user.preview_mask, user.disks.truth > 0)
    assert not user.labels.any()
    user.push("auto_commit")
    np.testing.assert_array_equal(user.labels, user.disks.truth)
    assert not user.preview_mask.any()
    assert user.status.startswith("Objects 1 and 2 found and saved")
    assert user.session.history.last_done.verb is Verb.AUTOMATIC
    user.push("auto_close")
    user.push("undo")
    assert not user.labels.any()


def test_thresholds_act_at_once(user) -> None:
    user.push("auto_find")
    user.control("auto_confidence").setValue(0.93)
    np.testing.assert_array_equal(user.preview_mask, user.disks.mask(0))
    assert user.control("auto_count").text() == "1 object here"
    user.control("auto_confidence").setValue(0.5)
    assert user.control("auto_count").text() == "2 objects here"


def test_a_key_rejects_the_object_under_the_pointer_and_takes_it_back(window_user) -> None:
    user = window_user
    user.push("auto_find")
    user.qtbot.mouseMove(user.canvas, user.pixel(user.world(*user.disks.centres[0])))
    user.process_events()
    user.press("X")
    assert user.control("auto_count").text() == "1 object here, 1 rejected"
    np.testing.assert_array_equal(user.preview_mask, user.disks.mask(1))
    user.press("X")
    assert user.control("auto_count").text() == "2 objects here"


def test_existing_labels_stay(user) -> None:
    row, column = user.disks.centres[0]
    user.objects.data[row - 6 : row + 7, column - 6 : column + 7] = 7
    user.objects.refresh()
    user.push("auto_find")
    user.push("auto_commit")
    assert (user.labels[user.disks.mask(0)] == 7).all()
    assert (user.labels[user.disks.mask(1)] == 8).all()


def test_only_inside_the_selected_shape(user) -> None:
    user.choose("auto_where", "Selected")
    user.push("auto_find")
    assert user.status.startswith("Select a shape first")
    row, column = user.disks.centres[1]
    low, high = (row - 8, column - 8), (row + 8, column + 8)
    outline = [low, (low[0], high[1]), high, (high[0], low[1])]
    shapes = user.viewer.add_shapes([outline], shape_type="polygon")
    shapes.selected_data = {0}
    user.push("auto_find")
    np.testing.assert_array_equal(user.preview_mask, user.disks.mask(1))


def test_only_in_the_visible_field(window_user) -> None:
    user = window_user
    row, column = user.disks.centres[0]
    user.choose("auto_where", "Visible")
    camera_of(user.viewer).center = (0, row, column)
    camera_of(user.viewer).zoom *= 4
    user.process_events()
    user.push("auto_find")
    np.testing.assert_array_equal(user.preview_mask, user.disks.mask(0))


@pytest.mark.parametrize("is_pyramid", [False, True])
def test_a_part_of_a_large_slice_is_searched(
    is_pyramid, open_desk, make_disks, monkeypatch
) -> None:
    shown: list[tuple[int, ...]] = []

    def find_each(model, rgb, settings, place, progress):
        shown.append(rgb.shape)
        mask = (rgb[..., 0] > 127) & place.region
        yield FoundObject(PackedMask.pack(mask), int(mask.sum()), 0.9)

    monkeypatch.setattr("napari_promptable.instances.automatic.find_each", find_each)
    monkeypatch.setattr("napari_promptable.gui.work.automatic.MAX_PIXELS", 2000)
    monkeypatch.setattr("napari_promptable.gui.work.automatic.MARGIN", 3)
    if is_pyramid:
        monkeypatch.setattr(labels_array, "_MAX_SHOWN_SIDE", 50)
        monkeypatch.setattr(labels_array, "_LEAST_SIDE", 20)
    disks = make_disks()
    levels = [disks.image, disks.image[::2, ::2]]
    user = open_desk(levels if is_pyramid else disks.image, multiscale=is_pyramid)
    user.push("auto")
    user.push("auto_find")
    assert "slice has 60 × 80 pixels, and up to 2,000 can be" in user.notifications[-1]
    row, column = disks.centres[1]
    low, high = (row - 10, column - 12), (row + 10, column + 12)
    outline = [low, (low[0], high[1]), high, (high[0], low[1])]
    user.viewer.add_shapes([outline], shape_type="polygon").selected_data = {0}
    user.control("auto_where").setCurrentText("Selected shapes")
    user.push("auto_find")
    assert shown == [(27, 31, 3)]  # the columns end with the image
    assert (shown[0][0], shown[0][1]) < disks.image.shape
    user.push("auto_commit")
    labels = user.objects.data[0] if is_pyramid else user.objects.data
    np.testing.assert_array_equal(np.asarray(labels) == 1, disks.mask(1))
    user.push("undo")
    assert not np.asarray(labels).any()


def test_discarding_leaves_nothing(user) -> None:
    user.push("auto_find")
    user.push("auto_discard")
    assert not user.preview_mask.any()
    assert not user.control("auto_commit").isEnabled()
    assert not user.session.history.can_undo


def test_objects_that_go_with_their_labels_are_told(user) -> None:
    user.push("auto_find")
    user.viewer.layers.remove(user.objects)
    user.wait_idle()
    user.process_events()
    assert user.status == "2 found objects were not saved. Find them again."
    assert not user.control("auto_commit").isEnabled()


def test_doubtful_objects_are_reviewed_the_least_certain_first(user, find_disks) -> None:
    find_disks(user.disks.truth, (0.6, 0.55))
    user.control("auto_confidence").setValue(0.3)
    user.push("auto_find")
    user.push("auto_commit")
    assert user.status.endswith("2 outlines need a check (D).")
    user.press("D")
    assert user.session.prompts.current_object == 2
    assert user.status.startswith("Object 2, confidence 0.55")
    user.press("Y")
    assert user.session.prompts.current_object == 1
    user.press("X")
    assert user.status == "No automatic object is doubtful any more."
    assert set(np.unique(user.labels)) == {0, 2}


def test_all_slices_of_a_stack_are_linked(open_desk, make_disks, find_disks) -> None:
    disks = make_disks((3, 60, 80), [(1, 20, 24), (1, 40, 58)])
    image = np.where(disks.truth.any(axis=0), 1.0, 0.1)[None].repeat(3, axis=0)
    image[2, :, :40] = 0.1
    find_disks(disks.truth)
    user = open_desk(image)
    user.push("auto")
    user.choose("auto_where", "All slices")
    user.push("auto_find")
    user.push("auto_commit")
    for z in range(3):
        assert (user.labels[z][disks.truth[1] == 2] == 2).all()
    assert (user.labels[:2, disks.truth[1] == 1] == 1).all()
    assert not (user.labels[2] == 1).any()


def test_an_object_missed_on_one_slice_is_found_from_its_neighbours(
    open_desk, make_disks, find_disks, monkeypatch
) -> None:
    disks = make_disks((3, 60, 80), [(1, 20, 24), (1, 40, 58)])
    image = np.where(disks.truth.any(axis=0), 1.0, 0.1)[None].repeat(3, axis=0)
    find_disks(disks.truth)
    find_all, calls = instances_automatic.find_each, []

    def miss_one(*arguments):
        calls.append(1)
        found = list(find_all(*arguments))
        yield from found[1:] if len(calls) == 2 else found

    monkeypatch.setattr(instances_automatic, "find_each", miss_one)
    user = open_desk(image)
    user.push("auto")
    user.choose("auto_where", "All slices")
    user.push("auto_find")
    user.push("auto_commit")
    disk = disks.truth[1] == 1
    object_id = user.labels[0][disk][0]
    assert (user.labels[:, disk] == object_id).all()
    assert len(user.session.history.changes) == 1


def test_a_click_is_answered_while_objects_are_looked_for(user, monkeypatch) -> None:
    waiting = []

    def find_each(model, rgb, settings, place, progress):
        while not user.session.answers.answered:
            waiting.append(1)
            yield FoundObject(PackedMask.pack(user.disks.mask(1)), 60, 0.9)

    monkeypatch.setattr("napari_promptable.instances.automatic.find_each", find_each)
    user.push("auto_find", wait=False)
    user.wait_for(lambda: len(waiting) > 0)
    user.click(user.world(*user.disks.centres[0]), wait=False)
    user.wait_for(lambda: bool(user.session.answers.answered))
    user.wait_idle()


def test_cancel_ends_the_search(user, monkeypatch) -> None:
    def find_each(model, rgb, settings, place, progress):
        while True:
            progress(1, 2)
            yield FoundObject(PackedMask.pack(user.disks.mask(1)), 60, 0.9)

    monkeypatch.setattr("napari_promptable.instances.automatic.find_each", find_each)
    user.push("auto_find", wait=False)
    user.wait_for(lambda: user.scheduler.is_busy)
    user.control("cancel").click()
    user.wait_idle()
    assert not user.control("auto_commit").isEnabled()
