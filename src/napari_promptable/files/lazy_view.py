"""Arrays in files that are read part by part, and views of them as numpy makes of its own."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import ImageFormatError

READ_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    SyntaxError,  # of Pillow, for some broken PNG files
    RuntimeError,  # of decoders, for damaged pixels
    ArithmeticError,  # sizes beyond all numbers
    struct.error,
    MemoryError,
)
"""Errors of reading libraries for files that are damaged, incomplete or of another kind."""


def describe_error(error: BaseException) -> str:
    """Say what a reading library said, with the kind of error where it said little."""
    return repr(error) if isinstance(error, LookupError) or not str(error) else str(error)


class ArrayInFile:
    """An array in a file, of which a part may be damaged or missing.

    Parameters
    ----------
    data : array of any kind
        Read when it is indexed.
    name : str
        File name, for people.

    Attributes
    ----------
    shape, dtype, ndim
        As of an ndarray.
    """

    def __init__(self, data: Any, name: str) -> None:
        self._data, self._name = data, name
        self.shape, self.dtype, self.ndim = tuple(data.shape), data.dtype, data.ndim

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        """Read a part. Raises ImageFormatError if that fails."""
        try:
            return np.asarray(self._data[index])
        except MemoryError as error:
            raise ImageFormatError(
                f"this part of {self._name} is too large to be read at once ({error}); crop it"
            ) from error
        except READ_ERRORS as error:
            raise ImageFormatError(
                f"{self._name} is damaged or incomplete ({describe_error(error)}); get it "
                "again, or choose another slice"
            ) from error

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Read everything."""
        whole = self[()]
        return whole if dtype is None else whole.astype(dtype)


def in_file(data: Any, name: str) -> Any:
    """Name the file in errors of reading an array. An ndarray is in memory already."""
    return data if isinstance(data, np.ndarray) else ArrayInFile(data, name)


class LazyView:
    """An array with one axis fixed at a position, or moved to the end.

    Parameters
    ----------
    data : array of any kind
        Takes ints and slices as index.
    axis : int
        The axis to fix or move.
    position : int or None
        Fix the axis here; None moves it to the end.

    Attributes
    ----------
    shape, dtype, ndim
        As of an ndarray.
    """

    def __init__(self, data: Any, axis: int, position: int | None) -> None:
        self._data, self._axis, self._position = data, axis, position
        shape = list(data.shape)
        length = shape.pop(axis)
        self.shape = tuple(shape if position is not None else [*shape, length])
        self.dtype, self.ndim = data.dtype, len(self.shape)

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        """Read a part, with one int or slice, or a tuple of them."""
        given = list(index) if isinstance(index, tuple) else [index]
        given += [slice(None)] * (self.ndim - len(given))
        moved = self._position if self._position is not None else given.pop()
        part = np.asarray(self._data[(*given[: self._axis], moved, *given[self._axis :])])
        if not isinstance(moved, slice):
            return part
        num_before = sum(isinstance(one, slice) for one in given[: self._axis])
        return np.moveaxis(part, num_before, -1)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Read everything."""
        whole = self[()]
        return whole if dtype is None else whole.astype(dtype)


def fix_axis(data: Any, axis: int, position: int) -> Any:
    """Drop an axis by fixing it at a position. An ndarray gives a view of itself."""
    if isinstance(data, np.ndarray):
        return data[(slice(None),) * axis + (position,)]
    return LazyView(data, axis, position)


def move_to_end(data: Any, axis: int) -> Any:
    """Move an axis to the end. An ndarray gives a view of itself."""
    if axis == data.ndim - 1:
        return data
    return (
        np.moveaxis(data, axis, -1)
        if isinstance(data, np.ndarray)
        else LazyView(data, axis, None)
    )
