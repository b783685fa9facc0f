import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_promptable.annotation.blocks import SIDE, Block, blocks_of
from napari_promptable.planes import PlaneAxes

LARGE = PlaneAxes((3, 2500, 3100), (1, 2))


@st.composite
def extents(draw) -> tuple[slice, slice]:
    starts = [draw(st.integers(0, n - 1)) for n in LARGE.plane_shape]
    stops = [
        draw(st.integers(a + 1, n)) for a, n in zip(starts, LARGE.plane_shape, strict=True)
    ]
    return slice(starts[0], stops[0]), slice(starts[1], stops[1])


@given(extents())
def test_blocks_hold_the_part_and_nothing_far_from_it(extent) -> None:
    is_covered = np.zeros(LARGE.plane_shape, bool)
    for block in blocks_of(LARGE, (1,), *extent):
        index, rows, columns = block.region(LARGE)
        assert index == 1
        is_covered[rows, columns] = True
        assert rows.start < extent[0].stop
        assert rows.start + SIDE > extent[0].start
    assert is_covered[extent].all()


def test_all_blocks_of_a_plane_cover_it_once() -> None:
    count = np.zeros(LARGE.plane_shape, int)
    for block in blocks_of(LARGE, (0,)):
        count[block.region(LARGE)[1:]] += 1
    assert (count == 1).all()


@pytest.mark.parametrize("side", [1, 512, 2048])
def test_a_small_plane_is_one_block(side) -> None:
    planes = PlaneAxes((4, side, side), (1, 2))
    assert list(blocks_of(planes, (3,), slice(0, 1), slice(0, 1))) == [Block((3,))]
