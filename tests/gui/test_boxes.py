"""Boxes and outlines, drawn with the mouse."""

import numpy as np
import pytest

pytestmark = pytest.mark.gui

CENTRES = [(15, 15), (40, 30), (22, 60)]
AROUND = 7  # half a side of a box around a disk


def box_around(centre: tuple[int, int]) -> tuple[float, float, float, float]:
    return tuple(c + d for d in (-AROUND, AROUND) for c in centre)


def add_box(user, centre: tuple[int, int]) -> None:
    """Add the box that a drag around a disk adds."""
    top, left, bottom, right = box_around(centre)
    user.boxes.add([[top, left], [bottom, right]], shape_type="rectangle")
    user.wait_idle()


def test_a_dragged_box_is_a_prompt(open_plugin, make_disks) -> None:
    disks = make_disks(centres=CENTRES)
    user = open_plugin(disks.image, scale=(3, 3), translate=(10, -4))
    user.drag_box(*box_around(CENTRES[0]))
    assert list(user.boxes.shape_type) == ["rectangle"]
    [question] = user.model.questions
    np.testing.assert_allclose(question.box_yxyx, box_around(CENTRES[0]), atol=0.3)
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    user.press("C")
    np.testing.assert_array_equal(user.labels == 1, disks.mask(0))
    assert len(user.boxes.data) == 0
    user.push("undo")
    assert len(user.boxes.data) == 1


def test_boxes_of_one_object_are_united(open_desk, make_disks) -> None:
    disks = make_disks(centres=CENTRES)
    user = open_desk(disks.image)
    for centre in CENTRES[:2]:
        add_box(user, centre)
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0) | disks.mask(1))
    user.press("C")
    np.testing.assert_array_equal(user.labels == 1, disks.mask(0) | disks.mask(1))


def test_boxes_to_objects_is_one_entry_of_the_history(open_desk, make_disks) -> None:
    disks = make_disks(centres=CENTRES)
    user = open_desk(disks.image)
    for centre in CENTRES:
        add_box(user, centre)
    user.push("boxes_to_objects")
    np.testing.assert_array_equal(user.labels, disks.truth)
    assert user.control("object_id").value() == 4
    assert user.status.startswith("Objects 1, 2 and 3 saved: 207 pixels on 1 slice.")

    user.push("undo")
    assert not user.labels.any()
    assert not user.control("undo").isEnabled()
    assert len(user.boxes.data) == 3
    user.push("redo")
    np.testing.assert_array_equal(user.labels, disks.truth)
    user.choose_object(2)
    assert len(user.boxes.data) == 1


def test_boxes_to_objects_without_boxes_says_what_to_do(open_desk, make_disks) -> None:
    user = open_desk(make_disks().image)
    user.push("boxes_to_objects")
    assert "Drag a box" in user.status


def test_a_click_corrects_a_box(open_plugin, make_disks) -> None:
    disks = make_disks(centres=CENTRES)
    user = open_plugin(disks.image)
    user.drag_box(*box_around(CENTRES[0]))
    user.push("tool_negative")
    user.click(user.world(15, 15))
    question = user.model.questions[-1]
    assert question.box_yxyx is not None
    assert question.mask_logits is not None
    assert question.point_labels.tolist() == [0]
    assert not user.preview_mask[15, 15]


@pytest.mark.parametrize("kind", ["ellipse", "polygon"])
def test_ellipses_and_polygons_are_mask_prompts(kind, open_desk, make_disks) -> None:
    disks = make_disks(centres=CENTRES)
    user = open_desk(disks.image)
    top, left, bottom, right = box_around(CENTRES[1])
    corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]])
    user.boxes.add(corners, shape_type=kind)
    user.wait_idle()
    [question] = user.model.questions
    assert question.mask_logits is not None
    np.testing.assert_allclose(question.box_yxyx, (top, left, bottom, right), atol=1)
    is_inside = question.mask_logits[:60, :80] > 0
    assert is_inside[40, 30]
    assert is_inside[34, 24] == (kind == "polygon")
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))


def test_an_outline_is_drawn_by_hand(open_plugin, make_disks) -> None:
    disks = make_disks(centres=CENTRES)
    user = open_plugin(disks.image)
    user.push("tool_outline")
    angles = np.linspace(0, 2 * np.pi, 13)
    path = [user.world(40 + 7 * np.sin(a), 30 + 7 * np.cos(a)) for a in angles]
    user.drag(*path)
    assert list(user.boxes.shape_type) == ["polygon"]
    [question] = user.model.questions
    assert question.mask_logits is not None
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))


def test_a_deleted_box_is_no_prompt_any_more(open_desk, make_disks) -> None:
    disks = make_disks(centres=CENTRES)
    user = open_desk(disks.image)
    for centre in CENTRES[:2]:
        add_box(user, centre)
    user.boxes.selected_data = {0}
    user.boxes.remove_selected()
    user.wait_idle()
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))
