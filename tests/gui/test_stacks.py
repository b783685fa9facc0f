"""Images of three and more dimensions, seen along any axes."""

import numpy as np
import pytest

pytestmark = pytest.mark.gui

CENTRE, RADIUS = (12, 18, 30), 4.5


@pytest.fixture(scope="module")
def ball() -> np.ndarray:
    """Bright ball, which shows as a disk on each plane through its centre."""
    distance = np.linalg.norm(np.moveaxis(np.indices((26, 36, 44)), 0, -1) - CENTRE, axis=-1)
    return distance <= RADIUS


def test_prompts_stay_on_their_slice(open_desk, make_disks) -> None:
    disks = make_disks((4, 60, 80), [(1, 20, 24), (2, 22, 27), (3, 40, 58)])
    user = open_desk(disks.image)
    user.viewer.dims.set_current_step(0, 1)
    user.wait_idle()
    assert user.index() == (1,)
    user.click(user.on_plane(20, 24))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))

    user.viewer.dims.set_current_step(0, 2)
    user.wait_idle()
    assert "another slice" in user.status
    assert all(button.text() == "–" for button in user.candidates)
    user.click(user.on_plane(22, 27))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0) | disks.mask(1))
    assert [len(question.points_yx) for question in user.model.questions] == [1, 1]

    user.press("C")
    np.testing.assert_array_equal(user.labels == 1, disks.mask(0) | disks.mask(1))
    user.click(user.on_plane(22, 50))  # nothing is there
    user.press("N")
    user.viewer.dims.set_current_step(0, 3)
    user.wait_idle()
    user.click(user.on_plane(40, 58))
    user.press("C")
    np.testing.assert_array_equal(user.labels[:3] > 0, disks.truth[:3] > 0)
    np.testing.assert_array_equal(user.labels[3] > 0, disks.truth[3] > 0)

    user.push("undo")
    user.push("undo")
    assert not user.labels.any()
    assert sorted(user.points.data[:, 0]) == [1, 2]


def test_prompts_on_the_other_slice_are_not_asked_again(open_desk, make_disks) -> None:
    disks = make_disks((3, 60, 80), [(0, 20, 24), (1, 40, 58)])
    user = open_desk(disks.image)
    for slice_number, (row, column) in enumerate([(20, 24), (40, 58)]):
        user.viewer.dims.set_current_step(0, slice_number)
        user.click(user.on_plane(row, column))
    user.viewer.dims.set_current_step(0, 0)
    user.wait_idle()
    assert len(user.model.questions) == 2
    assert [button.text() for button in user.candidates] == ["0.60", "0.90", "0.70"]
    assert len(user.model.planes) == 3  # each slice was encoded once


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 0, 1), (0, 2, 1), (2, 1, 0)])
def test_any_order_of_axes(order, open_plugin, ball) -> None:
    user = open_plugin(np.where(ball, 1.0, 0.1), scale=(3, 2, 1), translate=(-9, 4, 100))
    user.viewer.dims.order = order
    user.viewer.dims.set_point(range(3), user.world(*CENTRE))
    user.viewer.reset_view()
    user.wait_idle()
    assert user.index() == (CENTRE[order[0]],)
    user.click(user.world(*CENTRE))
    truth = np.zeros_like(ball)
    plane = user.workspace.job.layers.planes.region(user.index())
    truth[plane] = ball[plane]
    np.testing.assert_array_equal(user.preview_mask, truth)
    user.press("C")
    np.testing.assert_array_equal(user.labels > 0, truth)
    assert user.layer_names == [
        "image",
        "image objects",
        "preview",
        "prompt boxes",
        "prompt points",
    ]


def test_turning_the_stack_keeps_what_was_committed(open_desk, ball) -> None:
    user = open_desk(np.where(ball, 1.0, 0.1))
    user.viewer.dims.set_point(range(3), CENTRE)
    user.wait_idle()
    user.click(CENTRE)
    user.press("C")
    objects, committed = user.objects, user.labels
    user.viewer.dims.order = (1, 0, 2)
    user.viewer.reset_view()
    user.wait_idle()
    assert user.objects is objects
    second = user.control("object_id").value()
    assert second > 1
    user.click((CENTRE[0] + 2, *CENTRE[1:]))
    user.press("C")
    np.testing.assert_array_equal(user.labels == 1, committed == 1)
    assert (user.labels == second).any()

    user.viewer.dims.order = (0, 1, 2)
    user.wait_idle()
    assert user.control("undo").isEnabled()
    user.push("undo")
    assert not (user.labels == 1).any()
    assert (user.labels == second).any()


def test_slice_in_view_of_a_scaled_layer_among_others(open_plugin, make_disks) -> None:
    disks = make_disks((5, 60, 80), [(3, 20, 24)])

    def add_finer_stack(viewer) -> None:
        viewer.add_image(np.zeros((20, 30, 30)), scale=(1, 2, 2), translate=(-30, 0, 0))
        viewer.layers.move(1, 0)

    user = open_plugin(
        disks.image, before=add_finer_stack, scale=(5, 1, 1), translate=(-8, 0, 0)
    )
    assert user.workspace.image is user.image
    user.viewer.dims.set_point(0, user.world(3, 0, 0)[0] + 2)  # nearest slice
    user.wait_idle()
    assert user.index() == (3,)
    user.click(user.world(3, 20, 24))
    user.press("C")
    np.testing.assert_array_equal(user.labels == 1, disks.mask(0))
    user.viewer.dims.set_point(0, -25)
    user.wait_idle()
    assert user.index() is None  # nothing of the image is in view
    asked = len(user.model.questions)
    user.click(user.world(3, 40, 58))
    assert len(user.model.questions) == asked


def test_time_lapse_of_stacks(open_desk, make_disks) -> None:
    disks = make_disks((2, 3, 40, 50), [(0, 2, 20, 24), (1, 0, 12, 30)])
    user = open_desk(disks.image, scale=(1, 4, 1, 1))
    for time, z, *position in disks.centres:
        user.viewer.dims.set_point((0, 1), (time, 4 * z))
        user.wait_idle()
        assert user.index() == (time, z)
        user.click(user.on_plane(*position))
        user.press("C")
    np.testing.assert_array_equal(user.labels, disks.truth)


def test_the_3d_view_has_no_plane(open_desk, make_disks) -> None:
    user = open_desk(make_disks((3, 60, 80), [(1, 20, 24)]).image)
    user.viewer.dims.ndisplay = 3
    user.wait_idle()
    assert "2D" in user.status
    user.viewer.dims.ndisplay = 2
    user.wait_idle()
    assert user.status.startswith("Click inside")
