"""The model is shown what is in view, and prompts keep what they were answered on."""

import numpy as np
import pytest

from napari_promptable.fields import Field
from napari_promptable.files.prompts_json import read_prompts

pytestmark = pytest.mark.gui

SHAPE = (1200, 1000)
CENTRES = [(500, 400), (560, 470), (1100, 900)]


@pytest.fixture
def disks(make_disks):
    return make_disks(SHAPE, CENTRES)


@pytest.fixture
def desk(make_desk, disks, fake_model):
    desk = make_desk(disks.image)
    desk.open()
    look(desk, 0, 0, *np.subtract(SHAPE, 1))
    return desk


def look(desk, *extent: int) -> None:
    """Show this part: (top, left, bottom, right)."""
    desk.image.corner_pixels = np.reshape(extent, (2, 2))
    desk.widget.controller.field_actions.follow()
    desk.wait_idle()


def shown(desk) -> str:
    return desk.control("encoding_fold").text().partition("Encoding: ")[2]


NEAR = 420, 320, 620, 520
FIELD = Field(336, 240, 384, 384)


def test_zooming_in_shows_the_model_what_is_in_view(desk, disks, fake_model) -> None:
    assert fake_model.planes[-1].shape[:2] == SHAPE
    assert shown(desk) == "whole plane, 0.85×"
    look(desk, *NEAR)
    assert fake_model.planes[-1].shape[:2] == FIELD.shape
    bright = fake_model.planes[-1][..., 0] > 128
    np.testing.assert_array_equal(bright, disks.image[FIELD.extent] > 0.5)
    assert shown(desk) == "field of view, 2.7×"


def test_a_click_is_answered_in_the_field_and_committed_on_the_plane(
    desk, disks, fake_model, tmp_path
) -> None:
    look(desk, *NEAR)
    encoded = len(fake_model.planes)
    desk.click(*CENTRES[0])
    np.testing.assert_array_equal(
        fake_model.questions[-1].points_yx, [np.subtract(CENTRES[0], (FIELD.top, FIELD.left))]
    )
    assert len(fake_model.planes) == encoded, "it was encoded when the view rested"
    preview = np.asarray(desk.job.layers.preview.data) > 0
    np.testing.assert_array_equal(preview, disks.mask(0))
    desk.widget.controller.actions.commit()
    np.testing.assert_array_equal(desk.job.labels_layer.data == 1, disks.mask(0))
    desk.widget.controller.file_actions.save_prompts(tmp_path / "prompts.json", "tiny")
    document = read_prompts(tmp_path / "prompts.json")
    assert document.objects[1][()].field == FIELD


def test_an_object_keeps_its_field_until_prompts_leave_it(desk, disks) -> None:
    look(desk, *NEAR)
    desk.click(*CENTRES[0])
    look(desk, 0, 0, 1199, 999)
    desk.click(*CENTRES[1])
    prompts = desk.job.session.prompts
    assert prompts.of_current[()].field == FIELD
    desk.click(*CENTRES[2])
    assert prompts.of_current[()].field is None
    assert shown(desk).startswith("whole plane")


def test_the_switch_shows_the_whole_plane(desk, fake_model) -> None:
    look(desk, *NEAR)
    desk.click(*CENTRES[0])
    desk.control("whole_plane").setChecked(True)
    desk.wait_idle()
    assert desk.job.session.prompts.of_current[()].field is None
    np.testing.assert_array_equal(fake_model.questions[-1].points_yx, [CENTRES[0]])
    assert shown(desk).startswith("whole plane")
    desk.control("whole_plane").setChecked(False)
    desk.wait_idle()
    assert shown(desk).startswith("whole plane"), "the object stays with what answered it"
    desk.widget.controller.actions.new_object()
    desk.widget.controller.field_actions.follow()
    assert shown(desk).startswith("field of view")


def test_a_correction_of_a_committed_object_sees_it_in_a_field(desk, disks) -> None:
    look(desk, *NEAR)
    desk.click(*CENTRES[0])
    desk.widget.controller.actions.commit()
    desk.widget.controller.object_actions.pick((), np.array(CENTRES[0], float))
    desk.wait_idle()
    desk.job.session.prompts.assign({1: {}})
    desk.widget.controller.object_actions.pick((), np.array(CENTRES[0], float))
    prompts = desk.job.session.prompts.of_current[()]
    assert prompts.field == FIELD
    np.testing.assert_array_equal(prompts.mask, disks.mask(0)[FIELD.extent])


def test_a_model_that_magnifies_by_itself_sees_the_whole_plane(desk, fake_model) -> None:
    fake_model.looks_closer = True
    look(desk, *NEAR)
    assert fake_model.planes[-1].shape[:2] == SHAPE
    assert shown(desk).startswith("whole plane")
