"""What happens to clicks and shapes that go wrong, and how they are undone."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_promptable.gui.layers.edit_watch import CLICKED_OUTSIDE, DRAWN_OUTSIDE, IN_3D
from napari_promptable.strokes import stroke_to_clicks

pytestmark = pytest.mark.gui


def test_escape_in_mid_drag_of_an_outline_waits_for_the_button(open_plugin, make_disks) -> None:
    disks = make_disks()
    user = open_plugin(disks.image)
    row, column = disks.centres[0]
    path = [(row - 8, column - 8), (row - 8, column + 8), (row + 8, column + 8)]
    user.push("tool_outline")
    user.press_button(user.world(*path[0]))
    for place in (*path[1:], (row + 8, column - 8)):
        user.move_pressed(user.world(*place))
    user.press("Escape", wait=False)
    user.release_button(user.world(row + 8, column - 8))
    user.wait_idle()
    assert len(user.boxes.data) == 1
    assert user.preview_mask[row, column]
    assert user.notifications == []
    assert "Escape" not in map(str, user.boxes.keymap)


BIG = {"shape": (60, 80), "centres": [(30, 40)], "radius": 14.0}


def press_with_control(user, key: str, shift: bool = False) -> None:
    modifiers = Qt.KeyboardModifier.ControlModifier
    if shift:
        modifiers |= Qt.KeyboardModifier.ShiftModifier
    user.qtbot.keyClick(user.canvas, getattr(Qt.Key, f"Key_{key}"), modifiers)
    user.wait_idle()


def test_control_z_undoes_clicks_before_labels(open_plugin, make_disks) -> None:
    disks = make_disks()
    user = open_plugin(disks.image)
    user.click(user.world(*disks.centres[0]))
    user.press("C")
    committed = user.labels
    user.click(user.world(*disks.centres[1]))
    user.click(user.world(41, 57))
    press_with_control(user, "Z")
    assert len(user.points.data) == 1
    assert user.status == "Newest prompt undone."
    press_with_control(user, "Z")
    assert len(user.points.data) == 0
    assert not user.preview_mask.any()
    np.testing.assert_array_equal(user.labels, committed)
    press_with_control(user, "Z", shift=True)
    np.testing.assert_allclose(user.points.data, [disks.centres[1]], atol=0.3)
    press_with_control(user, "Z")
    press_with_control(user, "Z")
    assert not user.labels.any()
    assert user.status.startswith("Commit undone: ")
    press_with_control(user, "Z")
    press_with_control(user, "Z")
    assert user.status == "Nothing to undo."


def test_all_prompts_are_removed_at_once(open_plugin, make_disks) -> None:
    disks = make_disks(**BIG)
    user = open_plugin(disks.image)
    user.click(user.world(30, 40))
    user.click(user.world(32, 42))
    user.push("clear_prompts")
    assert len(user.points.data) == 0
    assert not user.preview_mask.any()
    press_with_control(user, "Z")
    assert len(user.points.data) == 2
    assert user.preview_mask.any()
    user.qtbot.keyClick(user.canvas, Qt.Key.Key_C, Qt.KeyboardModifier.ShiftModifier)
    assert len(user.points.data) == 0
    assert user.status.startswith("Prompts of this object removed.")


def test_a_click_outside_is_dropped_and_blocks_nothing(open_desk, make_disks) -> None:
    disks = make_disks(**BIG)
    user = open_desk(disks.image)
    user.points.add([[-20.0, 40.0]])
    user.wait_idle()
    assert len(user.points.data) == 0
    assert user.status == CLICKED_OUTSIDE
    user.click(user.world(30, 40))
    assert user.preview_mask.any()
    user.press("C")
    assert user.labels.any()


@pytest.mark.parametrize("sign", ["positive", "negative"])
def test_lines_are_strokes_with_the_sign_of_the_click_tool(
    sign: str, open_plugin, make_disks
) -> None:
    user = open_plugin(make_disks(**BIG).image)
    user.click(user.world(30, 40))
    user.push(f"tool_{sign}")
    user.push("tool_scribble")
    assert user.boxes.mode == "add_path"
    user.boxes.add(np.array([[25.0, 40.0], [36.0, 40.0]]), shape_type="path")
    user.wait_idle()
    [prompts] = user.session.prompts.of_current.values()
    assert prompts.strokes_yx[0].tolist() == [[25, 40], [36, 40]]
    assert prompts.stroke_labels.tolist() == [int(sign == "positive")]
    most = max(len(asked.points_yx) for asked in user.model.questions)
    assert most == 1 + len(stroke_to_clicks(prompts.strokes_yx[0]))


def test_strokes_come_back_with_their_object(open_desk, make_disks) -> None:
    user = open_desk(make_disks(**BIG).image)
    user.push("tool_scribble")
    user.boxes.add(np.array([[29.5, 40.0], [30.5, 40.0]]), shape_type="path")
    user.wait_idle()
    before = dict(user.session.prompts.of_current)
    user.press("C")
    assert len(user.boxes.data) == 0
    user.control("object_id").setValue(1)
    user.wait_idle()
    assert dict(user.session.prompts.of_current) == before
    assert list(user.boxes.shape_type) == ["path"]


def test_no_prompt_is_taken_in_3d(open_desk, make_disks) -> None:
    disks = make_disks(shape=(4, 60, 80), centres=[(1, 30, 40)])
    user = open_desk(disks.image)
    user.viewer.dims.ndisplay = 3
    user.points.add([[1.0, 30.0, 40.0]])
    user.wait_idle()
    assert len(user.points.data) == 0
    assert user.status == IN_3D
    user.viewer.dims.ndisplay = 2
    user.viewer.dims.set_point(0, 1)
    user.push("tool_positive")
    user.click(user.on_plane(30, 40))
    assert user.preview_mask.any()


def test_the_next_object_begins_with_a_positive_click(open_desk, make_disks) -> None:
    user = open_desk(make_disks(**BIG).image)
    user.click(user.world(30, 40))
    user.press("T")
    assert user.control("tool_negative").isChecked()
    user.press("C")
    assert user.control("tool_positive").isChecked()
    user.click(user.world(30, 40))
    assert list(user.points.features["label"]) == ["positive"]


def test_a_click_with_control_or_the_right_button_excludes(open_plugin, make_disks) -> None:
    user = open_plugin(make_disks(**BIG).image)
    user.click(user.world(30, 40))
    assert "Ctrl+click or right-click excludes" in user.status
    ways = (
        (Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier, (36, 46)),
        (Qt.MouseButton.RightButton, Qt.KeyboardModifier.NoModifier, (24, 34)),
    )
    for button, modifier, place in ways:
        pixel = user.pixel(user.world(*place))
        user.qtbot.mouseMove(user.canvas, pixel)
        user.qtbot.mouseClick(user.canvas, button, modifier, pixel)
        user.wait_idle()
    user.click(user.world(28, 38))
    signs = ["positive", "negative", "negative", "positive"]
    assert list(user.points.features["label"]) == signs
    user.press("C")
    user.click(user.world(5, 5))
    assert "Ctrl+click" not in user.status, "it is said until there is an object"


def test_a_covered_commit_keeps_prompts_and_id(open_desk, make_disks) -> None:
    disks = make_disks(**BIG)
    user = open_desk(disks.image)
    user.click(user.world(30, 40))
    user.press("C")
    before = user.labels
    user.click(user.world(30, 40))
    assert not user.preview_mask.any(), "the preview shows what a commit would write"
    user.press("C")
    np.testing.assert_array_equal(user.labels, before)
    assert len(user.points.data) == 1
    assert user.control("object_id").value() == 2
    assert user.status.startswith("Object 2 was not saved: object 1 holds all of its pixels.")


def test_napari_keeps_its_keys_on_labels_layers(open_plugin, make_disks) -> None:
    disks = make_disks(**BIG)
    user = open_plugin(disks.image)
    user.viewer.layers.selection.active = user.objects
    user.objects.selected_label = 1
    user.press("P")
    assert user.objects.mode == "paint"
    user.objects.paint((30, 40), 1)
    user.press("M")
    assert user.objects.selected_label == 2


@pytest.mark.parametrize("kind", ["rectangle", "ellipse", "polygon", "path"])
def test_a_shape_beside_the_image_is_no_prompt(open_desk, make_disks, kind) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    corners = np.array([(-30, -30), (-30, -10), (-10, -10), (-10, -30)], float)
    user.boxes.add(corners, shape_type=kind)
    user.process_events()
    assert user.status == DRAWN_OUTSIDE
    assert len(user.boxes.data) == len(user.boxes.features) == 0
    user.click(user.world(*disks.centres[0]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))


@pytest.mark.parametrize("kind", ["rectangle", "polygon"])
def test_a_shape_moved_out_of_the_image_blocks_nothing(open_desk, make_disks, kind) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    row, column = disks.centres[1]
    corners = np.add([(-8, -8), (-8, 8), (8, 8), (8, -8)], (row, column), dtype=float)
    user.boxes.add(corners, shape_type=kind)
    user.wait_idle()
    user.boxes.data = [corners - 100]
    user.wait_idle()
    assert not user.preview_mask.any()
    user.click(user.world(*disks.centres[0]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    assert user.notifications == []


@pytest.mark.parametrize(
    "features", [{}, {"label": ["bogus"]}, {"label": [1], "object_id": [np.nan]}]
)
def test_clicks_count_whatever_the_feature_table_becomes(
    open_desk, make_disks, features
) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    user.points.features = features
    user.boxes.features = {}
    user.wait_idle()
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    user.press("C")
    np.testing.assert_array_equal(user.labels == 1, disks.mask(0))
    user.click(user.world(*disks.centres[1]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))
    assert user.points.features["object_id"].tolist() == [2]


@pytest.mark.parametrize("ids", [7, -1, 2**70, "x", None])
def test_prompts_stay_with_the_object_whatever_id_they_get(open_desk, make_disks, ids) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    before = user.session.prompts.of_current
    user.points.features = {"label": ["positive"], "object_id": [ids]}
    user.wait_idle()
    assert user.session.prompts.of_current == before
    assert user.status.startswith("These prompts stay with object 1.")
    assert user.points.features["object_id"].tolist() == [1]
    user.boxes.add_rectangles([[30, 48], [50, 68]])
    user.wait_idle()
    assert "stay with" not in user.status
    user.boxes.features = {"object_id": [ids]}
    assert user.status.startswith("These prompts stay with object 1.")
    assert user.boxes.features["object_id"].tolist() == [1]
    user.points.feature_defaults = {**user.points.feature_defaults.iloc[0], "object_id": 9}
    user.click(user.world(22, 24))
    [prompts] = user.session.prompts.of_current.values()
    assert len(prompts.points_yx) == 2 and len(prompts.boxes_yxyx) == 1
    assert user.points.features["object_id"].tolist() == [1, 1]


def test_signs_of_strokes_follow_the_feature_table(open_desk, make_disks) -> None:
    user = open_desk(make_disks().image)
    user.push("tool_scribble")
    user.boxes.add_paths([[20, 20], [20, 28]])
    user.boxes.add_rectangles([[30, 48], [50, 68]])
    colors = user.boxes.edge_color.copy()
    user.boxes.features = {"label": ["negative", "negative"], "object_id": [1, 1]}
    user.wait_idle()
    [prompts] = user.session.prompts.of_current.values()
    assert prompts.stroke_labels.tolist() == [0]
    assert (user.boxes.edge_color[0] != colors[0]).any()
    np.testing.assert_array_equal(user.boxes.edge_color[1], colors[1])


def test_the_preview_shows_masks_after_a_script_gave_it_other_data(
    open_desk, make_disks
) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    user.preview.data = np.zeros((60, 80), np.uint8)
    user.press("C")
    user.click(user.world(*disks.centres[1]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))
