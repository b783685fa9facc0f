"""From clicks to committed labels in a 2D image, and back."""

import numpy as np
import pytest

from napari_promptable.batch.segment import segment_document
from napari_promptable.files.prompts_json import read_prompts
from napari_promptable.gui.layers.adapters import SYMBOLS

pytestmark = pytest.mark.gui

BIG = {"shape": (60, 80), "centres": [(30, 40)], "radius": 14.0}


def test_candidate_commit_undo_redo(open_plugin, make_disks) -> None:
    disks = make_disks(**BIG)
    user = open_plugin(disks.image)
    user.click(user.world(30, 40))
    prediction = user.session.answers.prediction(())
    sizes = [user.session.answers.prediction(()).masks[i].sum() for i in range(3)]
    assert sizes == sorted(set(sizes))  # the candidates differ

    user.candidates[2].click()
    np.testing.assert_array_equal(user.preview_mask, prediction.masks[2])
    user.press("M")
    assert user.chosen_candidate == 0
    np.testing.assert_array_equal(user.preview_mask, prediction.masks[0])

    user.press("C")
    np.testing.assert_array_equal(user.labels == 1, prediction.masks[0])
    assert set(np.unique(user.labels)) == {0, 1}
    assert user.control("object_id").value() == 2
    assert len(user.points.data) == 0
    assert not user.preview_mask.any()

    user.push("undo")
    assert not user.labels.any()
    assert user.control("object_id").value() == 1
    np.testing.assert_allclose(user.points.data, [[30, 40]], atol=0.2)
    np.testing.assert_array_equal(user.preview_mask, prediction.masks[0])

    user.push("redo")
    np.testing.assert_array_equal(user.labels == 1, prediction.masks[0])
    assert user.control("object_id").value() == 2
    assert len(user.points.data) == 0


def test_undo_gives_back_the_former_pixels(open_desk, make_disks) -> None:
    disks = make_disks()
    former = np.random.default_rng(0).integers(0, 9, disks.image.shape).astype(np.uint16)
    former[disks.truth > 0] = 0
    user = open_desk(disks.image, before=lambda viewer: viewer.add_labels(former.copy()))
    user.choose("labels", "Labels")
    for centre in disks.centres:
        user.click(user.world(*centre))
        user.push("commit")
    np.testing.assert_array_equal(user.labels, former + (disks.truth + 8) * (disks.truth > 0))
    user.push("undo")
    user.push("undo")
    assert not user.control("undo").isEnabled()
    np.testing.assert_array_equal(user.labels, former)


def test_t_makes_the_next_click_negative(open_plugin, make_disks) -> None:
    disks = make_disks(**BIG)
    user = open_plugin(disks.image)
    user.click(user.world(30, 40))
    before = user.preview_mask
    user.press("T")
    assert user.control("tool_negative").isChecked()
    user.click(user.world(33, 40))
    assert list(user.points.features["label"]) == ["positive", "negative"]
    assert [str(symbol) for symbol in user.points.symbol] == list(SYMBOLS.values())
    assert user.preview_mask.sum() < before.sum()
    assert not user.preview_mask[33, 40]
    [first, second] = user.model.questions
    assert first.point_labels.tolist() == [1]
    assert second.point_labels.tolist() == [1, 0]

    user.press("T")
    assert user.control("tool_positive").isChecked()
    assert list(user.points.features["label"]) == ["positive", "negative"]


def test_the_sign_is_the_feature_and_not_the_colour(open_desk, make_disks) -> None:
    disks = make_disks(**BIG)
    user = open_desk(disks.image)
    user.click(user.world(30, 40))
    user.press("T")
    user.click(user.world(33, 40))
    asked = len(user.model.questions)
    user.points.face_color = ["red", "blue"]
    user.wait_idle()
    assert len(user.model.questions) == asked

    user.points.features = user.points.features.assign(label="positive")
    user.wait_idle()
    assert user.model.questions[-1].point_labels.tolist() == [1, 1]
    assert user.preview_mask[33, 40]
    assert {str(symbol) for symbol in user.points.symbol} == {SYMBOLS["positive"]}


