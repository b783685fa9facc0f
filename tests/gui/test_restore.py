"""A saved session is offered for the image it was made on, and for no other."""

import numpy as np
import pytest

pytestmark = pytest.mark.gui


@pytest.fixture
def disks(make_disks):
    return make_disks()


def label_one(user, disks) -> None:
    user.click(user.world(*disks.centres[0]))
    user.press("C")
    user.widget.controller.autosave.save_now()


def find(user):
    """The session that would be offered now."""
    found = []
    user.widget.controller.autosave.find_session(found.append)
    user.wait_for(lambda: bool(found))
    return found[0]


def forget_labels(user) -> None:
    """Remove the labels layer: as good as a crash, because the session goes with it."""
    user.viewer.layers.remove(user.objects)
    user.wait_for(lambda: user.session is not None and not user.labels.any())


def test_a_session_of_other_pixels_is_not_offered(open_desk, disks) -> None:
    user = open_desk(disks.image)
    label_one(user, disks)
    forget_labels(user)
    assert find(user).num_objects == 1
    other = disks.image.copy()
    other[5, 5] = 0.7
    user.image.data = other
    user.wait_idle()
    assert find(user) is None
    user.image.data = disks.image
    user.wait_idle()
    assert find(user).num_objects == 1


def test_the_session_on_screen_is_not_offered(open_desk, disks) -> None:
    user = open_desk(disks.image)
    label_one(user, disks)
    user.close()
    user.open(is_shown=True)
    assert user.labels.any()
    assert find(user) is None
    assert not user.control("restore_session").isVisible()


def test_objects_come_back_in_the_empty_layer_that_is_there(open_desk, disks) -> None:
    user = open_desk(disks.image)
    label_one(user, disks)
    before = user.labels
    forget_labels(user)
    user.wait_for(lambda: user.control("restore_session").isVisible())
    empty, names = user.objects, user.layer_names
    user.push("restore_session")
    assert user.objects is empty
    assert user.layer_names == names
    np.testing.assert_array_equal(user.labels, before)


@pytest.mark.parametrize("shape", [(50, 70), (3, 60, 80)])
def test_labels_are_saved_although_they_get_other_data_at_once(open_desk, disks, shape) -> None:
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    user.press("C")
    before = user.labels
    user.objects.data = np.zeros(shape, np.uint16)
    assert "no longer fits" in user.status
    user.wait_for(lambda: user.control("restore_session").isVisible())
    user.push("restore_session")
    np.testing.assert_array_equal(user.labels, before)


@pytest.mark.parametrize("is_undone", [False, True])
def test_objects_come_back_beside_newer_ones(open_desk, disks, is_undone: bool) -> None:
    user = open_desk(disks.image)
    label_one(user, disks)
    before = user.labels
    forget_labels(user)
    user.wait_for(lambda: user.control("restore_session").isVisible())
    user.click(user.world(*disks.centres[1]))
    user.press("C")
    if is_undone:
        user.push("undo")
        user.press("Shift-C")
    newer, pixels = user.objects, user.labels
    user.push("restore_session")
    assert user.objects is not newer
    np.testing.assert_array_equal(user.labels, before)
    np.testing.assert_array_equal(newer.data, pixels)


def test_objects_that_are_not_committed_come_back(open_desk, disks) -> None:
    user = open_desk(disks.image)
    label_one(user, disks)
    before = user.labels
    user.click(user.world(*disks.centres[1]))
    user.widget.controller.autosave.save_now()
    forget_labels(user)
    user.wait_for(lambda: user.control("restore_session").isVisible())
    panel = user.widget.controller.panel.restore
    assert "1 object and 1 not committed" in panel.text
    user.push("restore_session")
    np.testing.assert_array_equal(user.labels, before)
    user.choose_object(2)
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))
    user.press("C")
    np.testing.assert_array_equal(user.labels == 2, disks.mask(1))


@pytest.mark.parametrize("is_viewer_closing", [True, False])
def test_objects_come_back_together_after_all_layers_went_at_once(
    make_desk, disks, is_viewer_closing
) -> None:
    """As when napari closes, which takes away layer by layer."""
    user = make_desk(disks.image)
    user.open()
    label_one(user, disks)
    user.click(user.world(*disks.centres[1]))
    before = user.labels
    if is_viewer_closing:
        user.viewer.layers.clear()
    else:
        user.viewer.layers.select_all()
        user.viewer.layers.remove_selected()
        user.process_events()
    user.close()
    again = make_desk(disks.image)
    again.open(is_shown=True)
    again.wait_for(lambda: again.control("restore_session").isVisible())
    assert "1 object and 1 not committed" in again.widget.controller.panel.restore.text
    again.push("restore_session")
    np.testing.assert_array_equal(again.labels, before)
    again.choose_object(2)
    np.testing.assert_array_equal(again.preview_mask, disks.mask(1))
