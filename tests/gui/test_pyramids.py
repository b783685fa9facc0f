"""Large planes at several resolutions: labels, preview, and what the model is shown."""

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_promptable.gui.layers import labels_array
from napari_promptable.gui.layers.label_pyramid import LabelPyramid
from napari_promptable.gui.layers.labels_array import pyramid_steps
from napari_promptable.gui.layers.mask_pyramid import MaskPyramid
from napari_promptable.gui.layers.regions import visible_extent
from napari_promptable.masks import PackedMask
from napari_promptable.planes import PlaneAxes

pytestmark = pytest.mark.gui

PLANES = PlaneAxes((3, 41, 30), (1, 2))
STEPS = (1, 2, 4)


def level_shapes(planes: PlaneAxes) -> list[tuple[int, ...]]:
    return [
        tuple(-(-n // step) if i in planes.axes else n for i, n in enumerate(planes.shape))
        for step in STEPS
    ]


@st.composite
def extents(draw) -> tuple[slice, slice]:
    parts = []
    for length in PLANES.plane_shape:
        start = draw(st.integers(0, length - 1))
        parts.append(slice(start, draw(st.integers(start + 1, length))))
    return parts[0], parts[1]


@given(st.lists(st.tuples(st.integers(0, 2), extents()), max_size=4))
def test_all_resolutions_hold_the_same_labels(writes) -> None:
    levels = [np.zeros(shape, np.uint16) for shape in level_shapes(PLANES)]
    labels = LabelPyramid(levels)
    for number, (z, extent) in enumerate(writes, start=1):
        labels[PLANES.region((z,), *extent)] = number
    for step, level in zip(STEPS, levels, strict=True):
        np.testing.assert_array_equal(level, levels[0][:, ::step, ::step])


@given(extents(), extents(), st.integers(0, 2))
def test_any_part_of_a_mask_is_drawn_at_any_resolution(extent, part, z) -> None:
    mask = np.zeros(PLANES.plane_shape, bool)
    mask[extent] = True
    pyramid = MaskPyramid(PLANES, STEPS)
    pyramid.put((1,), PackedMask.pack(mask))
    for step, level, shape in zip(STEPS, pyramid.levels, level_shapes(PLANES), strict=True):
        assert level.shape == shape
        whole = np.asarray(level)
        np.testing.assert_array_equal(whole[1] > 0, mask[::step, ::step])
        assert not whole[[0, 2]].any()
        np.testing.assert_array_equal(level[z], whole[z])
        np.testing.assert_array_equal(level[(z, *part)], whole[(z, *part)])
        np.testing.assert_array_equal(level[(slice(0, 2), *part)], whole[(slice(0, 2), *part)])
    pyramid.put((1,), None)
    assert not np.asarray(pyramid.levels[0]).any()


def test_steps_halve_a_plane_until_it_is_small() -> None:
    assert pyramid_steps(PlaneAxes((100_000, 100_000), (0, 1))) == (1, 2, 4, 8, 16, 32, 64)
    assert pyramid_steps(PlaneAxes((9000, 2000), (0, 1))) == (1, 2, 4, 8)


@pytest.fixture
def pyramid(make_disks, monkeypatch):
    """Disks at full and half resolution, large enough for labels at several resolutions."""
    monkeypatch.setattr(labels_array, "_MAX_SHOWN_SIDE", 256)
    monkeypatch.setattr(labels_array, "_LEAST_SIDE", 128)
    disks = make_disks((300, 400), [(40, 48), (60, 300)])
    return disks, [disks.image, disks.image[::2, ::2], disks.image[::4, ::4]]


def test_the_loop_of_annotation_works_on_a_pyramid(open_plugin, pyramid, tmp_path) -> None:
    disks, levels = pyramid
    user = open_plugin(levels, multiscale=True)
    labels = user.objects
    assert labels.multiscale
    assert all(isinstance(level, zarr.Array) for level in labels.data)
    assert [level.shape for level in labels.data] == [(300, 400), (150, 200), (75, 100)]
    for number in range(2):
        user.click(user.world(*disks.centres[number]))
        shown = np.asarray(user.preview.data[0]) > 0
        np.testing.assert_array_equal(shown, disks.mask(number))
        user.press("C")
        assert not np.asarray(user.preview.data[0]).any()
    expected = disks.mask(0) + 2 * disks.mask(1)
    np.testing.assert_array_equal(labels.data[0][:], expected)
    np.testing.assert_array_equal(labels.data[1][:], expected[::2, ::2])
    user.push("undo")
    np.testing.assert_array_equal(labels.data[0][:], disks.mask(0))
    user.push("redo")
    user.widget.controller.file_actions.save_labels(tmp_path / "labels.npy")
    user.wait_for((tmp_path / "labels.npy").exists)
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), expected)
    user.widget.controller.autosave.save_now()
    user.viewer.layers.remove(labels)
    user.wait_for(lambda: user.control("restore_session").isVisible())
    user.push("restore_session")
    np.testing.assert_array_equal(user.objects.data[0][:], expected)
    np.testing.assert_array_equal(user.objects.data[2][:], expected[::4, ::4])
    assert user.widget.controller.performer.can_write()


def test_the_model_is_shown_the_level_that_fills_its_input(
    make_desk, make_disks, fake_model, monkeypatch
) -> None:
    monkeypatch.setattr("napari_promptable.gui.work.fields.INPUT_SIDE", 100)
    disks = make_disks((300, 400), [(40, 48), (60, 300)])
    levels = [disks.image, disks.image[::2, ::2], disks.image[::4, ::4]]
    desk = make_desk(levels, multiscale=True)
    desk.open()
    desk.image.corner_pixels = np.array([[0, 0], [299, 399]]) // 2**desk.image.data_level
    desk.widget.controller.field_actions.follow()
    desk.wait_idle()
    assert fake_model.planes[-1].shape[:2] == (75, 100)
    desk.click(40, 48)
    field = desk.job.session.prompts.of_current[()].field
    assert (field.step, field.height, field.width) == (4, 300, 400)
    np.testing.assert_allclose(fake_model.questions[-1].points_yx, [[9.625, 11.625]])
    preview = np.asarray(desk.job.layers.preview.data) > 0
    assert preview[40, 48]
    assert 40 < preview.sum() < 150


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_what_napari_loads_beyond_the_canvas_is_not_in_view(
    scale, make_desk, make_disks
) -> None:
    """napari loads whole chunks of a pyramid, and keeps them after zooming in."""
    disks = make_disks((3000, 4000), [(400, 480)])
    desk = make_desk([disks.image, disks.image[::2, ::2]], multiscale=True, scale=[scale] * 2)
    desk.open()
    desk.image.corner_pixels = np.array([[0, 0], [2047, 2047]]) // 2**desk.image.data_level
    viewer = desk.viewer
    if not hasattr(viewer, "canvas"):
        pytest.skip("this version of napari loads no more than the canvas shows")
    viewer.canvas.size = (300, 200)  # rows and columns on the screen
    viewer.scene.camera.zoom = 2.0 / scale
    viewer.scene.camera.center = (0, 1000 * scale, 900 * scale)
    extent = visible_extent(viewer, desk.image, desk.job.planes)
    np.testing.assert_allclose(extent, [925, 850, 1075, 950], atol=1)
    viewer.scene.camera.center = (0, 1000 * scale, 2040 * scale)
    extent = visible_extent(viewer, desk.image, desk.job.planes)
    np.testing.assert_allclose(extent, [925, 1990, 1075, 2047], atol=2)
