"""Opening the widget: what a person finds, and the first click."""

import numpy as np
import pytest

pytestmark = pytest.mark.gui


def test_opened_on_an_image_it_waits_for_the_first_click(open_plugin, make_disks) -> None:
    disks = make_disks()
    user = open_plugin(disks.image, scale=(2, 2), translate=(5, 7), rotate=20)
    assert user.layer_names == ["image", "objects", "preview", "prompt boxes", "prompt points"]
    for layer in user.viewer.layers:
        np.testing.assert_allclose(layer.data_to_world((3, 4)), user.world(3, 4))
    assert user.control("tool_positive").isChecked()
    assert user.viewer.layers.selection.active == user.points
    assert user.points.mode == "add"
    assert user.status == "Click inside an object, or drag a box."
    assert len(user.model.planes) == 1  # the plane in view is encoded ahead of the click
    assert not user.control("commit").isEnabled()

    user.click(user.world(*disks.centres[0]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    assert [button.text() for button in user.candidates] == ["0.60", "0.90", "0.70"]
    assert user.chosen_candidate == 1
    assert "Commit (C)" in user.status
    assert user.control("commit").isEnabled()
    assert not user.labels.any()


def test_opened_without_an_image_it_names_the_samples(open_plugin, make_disks) -> None:
    user = open_plugin()
    assert "Open Sample" in user.status
    assert user.layer_names == []

    disks = make_disks()
    user.image = user.viewer.add_image(disks.image)
    user.wait_for(lambda: user.session is not None)
    user.wait_idle()
    assert user.layer_names[1:] == ["objects", "preview", "prompt boxes", "prompt points"]
    assert user.viewer.layers.selection.active == user.points
    user.click(user.world(*disks.centres[1]))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))