def test_only_negative_clicks_ask_for_a_positive_one(open_desk, make_disks) -> None:
    user = open_desk(make_disks().image)
    user.push("tool_negative")
    user.click(user.world(20, 24))
    assert user.model.questions == []
    assert user.status == "This click excludes. Press T, then click inside the object."
    assert not user.control("commit").isEnabled()


def test_moved_and_deleted_points_are_asked_again(open_plugin, make_disks) -> None:
    disks = make_disks()
    user = open_plugin(disks.image)
    first, second = disks.centres
    user.click(user.world(*first))
    user.points.mode = "select"
    user.drag(user.world(*first), user.world(*second))
    np.testing.assert_allclose(user.points.data, [second], atol=0.5)
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))

    user.press("Delete")
    assert len(user.points.data) == 0
    assert not user.preview_mask.any()
    assert not user.control("commit").isEnabled()
    assert user.status.startswith("Clicks now go to another layer or mode")
    user.push("tool_positive")
    assert user.status.startswith("Click inside")


def test_a_correction_starts_from_the_chosen_candidate(open_desk, make_disks) -> None:
    disks = make_disks(**BIG)
    user = open_desk(disks.image)
    user.click(user.world(30, 40))
    prediction = user.session.answers.prediction(())
    user.press("M")
    assert user.chosen_candidate == 2
    user.click(user.world(25, 40))
    first, second = user.model.questions
    assert first.mask_logits is None
    np.testing.assert_array_equal(second.mask_logits, prediction.low_res_logits[2])
    assert len(second.points_yx) == 2


def test_keep_policy_takes_no_pixel_of_others(open_desk, make_disks) -> None:
    disks = make_disks(**BIG)
    user = open_desk(disks.image)
    user.click(user.world(30, 40))
    user.push("commit")
    first = user.labels == 1
    user.click(user.world(30, 46))
    second = user.session.answers.mask(()).unpack()
    assert (first & second).any()
    np.testing.assert_array_equal(user.preview_mask, second & ~first)
    user.push("commit")
    np.testing.assert_array_equal(user.labels == 1, first)
    np.testing.assert_array_equal(user.labels == 2, second & ~first)


def test_object_id_brings_prompts_back(open_desk, make_disks) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    user.press("C")
    user.click(user.world(*disks.centres[1]))
    assert list(user.points.features["object_id"]) == [2]
    user.press("N")
    assert user.control("object_id").value() == 3
    assert len(user.points.data) == 0
    assert not user.preview_mask.any()

    user.choose_object(2)
    np.testing.assert_allclose(user.points.data, [disks.centres[1]], atol=0.2)
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))
    user.choose_object(1)
    np.testing.assert_allclose(user.points.data, [disks.centres[0]], atol=0.2)
    user.push("new_object")
    assert user.control("object_id").value() == 3


def test_a_changed_object_replaces_its_former_pixels(open_plugin, make_disks) -> None:
    disks = make_disks()
    user = open_plugin(disks.image)
    user.click(user.world(*disks.centres[0]))
    user.press("C")
    user.choose_object(1)
    user.points.mode = "select"
    user.drag(user.world(*disks.centres[0]), user.world(*disks.centres[1]))
    user.push("commit")
    np.testing.assert_array_equal(user.labels == 1, disks.mask(1))
    user.push("undo")
    np.testing.assert_array_equal(user.labels == 1, disks.mask(0))


def test_without_live_nothing_happens_until_segment(open_desk, make_disks) -> None:
    disks = make_disks()
    user = open_desk(disks.image, is_awaited=False)
    user.push("live")
    asked = len(user.model.planes)
    user.click(user.world(*disks.centres[0]))
    user.press("N")
    user.click(user.world(*disks.centres[1]))
    assert user.model.questions == []
    assert len(user.model.planes) == asked
    assert "Segment (S)" in user.status
    assert not user.preview_mask.any()

    user.press("S")
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))
    user.choose_object(1)
    assert len(user.model.questions) == 1
    user.push("segment")
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))


