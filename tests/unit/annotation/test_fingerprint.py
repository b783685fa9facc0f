"""Fingerprints tell images apart by their pixels, lazy ones by a few blocks."""

import dask.array as da
import numpy as np
import pytest

from napari_promptable.annotation.fingerprint import fingerprint_of
from napari_promptable.planes import PlaneAxes

PLANES = PlaneAxes((5, 300, 400), (1, 2))


@pytest.fixture
def stack() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2**16, PLANES.shape, np.uint16)


def test_any_pixel_counts_in_memory(stack) -> None:
    expected = fingerprint_of(stack, PLANES)
    assert fingerprint_of(stack.copy(), PLANES) == expected
    assert fingerprint_of(np.asfortranarray(stack), PLANES) == expected
    stack[3, 100, 17] += 1
    assert fingerprint_of(stack, PLANES) != expected


def test_shape_and_dtype_count() -> None:
    zeros = np.zeros((20, 20), np.uint16)
    planes = PlaneAxes((20, 20), (0, 1))
    found = {fingerprint_of(zeros.astype(dtype), planes) for dtype in ("u1", "u2", "i2")}
    assert len(found) == 3


def test_few_blocks_of_lazy_images_are_read(stack) -> None:
    read = []

    def load(block, block_info=None):
        read.append(block_info[0]["chunk-location"])
        return block

    lazy = da.from_array(stack, chunks=(1, 100, 100)).map_blocks(load, dtype=stack.dtype)
    read.clear()
    first = fingerprint_of(lazy, PLANES)
    assert len(set(read)) < 40, "of 60 chunks"
    assert {location[0] for location in read} == {0, 2, 4}
    assert fingerprint_of(da.from_array(stack, chunks=(1, 300, 400)), PLANES) == first
    stack[2, 150, 200] += 1
    assert fingerprint_of(da.from_array(stack, chunks=(5, 300, 400)), PLANES) != first


def test_an_rgb_axis_may_follow(stack) -> None:
    rgb = np.stack([stack] * 3, axis=-1)
    lazy = da.from_array(rgb, chunks=(1, 300, 400, 3))
    assert fingerprint_of(lazy, PLANES) != fingerprint_of(da.from_array(stack), PLANES)
