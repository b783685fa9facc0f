"""Shapes that are abandoned, moved, turned or deleted in napari's own modes."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

pytestmark = pytest.mark.gui

BIG = {"shape": (60, 80), "centres": [(30, 24), (30, 60)], "radius": 8.0}


@pytest.fixture
def user(open_plugin, make_disks):
    """Napari with one box around the left disk."""
    user = open_plugin(make_disks(**BIG).image)
    user.drag_box(20, 14, 40, 34)
    return user


def escape(user) -> None:
    user.qtbot.keyClick(user.canvas, Qt.Key.Key_Escape)
    user.wait_idle()


def draw(user, mode: str, *places: tuple[float, float]) -> None:
    """Click on the canvas in a mode of napari's, without finishing the shape."""
    user.viewer.layers.selection.active = user.boxes
    user.boxes.mode = mode
    for place in places:
        user.click(user.world(*place))


@pytest.mark.parametrize("mode", ["add_polygon", "add_polygon_lasso", "add_path"])
def test_an_abandoned_outline_leaves_the_other_prompts(user, mode: str) -> None:
    draw(user, mode, (50, 50))
    escape(user)
    assert len(user.boxes.data) == len(user.boxes.features) == 1
    user.drag_box(20, 50, 40, 70)
    assert len(user.boxes.data) == len(user.boxes.features) == 2
    assert user.preview_mask[30, 24] and user.preview_mask[30, 60]
    user.press("C")
    assert user.labels[30, 60] == 1


def test_an_abandoned_outline_blocks_no_box(open_plugin, make_disks) -> None:
    user = open_plugin(make_disks(**BIG).image)
    draw(user, "add_polygon", (50, 50), (55, 60))
    escape(user)
    assert len(user.boxes.data) == len(user.boxes.features) == 0
    user.drag_box(20, 50, 40, 70)
    assert user.preview_mask[30, 60]


def select(user, row: float, column: float) -> None:
    user.viewer.layers.selection.active = user.boxes
    user.boxes.mode = "select"
    user.click(user.world(row, column))


def test_a_moved_box_is_answered_where_it_is(user) -> None:
    select(user, 22, 24)
    user.drag(user.world(30, 24), user.world(30, 60))
    [prompts] = user.session.prompts.of_current.values()
    np.testing.assert_allclose(prompts.boxes_yxyx, [[20, 50, 40, 70]], atol=0.6)
    assert user.preview_mask[30, 60] and not user.preview_mask[30, 24]


def test_a_deleted_box_is_no_prompt_any_more(user) -> None:
    user.drag_box(20, 50, 40, 70)
    select(user, 30, 24)
    user.qtbot.keyClick(user.canvas, Qt.Key.Key_Delete)
    user.wait_idle()
    assert len(user.boxes.data) == len(user.boxes.features) == 1
    assert user.preview_mask[30, 60] and not user.preview_mask[30, 24]


def test_a_turned_box_is_an_outline(open_desk, make_disks) -> None:
    user = open_desk(make_disks(**BIG).image)
    user.boxes.add([[20, 14], [40, 34]], shape_type="rectangle")
    user.wait_idle()
    centre, angle = np.array([30.0, 24.0]), np.pi / 6
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corner = user.boxes.data[0][0]
    user.boxes.data = [(user.boxes.data[0] - centre) @ turn + centre]
    user.wait_idle()
    [prompts] = user.session.prompts.of_current.values()
    assert not len(prompts.boxes_yxyx)
    assert len(prompts.polygons_yx) == 1
    user.press("N")
    user.choose_object(1)
    assert len(user.boxes.data) == 1
    assert not np.isclose(user.boxes.data[0], corner).all(axis=1).any(), "it stays turned"
