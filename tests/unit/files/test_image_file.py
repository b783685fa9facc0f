"""Views of a file: its channels, and the view that prompts were made on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_promptable.errors import ImageFormatError, PromptError
from napari_promptable.files.image_file import ImageFile, describe_array
from napari_promptable.files.lazy_view import LazyView

NAMES = ("DAPI", "GFP")


@pytest.fixture
def field() -> ImageFile:
    """Two channels of a stack with one time point."""
    pixels = np.arange(2 * 3 * 40 * 50).reshape(1, 2, 3, 40, 50)
    return describe_array(pixels, "TCZYX", "field.tif", channel_names=NAMES)


@pytest.mark.parametrize(
    ("shape", "name", "channel", "expected"),
    [
        ((1, 2, 3, 40, 50), "GFP", None, ()),
        ((2, 3, 40, 50), "field", None, (0,)),
        ((1, 3, 40, 50), "GFP", None, (slice(None), 1)),
        ((3, 40, 50), "field", None, (0, 0)),
        ((3, 40, 50), "GFP", None, (0, 1)),
        ((3, 40, 50), "field - GFP", None, (0, 1)),
        ((3, 40, 50), "field [1]", None, (0, 1)),
        ((3, 40, 50), "GFP", 0, (0, 0)),
    ],
)
def test_the_view_of_the_prompts_is_found(
    field: ImageFile, shape: tuple, name: str, channel: int | None, expected: tuple
) -> None:
    view = field.fitted(shape, name, channel)
    assert view.shape == shape
    assert np.array_equal(view.data, field.data[expected])
    assert ("using channel" in view.sentence) == (len(view.axes.replace("T", "")) == 3)


@pytest.mark.parametrize("shape", [(40, 50), (3, 50, 40), (2, 3, 2, 40, 50)])
def test_another_image_is_refused(field: ImageFile, shape: tuple) -> None:
    with pytest.raises(PromptError, match=r"for an image of shape .* field\.tif has .*--axes"):
        field.fitted(shape)


@pytest.mark.parametrize("channel", [-1, 2])
def test_an_unknown_channel_is_refused(field: ImageFile, channel: int) -> None:
    with pytest.raises(ImageFormatError, match=r"read as TCZYX and has channels 0 to 1"):
        field.at_channel(channel)


def test_rgb_counts_as_no_channel() -> None:
    image = describe_array(np.zeros((3, 40, 50, 3)), "ZYXS", "colours.tif")
    assert image.fitted((3, 40, 50)) is image
    assert image.planes.region((1,)) == (1, slice(None), slice(None))
    with pytest.raises(ImageFormatError, match="has channels 0 to 0"):
        image.at_channel(1)


def test_planes_lie_along_rows_and_columns() -> None:
    assert describe_array(np.zeros((4, 5, 6)), "YXZ", "a.npy").planes.axes == (0, 1)
    assert describe_array(np.zeros((4, 5, 6)), "YZX", "a.npy").planes.axes == (0, 2)


INDICES: list[Any] = [
    (),
    1,
    (1, 2),
    (slice(1, 3), 0),
    (0, slice(None), 2),
    (slice(None), 1, 2, 0),
]


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("axis", range(4))
def test_lazy_views_are_indexed_as_arrays(axis: int, index: Any, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 99, (3, 4, 5, 6))
    lazy = zarr.create_array(tmp_path / "a.zarr", data=pixels)
    moved, expected = LazyView(lazy, axis, None), np.moveaxis(pixels, axis, -1)
    assert (moved.shape, moved.ndim, moved.dtype) == (expected.shape, 4, expected.dtype)
    assert np.array_equal(moved[index], expected[index])
    if not isinstance(index, tuple) or len(index) < 4:
        fixed, expected = LazyView(lazy, axis, 2), np.take(pixels, 2, axis)
        assert fixed.shape == expected.shape
        assert np.array_equal(fixed[index], expected[index])
    assert np.array_equal(np.asarray(moved, float), np.moveaxis(pixels, axis, -1))
