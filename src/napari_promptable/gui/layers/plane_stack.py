"""An array of any size for a layer that shows something on a few planes only."""

from __future__ import annotations

import operator
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from napari_promptable.planes import Index, PlaneAxes

Plane = npt.NDArray[np.uint8]


class PlaneStack:
    """Zeros in which planes can be written, of which each uses memory only while needed.

    A plane that has been read keeps its memory for as long as the reader does, so that napari
    sees what is written to it later, as it does in a NumPy array.

    Parameters
    ----------
    planes : PlaneAxes
        The shape, and how it is cut into planes.

    Attributes
    ----------
    shape, dtype, ndim
        As of an ndarray of uint8.
    """

    def __init__(self, planes: PlaneAxes) -> None:
        self._planes = planes
        self._written: dict[Index, Plane] = {}
        self._read: WeakValueDictionary[Index, Plane] = WeakValueDictionary()
        self.shape, self.ndim = planes.shape, len(planes.shape)
        self.dtype = np.dtype(np.uint8)

    def __getitem__(self, region: Any) -> Plane:
        """Read a part. A part of one plane is a view of it."""
        parts = self._parts(region)
        others = [parts[axis] for axis in self._planes.other_axes]
        if not any(isinstance(part, slice) for part in others):
            part: Plane = self._plane(tuple(others))[self._on_plane(parts)]
            return part
        shape = [
            len(range(length)[each])
            for each, length in zip(parts, self.shape, strict=True)
            if isinstance(each, slice)
        ]
        values = np.zeros(shape, np.uint8)
        for index, plane in self._written.items():
            place = self._place(parts, index)
            if place is not None:
                values[place] = plane[self._on_plane(parts)]
        return values

    def __setitem__(self, region: Any, values: npt.ArrayLike) -> None:
        """Write a part of one plane, and hold the plane until it is dropped."""
        parts = self._parts(region)
        index = self._planes.index_of(parts)
        plane = self._written[index] = self._plane(index)
        plane[self._on_plane(parts)] = values

    def drop(self, index: Index) -> None:
        """Stop holding a plane whose pixels are all zero again."""
        self._written.pop(index, None)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Read everything."""
        whole = self[...]
        return whole if dtype is None else whole.astype(dtype)

    def _plane(self, index: Index) -> Plane:
        """Return a plane's memory, as long as anything uses it."""
        plane = self._written.get(index)
        if plane is None:
            plane = self._read.get(index)
        if plane is None:
            plane = self._read[index] = np.zeros(self._planes.plane_shape, np.uint8)
        return plane

    def _parts(self, region: Any) -> tuple[Any, ...]:
        """Return a position or slice for each axis."""
        given = list(region) if isinstance(region, tuple) else [region]
        rest = [slice(None)] * (self.ndim - sum(part is not Ellipsis for part in given))
        place = given.index(Ellipsis) if Ellipsis in given else len(given)
        given[place : place + 1] = rest
        return tuple(
            part if isinstance(part, slice) else range(length)[operator.index(part)]
            for part, length in zip(given, self.shape, strict=True)
        )

    def _on_plane(self, parts: tuple[Any, ...]) -> tuple[Any, Any]:
        """Rows and columns of a part."""
        rows, columns = (parts[axis] for axis in self._planes.axes)
        return rows, columns

    def _place(self, parts: tuple[Any, ...], index: Index) -> tuple[Any, ...] | None:
        """Where a plane lies in a part of the stack, or None if it is outside."""
        place: list[Any] = []
        positions = dict(zip(self._planes.other_axes, index, strict=True))
        for axis, part in enumerate(parts):
            if axis not in positions:
                place += [slice(None)] if isinstance(part, slice) else []
                continue
            inside = range(self.shape[axis])[part] if isinstance(part, slice) else (part,)
            if positions[axis] not in inside:
                return None
            place += [inside.index(positions[axis])] if isinstance(part, slice) else []
        return tuple(place)
