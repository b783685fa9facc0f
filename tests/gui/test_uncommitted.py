"""Objects that the user left without committing them stay in the list."""

import numpy as np
import pytest

pytestmark = pytest.mark.gui


def rows(user) -> list[tuple[int, str]]:
    user.process_events()
    model = user.control("object_list").model()
    return [(row.object_id, row.slices) for row in model.rows]


def choose_row(user, number: int) -> None:
    table = user.control("object_list")
    table.selectRow(number)
    table.clicked.emit(table.model().index(number, 0))
    user.wait_idle()


@pytest.fixture
def disks(make_disks):
    return make_disks()


@pytest.fixture
def user(open_desk, disks):
    """Napari with two clicks: on one object, N, and on the next."""
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    user.press("N")
    return user


def test_a_new_object_keeps_the_former_one(user, disks) -> None:
    assert user.status.startswith("Object 1 is not committed.")
    assert rows(user) == [(1, "not committed")]
    user.click(user.world(*disks.centres[1]))
    assert rows(user) == [(1, "not committed"), (2, "not committed")]
    user.press("C")
    assert rows(user) == [(1, "not committed"), (2, "")]
    choose_row(user, 0)
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    user.press("C")
    np.testing.assert_array_equal(user.labels == 1, disks.mask(0))
    assert rows(user) == [(1, ""), (2, "")]
    user.push("undo")
    assert rows(user) == [(1, "not committed"), (2, "")]


def test_an_object_that_is_not_committed_can_be_deleted(user) -> None:
    choose_row(user, 0)
    user.push("delete_objects")
    assert rows(user) == []
    assert len(user.points.data) == 0
    user.push("undo")
    assert rows(user) == [(1, "not committed")]


def test_another_image_keeps_the_former_object(user, disks) -> None:
    image = user.image
    choose_row(user, 0)
    user.viewer.add_image(disks.image[:50], name="other")
    user.wait_for(lambda: user.control("image").findText("other") >= 0)
    user.choose("image", "other")
    assert user.status.startswith("Object 1 is not committed.")
    user.choose("image", image.name)
    assert rows(user) == [(1, "not committed")]
    user.choose_object(1)
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))


def test_another_slice_keeps_the_object(open_desk, make_disks) -> None:
    disks = make_disks((4, 60, 80), [(1, 20, 24)])
    user = open_desk(disks.image)
    user.viewer.dims.set_point(0, 1)
    user.click(user.on_plane(20, 24))
    user.viewer.dims.set_point(0, 3)
    user.wait_idle()
    assert rows(user) == [(1, "not committed")]
    user.press("N")
    choose_row(user, 0)
    assert user.index() == (1,)
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))


def test_a_correction_that_was_left_is_listed(user, disks) -> None:
    choose_row(user, 0)
    user.press("C")
    user.choose_object(1)
    user.press("N")
    assert rows(user) == [(1, "")], "nothing was changed"
    user.choose_object(1)
    user.click(user.world(*disks.centres[1]))
    user.press("N")
    assert rows(user) == [(1, "not committed")]
    user.choose_object(1)
    user.press("C")
    assert rows(user) == [(1, "")]


def remove_labels(user) -> None:
    user.viewer.layers.remove(user.objects)
    user.process_events()  # only then is it known that the image stays


def replace_labels(user) -> None:
    user.objects.data = np.zeros((50, 70), np.uint16)


def choose_labels(user) -> None:
    user.viewer.add_labels(np.full((60, 80), 7, np.uint16), name="mine").data[:, :40] = 0
    user.wait_for(lambda: user.control("labels").findText("mine") >= 0)
    user.choose("labels", "mine")


@pytest.mark.parametrize("change", [remove_labels, replace_labels, choose_labels])
def test_an_object_goes_along_to_another_labels_layer(open_desk, disks, change) -> None:
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    former = user.objects
    change(user)
    user.wait_idle()
    assert user.objects is not former
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    [(object_id, text)] = [row for row in rows(user) if row[1]]
    assert text == "not committed"
    user.press("C")
    np.testing.assert_array_equal(user.labels == object_id, disks.mask(0))
    assert not np.any(former.data)


def test_an_object_stays_behind_when_the_image_gets_another_shape(open_desk, disks) -> None:
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    user.image.data = disks.image[:50]
    user.wait_idle()
    assert user.status.startswith("Object 1 is not committed. It comes back")
    user.image.data = disks.image
    user.wait_idle()
    assert rows(user) == [(1, "not committed")]
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))


def test_an_object_stays_behind_with_other_axes(open_desk, make_disks) -> None:
    user = open_desk(make_disks((3, 60, 80), [(1, 20, 24)]).image)
    user.viewer.dims.set_point(0, 1)
    user.click(user.on_plane(20, 24))
    user.viewer.dims.roll()
    user.wait_idle()
    assert user.status.startswith("Object 1 is not committed. It comes back")


def test_what_a_scan_of_other_labels_found_does_not_count(open_desk, make_disks) -> None:
    stack = make_disks((3, 60, 80), [(2, 20, 24)])
    user = open_desk(stack.image)
    user.viewer.dims.set_point(0, 2)
    user.click(user.on_plane(20, 24))
    user.press("C")
    user.objects.data = np.zeros((2, 3, 60, 80), np.uint16)  # slice 2 cannot be read any more
    user.wait_idle()
    assert "no longer fits" in user.status
    assert user.notifications == []
