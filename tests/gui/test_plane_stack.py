"""An array that holds planes behaves like one that holds everything."""

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_promptable.gui.layers.plane_stack import PlaneStack
from napari_promptable.planes import PlaneAxes

SHAPE = (4, 6, 5)
HUGE = PlaneAxes((10**6, 4096, 4096), (1, 2))


def parts(length: int) -> st.SearchStrategy:
    return st.integers(-length, length - 1) | st.slices(length)


@given(st.tuples(*map(parts, SHAPE)), st.sampled_from([(0, 1), (0, 2), (1, 2)]))
def test_reads_as_numpy_does(region, axes) -> None:
    planes = PlaneAxes(SHAPE, axes)
    stack, expected = PlaneStack(planes), np.zeros(SHAPE, np.uint8)
    for index in ((0,), (2,)):
        part = planes.region(index, slice(1, 3), slice(0, 2))
        stack[part] = expected[part] = index[0] + 1
    np.testing.assert_array_equal(stack[region], expected[region])
    np.testing.assert_array_equal(stack, expected)


@pytest.mark.parametrize("region", [(2,), (2, ...), (..., 3), (..., slice(1, 4)), (slice(2),)])
def test_fewer_parts_than_axes(region) -> None:
    stack, expected = PlaneStack(PlaneAxes(SHAPE, (1, 2))), np.zeros(SHAPE, np.uint8)
    stack[2, 1:4, 3] = expected[2, 1:4, 3] = 7
    np.testing.assert_array_equal(stack[region], expected[region])


def test_a_position_outside_is_refused() -> None:
    with pytest.raises(IndexError):
        PlaneStack(HUGE)[10**6, 0, 0]


def test_a_view_shows_what_is_written_later() -> None:
    stack = PlaneStack(HUGE)
    view = np.asarray(stack[7])
    stack[7, 3:5, 2:9] = 1
    assert view.sum() == 14


def test_planes_are_freed_when_nothing_shows_them() -> None:
    stack = PlaneStack(HUGE)
    view = stack[3]
    stack[7, :2, :2] = 1
    stack[7, :2, :2] = 0
    stack.drop((7,))
    assert list(stack._read) == [(3,)]
    del view
    gc.collect()
    assert not stack._read
    assert not stack._written
