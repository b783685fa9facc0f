import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_promptable.errors import ImageFormatError
from napari_promptable.transforms import (
    contrast_limits_of,
    image_to_model_xy,
    resize_rgb8,
    resized_shape,
    to_rgb8,
)

INTEGERS = [np.dtype(f"{kind}{size}") for kind in "ui" for size in (1, 2, 4, 8)]
FLOATS = [np.dtype(f"f{size}") for size in (2, 4, 8)]
SIDES = st.integers(1, 5000)


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS], ids=str)
def test_a_ramp_of_any_dtype_becomes_black_to_white(dtype: np.dtype) -> None:
    ramp = np.arange(101).reshape(1, 101).astype(dtype)
    rgb = to_rgb8(ramp, contrast_limits=(0, 100))
    assert (rgb.shape, rgb.dtype) == ((1, 101, 3), np.uint8)
    expected = 2.55 * np.arange(101)
    assert np.abs(rgb.astype(float) - expected[None, :, None]).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS], ids=str)
@pytest.mark.parametrize("byte_order", "<>")
def test_extreme_values_do_not_overflow(dtype: np.dtype, byte_order: str) -> None:
    dtype = dtype.newbyteorder(byte_order)
    info = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    low = 0 if dtype.str[1:] == "f8" else info.min  # their difference would be infinite
    image = np.array([[low, info.max]], dtype)
    assert to_rgb8(image)[..., 0].tolist() == [[0, 255]]


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2"])
@pytest.mark.parametrize("limits", [(0, 255), (17, 180), (-5.5, 70000.25)])
def test_many_pixels_get_the_contrast_of_few(dtype: str, limits: tuple[float, float]) -> None:
    highest = np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(0, highest, (300, 260), endpoint=True)
    image = image.astype(dtype)
    rows = [to_rgb8(row[None], limits) for row in image]
    np.testing.assert_array_equal(to_rgb8(image, limits), np.concatenate(rows))


def test_booleans_become_black_and_white() -> None:
    rgb = to_rgb8(np.array([[False, True], [True, True]]))
    assert rgb[..., 1].tolist() == [[0, 255], [255, 255]]


def test_nan_is_black_and_infinities_are_the_ends() -> None:
    image = np.array([[np.nan, np.inf, -np.inf, 1.0, 3.0, 2.0]])
    assert to_rgb8(image, (1, 3))[0, :, 0].tolist() == [0, 255, 0, 0, 255, 128]
    assert contrast_limits_of(image) == pytest.approx((1.01, 2.99))


@pytest.mark.parametrize("value", [0, 7, -3.5])
def test_a_constant_image_is_black(value: float) -> None:
    assert not to_rgb8(np.full((4, 5), value)).any()


def test_denormal_numbers_have_contrast_too() -> None:
    assert to_rgb8(np.array([[0, 5e-324]])).max() == 255


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (1500, 1500)])
def test_an_image_without_finite_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageFormatError, match=r"no finite pixel.*choose"):
        to_rgb8(np.full(shape, np.nan))


def test_finite_pixels_are_found_wherever_they_are() -> None:
    image = np.full((1500, 1500), np.nan)
    image[1, 1::2] = np.arange(750)
    assert contrast_limits_of(image) == pytest.approx((0.005 * 749, 0.995 * 749))


def test_a_hot_pixel_changes_nothing() -> None:
    image = np.random.default_rng(0).normal(100, 10, (1200, 1200))
    hot = image.copy()
    hot[600, 600] = 1e6
    assert contrast_limits_of(hot) == pytest.approx(contrast_limits_of(image), rel=1e-3)
    difference = to_rgb8(hot).astype(int) - to_rgb8(image)
    difference[600, 600] = 0
    assert np.abs(difference).max() <= 1


def test_a_few_bright_pixels_on_nothing_stay_visible() -> None:
    image = np.zeros((100, 100), np.uint16)
    image[50, 50] = 1000
    assert contrast_limits_of(image) == (0, 1000)
    assert to_rgb8(image)[50, 50, 0] == 255


