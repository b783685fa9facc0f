import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_promptable.errors import ImageFormatError
from napari_promptable.planes import Channel, Index, PlaneAxes, SliceLine, read_plane
from napari_promptable.transforms import to_rgb8


@st.composite
def cuts(draw: st.DrawFn) -> tuple[PlaneAxes, Index]:
    """An array of two to five dimensions, two of its axes and one of its planes."""
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=2, max_size=5)))
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=2, max_size=2, unique=True))
    planes = PlaneAxes(shape, (min(axes), max(axes)))
    index = tuple(draw(st.integers(0, shape[axis] - 1)) for axis in planes.other_axes)
    return planes, index


STACK_PLANES = PlaneAxes((4, 20, 30), (1, 2))
POINTS = st.lists(st.tuples(st.floats(-5, 5000, width=32), st.floats(-5, 5000, width=32)))


@given(cut=cuts(), points=POINTS)
def test_split_undoes_join(
    cut: tuple[PlaneAxes, Index], points: list[tuple[float, float]]
) -> None:
    planes, index = cut
    points_yx = np.array(points, np.float32).reshape(-1, 2)
    positions = planes.join(index, points_yx)
    assert positions.shape == (len(points), len(planes.shape))
    indices, found = planes.split(positions)
    assert indices == [index] * len(points)
    assert np.array_equal(found, points_yx)


@given(cut=cuts(), offset=st.floats(-0.49, 0.49))
def test_split_takes_the_nearest_plane(cut: tuple[PlaneAxes, Index], offset: float) -> None:
    planes, index = cut
    positions = planes.join(index, np.array([[1.25, 2.5]])).astype(float)
    positions[:, list(planes.other_axes)] += offset
    indices, points_yx = planes.split(positions)
    assert indices == [index]
    assert points_yx.tolist() == [[1.25, 2.5]]
    assert all(type(i) is int for i in indices[0])


@given(cuts())
def test_region_is_the_plane(cut: tuple[PlaneAxes, Index]) -> None:
    planes, index = cut
    array = np.arange(np.prod(planes.shape)).reshape(planes.shape)
    plane = array[planes.region(index)]
    assert plane.shape == planes.plane_shape
    expected = np.moveaxis(array, planes.axes, (-2, -1))[index]
    assert np.array_equal(plane, expected)
    rows, columns = slice(1, 3), slice(0, 2)
    assert np.array_equal(array[planes.region(index, rows, columns)], expected[rows, columns])


@given(cuts())
def test_contains_the_planes_there_are(cut: tuple[PlaneAxes, Index]) -> None:
    planes, index = cut
    assert planes.contains(index)
    for number, axis in enumerate(planes.other_axes):
        for position in (-1, planes.shape[axis]):
            outside = (*index[:number], position, *index[number + 1 :])
            assert not planes.contains(outside)


def test_an_index_of_the_wrong_length_is_refused() -> None:
    planes = PlaneAxes((4, 5, 6), (1, 2))
    for wrong in ((), (1, 2)):
        with pytest.raises(ValueError, match="zip"):
            planes.region(wrong)


def test_read_plane_reads_one_plane_only() -> None:
    class Array:
        shape = (4, 20, 30, 3)
        asked = ()

        def __getitem__(self, region):
            self.asked = (*self.asked, region)
            return np.arange(20 * 30).reshape(20, 30)

    array = Array()
    everything = slice(None)
    plane = read_plane(array, STACK_PLANES, (2,), Channel(3, (1,)))
    assert array.asked == ((2, everything, everything, 1),)
    np.testing.assert_array_equal(plane, np.arange(600).reshape(20, 30))


def test_read_plane_takes_the_channel_that_is_asked_for() -> None:
    stack = np.random.default_rng(0).integers(0, 9, (3, 4, 20, 30))
    planes = PlaneAxes(stack.shape, (2, 3))
    np.testing.assert_array_equal(read_plane(stack, planes, (0, 3), None), stack[0, 3])
    np.testing.assert_array_equal(
        read_plane(stack, planes, (0, 3), Channel(0, (2,))), stack[2, 3]
    )


@pytest.mark.parametrize(("shape", "index"), [((4, 20, 31), (2,)), ((4, 20, 30), (4,))])
def test_read_plane_refuses_what_is_not_there(shape, index) -> None:
    with pytest.raises(ImageFormatError, match="choose the image again"):
        read_plane(np.zeros(shape), STACK_PLANES, index, None)


def test_three_channels_become_rgb_each_at_its_own_contrast() -> None:
    stack = np.random.default_rng(0).integers(0, 99, (4, 20, 30)).astype(np.uint16)
    stack[2] *= 100
    planes = PlaneAxes(stack.shape, (1, 2))
    rgb = read_plane(stack, planes, (0,), Channel(0, (1, 2)))
    assert rgb.shape == (20, 30, 3)
    np.testing.assert_array_equal(rgb[..., 1], to_rgb8(stack[2])[..., 0])
    assert abs(rgb[..., 0].mean() - rgb[..., 1].mean()) < 20
    assert not rgb[..., 2].any()


def test_a_channel_as_plain_values() -> None:
    channel = Channel(0, (1, 2))
    assert Channel.from_plain(channel.to_plain()) == channel
    assert Channel.from_plain(None) is None


@pytest.mark.parametrize(
    ("shape", "spatial", "axes"),
    [
        ((6, 8), (6, 8), (0, 1)),
        ((6, 8, 3), (6, 8), (0, 1)),
        ((5, 6, 8), (5, 6, 8), (1, 2)),
        ((2, 5, 6, 8, 4), (2, 5, 6, 8), (2, 3)),
        ((7, 3), (7, 3), (0, 1)),
    ],
)
def test_an_image_is_cut_along_its_last_axes(shape, spatial, axes) -> None:
    assert PlaneAxes.of_image(shape) == PlaneAxes(spatial, axes)


def test_all_planes_are_listed() -> None:
    assert list(PlaneAxes((2, 3, 6, 8), (2, 3)).indices()) == list(np.ndindex(2, 3))
    assert list(PlaneAxes((2, 3, 4), (0, 2)).indices()) == [(0,), (1,), (2,)]
    assert list(PlaneAxes((6, 8), (0, 1)).indices()) == [()]


@pytest.mark.parametrize("shape", [(), (6,), (0, 5, 5), (5, 0, 3)])
def test_what_has_no_planes_is_refused(shape) -> None:
    with pytest.raises(ImageFormatError, match="two axes"):
        PlaneAxes.of_image(shape)


def test_neighbours_lie_next_to_a_plane_on_each_axis() -> None:
    planes = PlaneAxes((3, 8, 2, 9), (1, 3))
    assert list(planes.neighbours((0, 1))) == [(1, 1), (0, 0)]
    assert list(planes.neighbours((1, 0))) == [(2, 0), (0, 0), (1, 1)]
    assert list(PlaneAxes((8, 9), (0, 1)).neighbours(())) == []


def test_a_line_is_known_by_the_other_axes() -> None:
    planes = PlaneAxes((5, 4, 3, 8, 9), (3, 4))
    for place in range(3):
        line = SliceLine.through(planes, place, (4, 3, 2))
        assert SliceLine.from_others(planes, place, line.others) == line


def test_a_region_knows_its_plane_and_corner() -> None:
    planes = PlaneAxes((5, 8, 4, 9), (1, 3))
    region = planes.region((4, 2), slice(3, 5), slice(6, 9))
    assert planes.index_of(region) == (4, 2)
    assert planes.corner_of(region) == (3, 6)
    assert planes.corner_of(planes.region((0, 0))) == (0, 0)
