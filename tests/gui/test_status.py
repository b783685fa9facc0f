"""The status line is true at each moment: it is read from the state."""

import pytest

from napari_promptable.gui.panels.next_step import (
    COMMIT_FIRST,
    COMMIT_NEXT,
    COVERED,
    ELSEWHERE,
    NO_IMAGE,
    SAVED_ELSEWHERE,
    SAVED_HERE,
    SEGMENT_NEXT,
    START,
    WAITING,
)

pytestmark = pytest.mark.gui


@pytest.fixture
def disks(make_disks):
    return make_disks()


def commit_one(user, disks) -> None:
    user.click(user.world(*disks.centres[0]))
    user.press("C")
    assert user.status.startswith("Object 1 saved:")


def test_nothing_is_being_prepared_after_cancel(open_desk, disks) -> None:
    user = open_desk(disks.image)
    user.model.predict_gate.clear()
    user.click(user.world(*disks.centres[0]), wait=False)
    user.wait_for(lambda: user.status == WAITING)
    user.push("cancel", wait=False)
    user.model.open_gates()
    user.wait_idle()
    user.process_events()
    assert user.status == SEGMENT_NEXT
    user.press("S")
    assert user.status == COMMIT_FIRST


def test_nothing_is_remembered_of_an_image_that_is_gone(open_desk, disks) -> None:
    user = open_desk(disks.image)
    commit_one(user, disks)
    user.viewer.layers.clear()
    user.wait_for(lambda: user.session is None)
    user.process_events()
    assert user.status == NO_IMAGE


@pytest.mark.parametrize("tool", ["tool_negative", "tool_box", "tool_outline"])
def test_another_tool_shows_the_next_step(open_desk, disks, tool: str) -> None:
    user = open_desk(disks.image)
    commit_one(user, disks)
    user.push(tool)
    assert user.status == START


def test_another_slice_shows_the_next_step(open_desk, make_disks) -> None:
    user = open_desk(make_disks((4, 60, 80), [(0, 20, 24)]).image)
    user.viewer.dims.set_point(0, 0)
    user.click(user.on_plane(20, 24))
    user.press("C")
    assert user.status.startswith("Object 1 saved:")
    user.viewer.dims.set_point(0, 2)
    user.wait_idle()
    assert user.status == START


def test_a_saved_object_is_said_to_be_saved_slice_by_slice(open_desk, make_disks) -> None:
    """It asks for no commit that would change nothing, until it is corrected."""
    user = open_desk(make_disks((4, 60, 80), [(z, 20, 24) for z in range(3)]).image)
    user.viewer.dims.set_point(0, 0)
    user.click(user.on_plane(20, 24))
    user.viewer.dims.set_point(0, 2)
    user.click(user.on_plane(20, 24))
    user.viewer.dims.set_point(0, 1)
    user.wait_idle()
    assert user.status == ELSEWHERE
    user.press("C")
    user.choose_object(1)
    for position, expected in ((0, SAVED_HERE), (2, SAVED_HERE), (1, SAVED_ELSEWHERE)):
        user.viewer.dims.set_point(0, position)
        user.wait_idle()
        assert user.status == expected.format(1)
    user.viewer.dims.set_point(0, 2)
    user.click(user.on_plane(22, 24))
    assert user.status == COMMIT_NEXT


def test_a_deleted_preview_does_not_mean_that_others_hold_the_mask(open_desk, disks) -> None:
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    user.viewer.layers.remove(user.preview)
    user.process_events()
    assert user.status == COMMIT_FIRST


def test_preview_and_status_follow_the_policy_and_the_labels(open_desk, disks) -> None:
    user = open_desk(disks.image)
    commit_one(user, disks)
    user.click(user.world(*disks.centres[0]))
    assert user.status == COVERED
    box = user.control("overlap")
    box.setCurrentIndex(box.findData("replace"))
    box.activated.emit(box.currentIndex())
    assert user.preview_mask.any(), "the new object may take the pixels now"
    assert user.status == COMMIT_NEXT
    box.setCurrentIndex(box.findData("keep"))
    box.activated.emit(box.currentIndex())
    assert not user.preview_mask.any()
    user.objects.data[:] = 0
    user.objects.refresh()
    user.wait_for(lambda: user.preview_mask.any())
