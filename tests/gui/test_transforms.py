"""A click lands on the right pixel wherever the image lies in the world."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_promptable.transforms import to_rgb8

pytestmark = pytest.mark.gui

AFFINE = np.array([[1.5, 0.4, 20], [-0.3, 0.8, -7], [0, 0, 1]])


def commit_disk(user, disks, number: int) -> None:
    user.click(user.world(*disks.centres[number]))
    user.press("C")
    np.testing.assert_array_equal(user.labels > 0, disks.mask(number))


@pytest.mark.parametrize(
    "transform",
    [
        pytest.param({"scale": (0.2, 0.5)}, id="anisotropic"),
        pytest.param({"translate": (1000, -300.5)}, id="translated"),
        pytest.param({"rotate": 35, "scale": (2, 2)}, id="rotated"),
        pytest.param({"shear": [0.4]}, id="sheared"),
        pytest.param({"affine": AFFINE, "scale": (2, 1), "rotate": -70}, id="affine"),
        pytest.param({"scale": (-1, 1)}, id="mirrored"),
    ],
)
def test_click_through_transform(transform, open_plugin, make_disks) -> None:
    disks = make_disks()
    user = open_plugin(disks.image, **transform)
    commit_disk(user, disks, 1)
    before = {name: np.array(getattr(user.image, name)) for name in ("scale", "translate")}
    for name, value in before.items():
        np.testing.assert_allclose(getattr(user.objects, name), value)


def test_a_moved_image_takes_its_prompts_along(open_desk, make_disks) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    user.image.scale = (3, 2)
    user.image.translate = (50, 60)
    user.image.rotate = 15
    user.wait_idle()
    user.viewer.reset_view()
    for layer in (user.points, user.boxes, user.preview):
        np.testing.assert_allclose(layer.data_to_world((7, 9)), user.world(7, 9))
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
    assert len(user.model.questions) == 1
    user.press("C")
    user.click(user.world(*disks.centres[1]))
    user.press("C")
    np.testing.assert_array_equal(user.labels, disks.truth)


@pytest.mark.parametrize("commit_first", [False, True])
def test_our_labels_follow_their_image_and_others_stay(
    commit_first, open_desk, make_disks
) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    own = user.viewer.add_labels(np.zeros(disks.image.shape, int), name="of the user")
    if commit_first:
        user.click(user.world(*disks.centres[0]))
        user.press("C")
    user.image.scale = (0.2, 0.3)
    user.image.affine = [[0, 2, 5], [-2, 0, 7], [0, 0, 1]]
    user.image.units = ("um", "um")
    layers = (user.objects, user.points, user.boxes, user.preview)
    for layer in layers:
        np.testing.assert_allclose(layer.data_to_world((7, 9)), user.world(7, 9))
        assert layer.units == user.image.units
    np.testing.assert_allclose(own.data_to_world((7, 9)), (7, 9))
    labels = user.objects
    user.close()
    user.image.scale = (1, 1)
    np.testing.assert_allclose(labels.scale, (0.2, 0.3))


def set_scale(image) -> None:
    image.scale = np.arange(1, image.ndim + 1) / 5
    image.translate = np.arange(image.ndim) * 70


def set_rotation(image) -> None:
    image.rotate = 30 if image.ndim == 2 else (0, 0, 30)


def set_affine(image) -> None:
    order = [*range(image.ndim - 2), image.ndim - 1, image.ndim - 2, image.ndim]
    image.affine = np.eye(image.ndim + 1)[order] * 2


def set_units(image) -> None:
    image.units = ("um",) * image.ndim


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("stack", set_affine),
        ("stack", set_units),
        ("pyramid", set_rotation),
        ("pyramid", set_scale),
        ("pyramid of a stack", set_scale),
        ("pyramid of a stack", set_affine),
    ],
)
def test_all_layers_follow_an_image_of_any_kind(change, kind, open_desk, make_disks) -> None:
    disks = make_disks((61, 83))
    data = disks.image if kind == "pyramid" else np.stack([disks.image] * 3)
    levels = [data, data[..., ::3, ::3]] if "pyramid" in kind else data
    user = open_desk(levels, multiscale="pyramid" in kind)
    before = (0,) * (data.ndim - 2)

    def commit(number: int) -> None:
        user.click(user.world(*before, *disks.centres[number]))
        user.press("C")
        np.testing.assert_array_equal(user.labels[before] == number + 1, disks.mask(number))

    commit(0)
    change(user.image)
    user.viewer.dims.set_point(range(len(before)), user.world(*before, 0, 0)[: len(before)])
    place = (*before, 7, 9)
    for layer in (user.objects, user.points, user.boxes, user.preview):
        np.testing.assert_allclose(layer.data_to_world(place), user.image.data_to_world(place))
        assert layer.units == user.image.units
    commit(1)


def test_flat_image_in_a_viewer_of_stacks(open_desk, make_disks) -> None:
    disks = make_disks()

    def add_stack(viewer) -> None:
        viewer.add_image(np.zeros((4, 60, 80)), name="stack")
        viewer.layers.move(1, 0)

    user = open_desk(disks.image, before=add_stack, scale=(2, 2))
    assert user.viewer.dims.ndim == 3
    assert user.workspace.image is user.image
    commit_disk(user, disks, 0)


def test_rgb_and_its_channels(open_desk, make_disks) -> None:
    first, second = make_disks(centres=[(20, 24)]), make_disks(centres=[(40, 58)])
    rgb = np.full((60, 80, 3), 20, np.uint8)
    rgb[..., 0][first.mask(0)] = 250
    rgb[..., 1][second.mask(0)] = 250
    user = open_desk(rgb, rgb=True)
    assert user.model.planes[-1].shape == (60, 80, 3)
    assert user.objects.data.shape == (60, 80)
    commit_disk(user, first, 0)

    user.choose("channel", "green")
    np.testing.assert_array_equal(user.model.planes[-1], to_rgb8(rgb[..., 1]))
    user.click(user.world(*second.centres[0]))
    np.testing.assert_array_equal(user.preview_mask, second.mask(0))
    user.choose("channel", "all")
    assert user.model.questions[-1].points_yx.shape == (1, 2)
    assert len(user.model.questions) == 3
    assert user.preview_mask.any()


def test_the_model_sees_the_channel_that_is_chosen(open_desk, make_disks) -> None:
    disks = make_disks()
    channels = np.stack([np.zeros_like(disks.image), disks.image])
    user = open_desk(channels)  # channel 0, which is empty, is in view
    assert user.index() == (0,)
    user.choose("channel", "channel 2 of 2")
    user.click(user.on_plane(*disks.centres[0]))
    np.testing.assert_array_equal(user.model.planes[-1], to_rgb8(disks.image))
    user.push("commit")
    np.testing.assert_array_equal(user.labels[0] == 1, disks.mask(0))
    assert not user.labels[1].any()


def test_multiscale_image_is_read_at_full_resolution(open_desk, make_disks) -> None:
    disks = make_disks()
    user = open_desk([disks.image, disks.image[::2, ::2]], multiscale=True)
    assert user.model.planes[-1].shape == (*disks.image.shape, 3)
    commit_disk(user, disks, 1)


def test_click_into_the_window(open_plugin, make_disks) -> None:
    """The window gets the event as from the window system; Qt finds the canvas below it."""
    disks = make_disks()
    user = open_plugin(disks.image, scale=(2, 3), rotate=20)
    top = user.canvas.window()
    position = user.canvas.mapTo(top, user.pixel(user.world(*disks.centres[1])))
    QTest.mouseMove(top.windowHandle(), position)
    QTest.mouseClick(
        top.windowHandle(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, position
    )
    user.wait_for(lambda: user.preview_mask.any())
    np.testing.assert_array_equal(user.preview_mask, disks.mask(1))


def test_changed_pixels_are_encoded_and_answered_again(open_desk, make_disks) -> None:
    disks = make_disks()
    user = open_desk(disks.image)
    user.click(user.world(*disks.centres[0]))
    brighter = np.where(disks.image > 0.5, 0.9, 0.2)
    user.image.data = brighter
    user.wait_idle()
    np.testing.assert_array_equal(user.model.planes[-1], to_rgb8(brighter))
    assert len(user.model.questions) == 2
    np.testing.assert_array_equal(user.preview_mask, disks.mask(0))