def test_saved_prompts_make_the_same_labels(
    open_desk, make_disks, fake_model, tmp_path
) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    for centre in disks.centres:
        user.click(user.world(*centre))
        user.push("commit")
    path = tmp_path / "prompts.json"
    user.widget.controller.file_actions.save_prompts(str(path), "tiny")
    assert "saved" in user.status
    labels = segment_document(fake_model, disks.image, read_prompts(path))
    np.testing.assert_array_equal(labels, user.labels)

    user.widget.controller.file_actions.save_prompts(str(tmp_path / "none" / "p.json"), "tiny")
    assert "cannot be written" in user.notifications[-1]


def test_a_click_is_answered_while_the_button_is_down(open_plugin, make_disks) -> None:
    disks = make_disks()
    user = open_plugin(disks.image)
    user.press_button(user.world(*disks.centres[0]))
    user.wait_idle()
    assert len(user.model.questions) == 1
    assert not user.preview_mask.any()
    assert len(user.points.data) == 0

    user.release_button(user.world(*disks.centres[0]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))  # without waiting
    user.wait_idle()
    assert len(user.model.questions) == 1

    user.press("C")
    user.click(user.world(*disks.centres[1]))
    assert len(user.model.questions) == 2  # asked in the same words, sizes included


def test_a_button_that_goes_up_elsewhere_is_no_click(open_plugin, make_disks) -> None:
    disks = make_disks()
    user = open_plugin(disks.image)
    user.drag(user.world(*disks.centres[0]), user.world(30, 40))
    assert not user.preview_mask.any()
    assert user.session.prompts.of_current == {}
    user.click(user.world(*disks.centres[1]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))


def test_a_button_that_goes_down_outside_asks_nothing(open_plugin, make_disks) -> None:
    user = open_plugin(make_disks().image)
    user.press_button(user.world(-3, 10))
    user.wait_idle()
    assert user.model.questions == []


def test_the_model_looks_closer_where_the_pointer_rests(
    open_plugin, make_disks, fake_model
) -> None:
    disks = make_disks()
    fake_model.looks_closer = True
    user = open_plugin(disks.image)
    expected = fake_model.expected

    def is_expected(point: list[int]) -> bool:
        return bool(expected) and np.allclose(expected[-1].points_yx, [point], atol=0.5)

    for point in ([20, 24], [40, 58]):
        user.qtbot.mouseMove(user.canvas, user.pixel(user.world(*point)))
        user.wait_for(lambda point=point: is_expected(point))
    user.wait_idle()
    assert fake_model.questions == []
    assert not user.preview_mask.any()
    assert len(fake_model.planes) == 1

    with user.qtbot.waitSignal(user.widget.controller._pointer._timer.timeout):
        user.qtbot.mouseMove(user.canvas, user.pixel(user.world(-3, 10)))
    user.wait_idle()
    assert is_expected([40, 58])


@pytest.mark.parametrize("ground", [0.0, 0.5, 1.0])
def test_a_click_shows_on_every_ground(open_plugin, ground: float) -> None:
    """By its colour on dark images, and by its dark border on light ones."""
    user = open_plugin(np.full((60, 80), ground), contrast_limits=(0, 1))
    user.preview.visible = False
    before = user.viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    user.click(user.world(30, 40))
    user.preview.visible = False
    after = user.viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    is_changed = np.abs(after - before).max(axis=-1) > 64
    assert is_changed.sum() > 50
    brightness = after[is_changed].mean(axis=-1)
    assert brightness.max() > 70
    assert (brightness.min() < 30) == (ground > 0)


def test_prompts_are_read_once_for_each_edit(open_desk, make_disks) -> None:
    user = open_desk(make_disks().image)
    reads = []
    user.job.layers.edits.edited.connect(lambda: reads.append(len(user.points.data)))
    user.click(20, 24)
    user.click(40, 58)
    assert reads == [1, 2]
    for label in ("negative", "positive"):
        user.points.features = user.points.features.assign(label=label)
    assert reads == [1, 2, 2, 2]
    user.points.remove([0])
    assert reads == [1, 2, 2, 2, 1]
