"""Names of image axes: one letter each, T C Z Y X, and S for the samples of an RGB image."""

from __future__ import annotations

from napari_promptable.errors import ImageFormatError

CHANNEL, SAMPLES = "C", "S"

UNIT_SYMBOLS = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "second": "s"}
"""Units as OME-Zarr writes them, and as this package does."""

UNIT_WORDS = {symbol: word for word, symbol in UNIT_SYMBOLS.items()}
"""The other way round."""

_NAMES = "FEDBATZYX"  # of unnamed axes; the last ones belong to the last axes
MAX_AXES = len(_NAMES)
_MIN_RGB_SIDE = 31  # pixels; napari takes smaller (Y, X, 3) arrays for stacks


def guess_axes(shape: tuple[int, ...]) -> str:
    """Name the axes of an array that comes without names, as napari would show it.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array; 2 to `MAX_AXES` axes.

    Returns
    -------
    str
        A last axis of 3 or 4 after two long ones is RGB, a last axis of 2 is two channels, and
        all other axes end in rows and columns.

    Examples
    --------
    >>> guess_axes((30, 256, 200)), guess_axes((256, 200, 3)), guess_axes((256, 200, 2))
    ('ZYX', 'YXS', 'YXC')
    """
    if len(shape) > 2 and min(shape[-3:-1]) >= _MIN_RGB_SIDE and shape[-1] in (2, 3, 4):
        last = CHANNEL if shape[-1] == 2 else SAMPLES
        return guess_axes(shape[:-1]) + last
    return name_stack_axes(len(shape))


def name_stack_axes(ndim: int) -> str:
    """Name the axes of a stack of grey planes, such as ZYX for 3."""
    return _NAMES[len(_NAMES) - ndim :]


def fits(axes: str, shape: tuple[int, ...]) -> bool:
    """Whether axis names may be an image's of this shape: one each, with Y and X."""
    return len(axes) == len(shape) and _is_named(axes)


def _is_named(axes: str) -> bool:
    """Whether axis names are different letters, with Y and X among them."""
    return axes.isalpha() and len(set(axes)) == len(axes) and {"Y", "X"} <= set(axes)


def check_axes(axes: str, shape: tuple[int, ...]) -> str:
    """Check axis names that a user gives. Raises ImageFormatError if they do not fit the shape.

    Parameters
    ----------
    axes : str
        One letter for each axis, in upper or lower case.
    shape : tuple of int
        Shape of the array, with an RGB axis.

    Returns
    -------
    str
        In upper case.
    """
    names = axes.upper()
    if not _is_named(names):
        raise ImageFormatError(
            f"axes {axes!r} must be different letters, with Y and X among them, such as ZCYX "
            "(T time, C channel, Z depth, S the colours of RGB)"
        )
    if len(names) != len(shape):
        raise ImageFormatError(
            f"axes {axes!r} name {len(names)} axes, but the image has {len(shape)}: its shape "
            f"is {shape}"
        )
    if SAMPLES in names and shape[names.index(SAMPLES)] not in (3, 4):
        raise ImageFormatError(
            f"axis S of {axes!r} has length {shape[names.index(SAMPLES)]}, but RGB has 3 or 4 "
            "colours; name it C if it holds channels"
        )
    return names
