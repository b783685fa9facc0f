"""Planes of lazy arrays are read once, until the layer is refreshed or its data replaced."""

import numpy as np
import pytest
import zarr

from napari_promptable.fields import Field
from napari_promptable.plane_source import PlaneSource

pytestmark = pytest.mark.gui

CENTRES = [(0, 20, 24), (1, 40, 58)]


@pytest.fixture
def reads(monkeypatch) -> list:
    """Planes that the plugin has read, newest last."""
    planes = []
    read = PlaneSource.read

    def note(source: PlaneSource, index: tuple, field: Field | None = None) -> np.ndarray:
        planes.append(index)
        return read(source, index, field)

    monkeypatch.setattr(PlaneSource, "read", note)
    return planes


@pytest.fixture
def stack(make_disks, tmp_path) -> zarr.Array:
    image = make_disks((2, 60, 80), CENTRES).image
    array = zarr.create_array(tmp_path / "stack.zarr", shape=image.shape, dtype=image.dtype)
    array[:] = image
    return array


def show(desk, position: int) -> None:
    desk.viewer.dims.set_current_step(0, position)
    desk.wait_idle()


def click(desk, row: float, column: float) -> None:
    desk.click(*desk.viewer.dims.current_step[:-2], row, column)


def test_many_clicks_read_a_plane_once(make_desk, fake_model, stack, reads) -> None:
    desk = make_desk(stack)
    desk.open()
    show(desk, 0)
    encoded = len(fake_model.planes)
    for column in (22, 24, 26):
        click(desk, 20, column)
    show(desk, 1)
    click(desk, 40, 58)
    show(desk, 0)
    click(desk, 21, 24)
    assert len(fake_model.questions) == 5
    assert sorted(reads) == [(0,), (1,)]
    assert len(fake_model.planes) == encoded == 2


def test_a_refresh_shows_what_changed_in_place(make_desk, fake_model, stack, reads) -> None:
    desk = make_desk(stack)
    desk.open()
    show(desk, 0)
    click(desk, 20, 24)
    before = len(reads)
    stack[0] = stack[0][:, ::-1]
    desk.image.refresh()
    click(desk, 20, 55)
    click(desk, 21, 55)
    assert reads[before:].count((0,)) == 1
    np.testing.assert_array_equal(fake_model.planes[-1][20, 55], fake_model.planes[-1].max())


def test_a_refresh_concerns_all_slices(make_desk, fake_model, stack, reads) -> None:
    desk = make_desk(stack)
    desk.open()
    show(desk, 0)
    stack[1] = 1 - stack[1][:]
    desk.image.refresh()
    before = len(reads)
    show(desk, 1)
    click(desk, 5, 5)
    assert reads[before:] == [(1,)]


def test_new_data_are_read(make_desk, fake_model, stack, reads, make_disks) -> None:
    desk = make_desk(stack)
    desk.open()
    show(desk, 0)
    click(desk, 20, 24)
    before = len(reads)
    desk.image.data = make_disks((2, 60, 80), CENTRES[::-1]).image * 2
    click(desk, 20, 24)
    assert (0,) in reads[before:]


def test_pixels_in_memory_are_compared_each_time(make_desk, fake_model, make_disks) -> None:
    image = make_disks((60, 80), [(20, 24)]).image
    desk = make_desk(image)
    desk.open()
    click(desk, 20, 24)
    image[:] = image[:, ::-1]
    click(desk, 20, 55)
    assert len(fake_model.planes) == 2
