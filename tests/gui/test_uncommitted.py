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
