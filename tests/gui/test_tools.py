"""Tools tell the truth: buttons, status and keys whatever layer, mode or view is active."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

pytestmark = pytest.mark.gui

TOOLS = ("tool_positive", "tool_negative", "tool_box", "tool_outline")
NO_TOOL = "Clicks now go to another layer or mode. Press T or a tool button to add prompts."
START = "Click inside an object, or drag a box."


def lit(user) -> list[str]:
    return [name for name in TOOLS if user.control(name).isChecked()]


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_is_lit_while_its_layer_is_active_in_its_mode(
    open_desk, make_disks, tool
) -> None:
    user = open_desk(make_disks().image)
    user.push(tool)
    assert lit(user) == [tool]
    active = user.viewer.layers.selection.active
    user.viewer.layers.selection.active = user.image
    assert (lit(user), user.status) == ([], NO_TOOL)
    user.viewer.layers.selection.active = active
    assert lit(user) == [tool]
    active.mode = "select"
    assert (lit(user), user.status) == ([], NO_TOOL)
    user.push(tool)
    assert (lit(user), user.status) == ([tool], START)


@pytest.mark.parametrize(
    ("mode", "hint"),
    [
        ("add_polygon", "Click the corners of the object's outline. A double-click ends it."),
        ("add_ellipse", "Drag an ellipse around the object."),
        ("add_line", "Drag a line along the object."),
        ("add_polyline", "Click along the object. A double-click ends the line."),
    ],
)
def test_the_status_says_how_to_draw_with_tools_of_napari(
    open_desk, make_disks, mode, hint
) -> None:
    user = open_desk(make_disks().image)
    user.push("tool_box")
    user.boxes.mode = mode
    assert (lit(user), user.status) == ([], hint)
    user.viewer.layers.selection.active = user.image
    assert (lit(user), user.status) == ([], NO_TOOL)
    user.press("T")
    assert lit(user) == ["tool_box"], "the tool of ours that was active last"


def test_nothing_is_lit_in_3d_or_without_an_image(open_desk, make_disks) -> None:
    user = open_desk(make_disks((5, 60, 80), [(2, 20, 24)]).image)
    user.viewer.dims.ndisplay = 3
    assert lit(user) == []
    assert not any(user.control(tool).isEnabled() for tool in TOOLS)
    user.press("T", wait=False)
    assert lit(user) == []
    user.viewer.dims.ndisplay = 2
    user.push("tool_box")
    assert lit(user) == ["tool_box"]
    user.viewer.layers.remove(user.image)
    user.wait_for(lambda: user.workspace.job is None)
    assert lit(user) == []
    assert not any(user.control(tool).isEnabled() for tool in TOOLS)


def test_t_brings_the_tool_back_and_then_switches(open_desk, make_disks) -> None:
    user = open_desk(make_disks().image)
    user.viewer.layers.selection.active = user.image
    user.press("T")
    assert lit(user) == ["tool_positive"]
    user.press("T")
    assert lit(user) == ["tool_negative"]
    user.viewer.layers.selection.active = user.image
    user.press("T")
    assert lit(user) == ["tool_negative"]


def test_keys_work_while_the_image_is_active(open_plugin, make_disks) -> None:
    disks = make_disks()
    user = open_plugin(disks.image)
    user.click(user.world(*disks.centres[0]))
    user.viewer.layers.selection.active = user.image
    chosen = user.chosen_candidate
    user.press("M")
    assert user.chosen_candidate != chosen
    user.press("N")
    assert user.session.prompts.current_object == 2


def test_keys_of_others_stay_theirs(open_plugin, make_disks) -> None:
    calls = []
    disks = make_disks()

    def bind(viewer) -> None:
        viewer.bind_key("C", lambda _: calls.append("viewer"))
        viewer.bind_key("Shift-C", lambda _: calls.append("viewer, shifted"))
        viewer.add_points([[1, 1]], name="seeds")

    user = open_plugin(disks.image, before=bind)
    user.click(user.world(*disks.centres[0]))
    seeds = user.viewer.layers["seeds"]
    seeds.bind_key("N", lambda _: calls.append("layer"))
    user.viewer.layers.selection.active = seeds
    for key in "CN":
        user.press(key)
    user.qtbot.keyClick(user.canvas, Qt.Key.Key_C, Qt.KeyboardModifier.ShiftModifier)
    assert calls == ["viewer", "layer", "viewer, shifted"]
    assert not user.labels.any()
    user.press("S")  # napari's own key for selecting points
    assert seeds.mode == "select"
    user.close_dock()
    assert [str(key) for key in user.viewer.keymap] == ["C", "Shift+C"]


def test_a_box_too_small_to_see_is_a_click(open_plugin, make_disks) -> None:
    disks = make_disks()
    user = open_plugin(disks.image)
    user.push("tool_box")
    user.click(user.world(*disks.centres[0]))
    user.wait_for(lambda: len(user.points.data) == 1)
    user.wait_idle()
    assert len(user.boxes.data) == 0
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    assert lit(user) == ["tool_box"], "the tool stays"
    user.drag(user.world(34, 52), user.world(46, 64))
    assert len(user.boxes.data) == 1
    assert user.notifications == []


def test_a_point_shows_where_it_was_clicked_before_its_answer(
    open_plugin, make_disks, fake_model
) -> None:
    disks = make_disks()
    user = open_plugin(disks.image)
    fake_model.predict_gate.clear()
    user.click(user.world(*disks.centres[0]), wait=False)
    np.testing.assert_allclose(user.points.data, [disks.centres[0]], atol=0.5)
    assert not user.preview_mask.any()
    assert user.notifications == []
    fake_model.open_gates()
    user.wait_idle()
    assert user.preview_mask.any()