@pytest.mark.parametrize("channel", range(3))
@pytest.mark.parametrize("side", [300, 1024, 1500])
def test_limits_look_at_every_channel(channel: int, side: int) -> None:
    image = np.zeros((side, side, 3), np.float32)
    image[..., channel] = np.linspace(0, 1, side)
    low, high = contrast_limits_of(image)
    assert low == 0
    assert high == pytest.approx(0.985, abs=3e-3)  # percentile 99.5 of three channels


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint32, np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements={"allow_nan": False, "min_value": 0, "max_value": 255},
    )
)
def test_brighter_pixels_never_become_darker(image: np.ndarray) -> None:
    levels = to_rgb8(image)[..., 0].ravel()
    assert (np.diff(levels[np.argsort(image, axis=None)].astype(int)) >= 0).all()


@given(
    hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6).map(lambda shape: (*shape, 3)),
    )
)
def test_8_bit_rgb_with_full_limits_is_passed_on(image: np.ndarray) -> None:
    for limits in ((0, 255), (0.0, 255.0), [0, 255]):
        assert np.array_equal(to_rgb8(image, limits), image)  # type: ignore[arg-type]


def test_8_bit_grey_with_full_limits_is_repeated() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rgb = to_rgb8(image, (0, 255))
    assert all(np.array_equal(rgb[..., channel], image) for channel in range(3))
    assert rgb.flags.c_contiguous
    assert rgb.flags.writeable


def test_alpha_is_left_out() -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (5, 6, 4), np.uint8)
    assert np.array_equal(to_rgb8(rgba), to_rgb8(rgba[..., :3]))
    assert np.array_equal(to_rgb8(rgba, (0, 255)), rgba[..., :3])


def test_limits_hold_for_all_channels_together() -> None:
    image = np.zeros((1, 2, 3))
    image[0, 1] = (10, 5, 0)
    assert to_rgb8(image, (0, 10))[0, 1].tolist() == [255, 128, 0]


@pytest.mark.parametrize(
    "shape", [(5,), (), (3, 5, 5, 3), (5, 5, 2), (5, 5, 5), (0, 5), (5, 0, 3)], ids=str
)
def test_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageFormatError) as raised:
        to_rgb8(np.zeros(shape))
    message = str(raised.value)
    assert str(shape) in message
    assert "(H, W, 3)" in message
    assert "choose one slice" in message


@pytest.mark.parametrize("dtype", ["c8", "U1", "O", "M8[s]"])
def test_a_wrong_dtype_is_refused(dtype: str) -> None:
    with pytest.raises(ImageFormatError) as raised:
        to_rgb8(np.zeros((4, 4)).astype(dtype))
    message = str(raised.value)
    assert str(np.dtype(dtype)) in message
    assert "allowed are" in message
    assert "convert it first" in message


@pytest.mark.parametrize(
    "limits", [(1, 1), (2, 1), (0, np.inf), (np.nan, 1), (0, 1, 2), (None, 1), ("a", "b"), 5]
)
def test_wrong_limits_are_refused(limits: object) -> None:
    with pytest.raises(ImageFormatError, match="two finite increasing numbers"):
        to_rgb8(np.zeros((4, 4)), limits)  # type: ignore[arg-type]


@given(height=SIDES, width=SIDES, longest_side=st.sampled_from([64, 256, 512, 1024]))
def test_resized_shape_is_the_formula_of_sam(
    height: int, width: int, longest_side: int
) -> None:
    scale = longest_side * 1.0 / max(height, width)
    expected = max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)
    found = resized_shape((height, width), longest_side)
    assert found == expected
    assert max(found) == longest_side


@given(
    size=st.tuples(SIDES, SIDES),
    points=hnp.arrays(np.float32, (5, 2), elements=st.floats(-10, 5000, width=32)),
)
def test_positions_scale_like_the_sides_and_are_flipped(
    size: tuple[int, int], points: np.ndarray
) -> None:
    input_size = resized_shape(size, 1024)
    found = image_to_model_xy(points, size, input_size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], points[:, 1] * (input_size[1] / size[1]), rtol=1e-6)
    np.testing.assert_allclose(found[:, 1], points[:, 0] * (input_size[0] / size[0]), rtol=1e-6)


def test_resize_gives_the_shape_asked_for_and_averages() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, ::2] = 200
    resized = resize_rgb8(image, (10, 15))
    assert (resized.shape, resized.dtype) == ((10, 15, 3), np.uint8)
    assert np.abs(resized[:, 1:-1].astype(int) - 100).max() <= 10  # antialiased
