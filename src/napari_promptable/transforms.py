"""Intensities and coordinates, to the network and back (numpy only).

Frames: *image* pixels are (row, col) with pixel centres at integers; *model* pixels are
(x, y) of the resized image, the network's input. This module holds the only flip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_promptable.errors import ImageFormatError

CONTRAST_PERCENTILES = (0.5, 99.5)
"""Percentiles of the finite pixels that become black and white when no limits are given."""

_MAX_TABLE = 2**16  # values of an integer type for which contrast is computed once each
_MAX_SAMPLES = 1_000_000  # pixels that the percentiles of a large image are computed from


def contrast_limits_of(image: npt.NDArray[np.generic]) -> tuple[float, float]:
    """Find robust black and white levels.

    Parameters
    ----------
    image : ndarray, any shape and real dtype
        NaN and infinities are ignored.

    Returns
    -------
    low, high : float
        Percentiles 0.5 and 99.5 of the finite pixels, so that a hot pixel changes nothing; the
        extreme values if these two are equal. Large images are sampled: every n-th row and
        column, about a million values.

    Raises
    ------
    ImageFormatError
        If no pixel is finite.
    """
    step = sampling_step(image.size)
    values = _finite_values(image[(slice(None, None, step),) * min(image.ndim, 2)])
    if values.size == 0:
        values = _finite_values(image)
    if values.size == 0:
        raise ImageFormatError(
            f"no finite pixel in an image of shape {image.shape} and dtype {image.dtype}; "
            "choose a slice or channel that holds an image"
        )
    low, high = np.percentile(values, CONTRAST_PERCENTILES)
    if low == high:
        low, high = values.min(), values.max()
    return float(low), float(high)


def sampling_step(size: int) -> int:
    """Rows and columns from one to the next that contrast limits of `size` values look at."""
    return max(1, math.ceil(math.sqrt(size / _MAX_SAMPLES)))


def _finite_values(image: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Finite pixels in one dimension."""
    values = image.astype(np.float64)
    return values[np.isfinite(values)]


def to_rgb8(
    image: npt.ArrayLike, contrast_limits: tuple[float, float] | None = None
) -> npt.NDArray[np.uint8]:
    """Convert an image to 8-bit RGB.

    Parameters
    ----------
    image : array_like, shape (H, W), (H, W, 3) or (H, W, 4), any real dtype
        Grey, RGB or RGBA (alpha is ignored). NaN becomes black, infinities black or white.
    contrast_limits : (float, float), optional
        Values that become 0 and 255 in all channels; `contrast_limits_of` the image by
        default. An 8-bit image with limits (0, 255) stays unchanged.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        A constant image is black.

    Raises
    ------
    ImageFormatError
        If the shape or dtype is not as above, the image is empty or has no finite pixel, or
        the limits are not two finite increasing numbers.
    """
    image = _as_image(image)
    if contrast_limits is None:
        contrast_limits = contrast_limits_of(image)
    else:
        contrast_limits = _as_limits(contrast_limits)
    if image.dtype != np.uint8 or contrast_limits != (0, 255):
        image = _stretch(image, *contrast_limits)
    if image.ndim == 2:
        image = image[..., None]
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def stack_channels(channels: Sequence[npt.ArrayLike]) -> npt.NDArray[np.uint8]:
    """Show up to three channels as red, green and blue, each at its own contrast.

    Parameters
    ----------
    channels : sequence of array_like, each of shape (H, W), any real dtype
        One to three channels.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        A channel that is missing is black.

    Raises
    ------
    ImageFormatError
        As `to_rgb8`.
    """
    shown = [to_rgb8(channel)[..., 0] for channel in channels]
    black = [np.zeros_like(shown[0])] * (3 - len(shown))
    return np.stack([*shown, *black], axis=-1)


def _as_image(image: npt.ArrayLike) -> npt.NDArray[np.generic]:
    """Check shape and dtype, drop alpha."""
    array = np.asarray(image)
    is_grey = array.ndim == 2
    is_rgb = array.ndim == 3 and array.shape[2] in (3, 4)
    if not (is_grey or is_rgb) or 0 in array.shape:
        raise ImageFormatError(
            f"an image of shape {array.shape} was given; allowed are (H, W), (H, W, 3) and "
            "(H, W, 4), not empty: choose one slice of a stack, or one channel"
        )
    check_dtype(array.dtype)
    return array[..., :3] if is_rgb else array


def check_dtype(dtype: np.dtype[Any]) -> None:
    """Raise ImageFormatError for pixels that are no real numbers."""
    if dtype.kind not in "buif":
        raise ImageFormatError(
            f"an image of dtype {dtype} was given; allowed are booleans, integers and "
            "real floats: convert it first, for instance with numpy.abs"
        )


def _as_limits(contrast_limits: tuple[float, float]) -> tuple[float, float]:
    """Check and convert contrast limits."""
    try:
        low, high = map(float, contrast_limits)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ImageFormatError(
            f"contrast limits must be two finite increasing numbers, not {contrast_limits}"
        )
    return low, high


def _stretch(image: npt.NDArray[np.generic], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Map low..high to 0..255, rounded and clipped. Integers of many pixels go by a table."""
    num_values = 2 ** (8 * image.dtype.itemsize)
    if image.dtype.kind == "u" and num_values <= _MAX_TABLE < image.size:
        table = _stretch_values(np.arange(num_values).astype(image.dtype), low, high)
        if num_values > 256:
            return np.take(table, image.astype(np.intp))
        translated = image.tobytes().translate(table.tobytes())  # faster than take
        return np.frombuffer(translated, np.uint8).reshape(image.shape)
    return _stretch_values(image, low, high)


def _stretch_values(
    image: npt.NDArray[np.generic], low: float, high: float
) -> npt.NDArray[np.uint8]:
    """Compute what `_stretch` returns, value by value."""
    span = high - low if high > low else 1.0
    dtype = np.float32 if image.dtype.itemsize <= 2 else np.float64
    values: npt.NDArray[np.floating] = image.astype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        levels = 255 * ((values - low) / span)
    levels = np.nan_to_num(levels, nan=0.0, posinf=255.0, neginf=0.0)
    stretched: npt.NDArray[np.uint8] = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return stretched


def resized_shape(shape: tuple[int, int], longest_side: int) -> tuple[int, int]:
    """Height and width after resizing the longest side, rounded as SAM does."""
    scale = longest_side / max(shape)
    height, width = (int(n * scale + 0.5) for n in shape)
    return max(height, 1), max(width, 1)


def resize_rgb8(image: npt.NDArray[np.uint8], shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Resize with antialiased bilinear interpolation, as the reference implementation does.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        RGB image.
    shape : (int, int)
        New height and width.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        Resized image.
    """
    height, width = shape
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def image_to_model_xy(
    points_yx: npt.NDArray[np.floating],
    original_size: tuple[int, int],
    input_size: tuple[int, int],
) -> npt.NDArray[np.float32]:
    """Convert positions from image pixels to model pixels.

    Parameters
    ----------
    points_yx : ndarray, shape (..., 2)
        (row, col) in image pixels.
    original_size, input_size : (int, int)
        Height and width of the image before and after resizing.

    Returns
    -------
    ndarray of float32, shape (..., 2)
        (x, y) in model pixels, scaled about the centre of the first pixel as SAM does.
    """
    scale_yx = np.array(input_size, float) / np.array(original_size, float)
    points = np.asarray(points_yx, float) * scale_yx
    points_xy: npt.NDArray[np.float32] = points[..., ::-1].astype(np.float32)
    return points_xy
