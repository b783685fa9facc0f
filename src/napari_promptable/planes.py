"""Planes of n-D arrays: which axes, at which index (numpy only)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import ImageFormatError, PromptError
from napari_promptable.transforms import stack_channels

Index = tuple[int, ...]
"""Position on the axes that are not in the plane, in axis order; () for a 2D image."""

Region = tuple[int | slice, ...]
"""Selects a part of a plane from an n-D array."""

ReadPlane = Callable[[Index], npt.NDArray[np.generic]]
"""Returns the pixels of a plane, (H, W) or (H, W, 3 or 4)."""


def replace_position(index: Index, place: int, position: int) -> Index:
    """Change the position on one axis of an index.

    Examples
    --------
    >>> replace_position((4, 0, 2), 1, 7)
    (4, 7, 2)
    """
    return (*index[:place], position, *index[place + 1 :])


@dataclass(frozen=True)
class PlaneAxes:
    """How an n-D array is cut into 2D planes.

    Attributes
    ----------
    shape : tuple of int
        Shape of the array, without an RGB axis.
    axes : (int, int)
        The array axes that are rows and columns of a plane, in array order.

    Examples
    --------
    >>> stack = PlaneAxes((30, 256, 200), (1, 2))
    >>> stack.plane_shape, stack.region((12,))
    ((256, 200), (12, slice(None, None, None), slice(None, None, None)))
    """

    shape: tuple[int, ...]
    axes: tuple[int, int]

    @classmethod
    def of_image(cls, shape: tuple[int, ...]) -> PlaneAxes:
        """Cut an image along its last two axes, or the last two before RGB or RGBA.

        Parameters
        ----------
        shape : tuple of int
            Shape of the image; a last axis of 3 or 4 after two others is colour.

        Returns
        -------
        PlaneAxes
            Without the colour axis.

        Raises
        ------
        ImageFormatError
            If there are fewer than two axes, or no pixels.

        Examples
        --------
        >>> PlaneAxes.of_image((30, 256, 200, 3))
        PlaneAxes(shape=(30, 256, 200), axes=(1, 2))
        """
        is_colour = len(shape) > 2 and shape[-1] in (3, 4)
        spatial = tuple(shape[:-1] if is_colour else shape)
        if len(spatial) < 2 or 0 in shape:
            raise ImageFormatError(
                f"an image of shape {tuple(shape)} was given; it needs two axes or more, and "
                "pixels"
            )
        return cls(spatial, (len(spatial) - 2, len(spatial) - 1))

    def indices(self) -> Iterator[Index]:
        """All planes, the last axis fastest."""
        yield from np.ndindex(*(self.shape[axis] for axis in self.other_axes))

    @property
    def other_axes(self) -> tuple[int, ...]:
        """Axes that are not in the plane, in array order."""
        return tuple(axis for axis in range(len(self.shape)) if axis not in self.axes)

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Height and width of a plane."""
        return self.shape[self.axes[0]], self.shape[self.axes[1]]

    def contains(self, index: Index) -> bool:
        """Whether the array has a plane at this index."""
        return all(
            0 <= i < self.shape[axis] for i, axis in zip(index, self.other_axes, strict=True)
        )

    def check_image(self, shape: tuple[int, ...]) -> None:
        """Raise PromptError unless an image of this shape, with or without RGB axis, fits."""
        is_rgb = len(shape) == len(self.shape) + 1 and shape[-1] in (3, 4)
        if shape != self.shape and not (is_rgb and shape[:-1] == self.shape):
            raise PromptError(
                f"the prompts are for an image of shape {self.shape}, this one has {shape}; "
                "give the image on which the prompts were made"
            )

    def neighbours(self, index: Index) -> Iterator[Index]:
        """Planes next to one: after and before it on each axis."""
        for place, position in enumerate(index):
            for step in (1, -1):
                neighbour = replace_position(index, place, position + step)
                if self.contains(neighbour):
                    yield neighbour

    def region(
        self, index: Index, rows: slice = slice(None), columns: slice = slice(None)
    ) -> Region:
        """Select a plane, or some of its rows and columns, from the array."""
        region: list[int | slice] = [slice(None)] * len(self.shape)
        region[self.axes[0]], region[self.axes[1]] = rows, columns
        for axis, position in zip(self.other_axes, index, strict=True):
            region[axis] = position
        return tuple(region)

    def index_of(self, region: Region) -> Index:
        """Index of the plane that a region from `region` lies on."""
        return tuple(region[axis] for axis in self.other_axes)  # type: ignore[misc]

    def corner_of(self, region: Region) -> tuple[int, int]:
        """First row and column of a region from `region`."""
        rows, columns = self.extent_of(region)
        return rows.start or 0, columns.start or 0

    def extent_of(self, region: Region) -> tuple[slice, slice]:
        """Rows and columns of a region from `region`."""
        rows, columns = (region[axis] for axis in self.axes)
        return rows, columns  # type: ignore[return-value]

    def split(
        self, positions: npt.NDArray[np.floating]
    ) -> tuple[list[Index], npt.NDArray[np.float32]]:
        """Split n-D positions into planes and positions on them.

        Parameters
        ----------
        positions : ndarray, shape (P, ndim)
            In array pixels.

        Returns
        -------
        indices : list of Index, length P
            The plane nearest to each position.
        points_yx : ndarray of float32, shape (P, 2)
            (row, col) on these planes.
        """
        others = np.rint(positions[:, list(self.other_axes)]).astype(int)
        return [tuple(row.tolist()) for row in others], positions[:, list(self.axes)].astype(
            np.float32
        )

    def join(
        self, index: Index, points_yx: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.float32]:
        """Undo `split` for positions on one plane: (P, 2) → (P, ndim)."""
        positions = np.empty((len(points_yx), len(self.shape)), np.float32)
        positions[:, list(self.axes)] = points_yx
        positions[:, list(self.other_axes)] = index
        return positions


@dataclass(frozen=True)
class Channel:
    """The channels of an image that a model sees.

    Attributes
    ----------
    axis : int
        Channel axis of the data; the RGB axis counts.
    positions : tuple of int
        One position on this axis, or up to three that become red, green and blue.
    """

    axis: int
    positions: tuple[int, ...]

    def to_plain(self) -> dict[str, Any]:
        """Make plain data for JSON."""
        return {"axis": self.axis, "positions": list(self.positions)}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any] | None) -> Channel | None:
        """Undo `to_plain`. None stands for the displayed channel."""
        if values is None:
            return None
        return cls(int(values["axis"]), tuple(int(n) for n in values["positions"]))


def read_plane(
    data: Any,
    planes: PlaneAxes,
    index: Index,
    channel: Channel | None = None,
    extent: tuple[slice, ...] = (),
) -> npt.NDArray[np.generic]:
    """Read one plane of an array. Nothing else is loaded.

    Parameters
    ----------
    data : array of any kind
        At full resolution, with the RGB axis last if there is one.
    planes : PlaneAxes
        How the array is cut into planes.
    index : Index
        The plane.
    channel : Channel, optional
        Read this channel; by default the plane as it is.
    extent : (slice, slice), optional
        Rows and columns; by default all.

    Returns
    -------
    ndarray, shape (H, W) or (H, W, 3 or 4)
        Pixels. Several channels are converted to 8 bits one by one, see `stack_channels`.

    Raises
    ------
    ImageFormatError
        If the array has no such plane.
    """
    shape = tuple(data.shape)
    if not planes.contains(index) or shape[: len(planes.shape)] != planes.shape:
        raise ImageFormatError(
            f"plane {index} is not in an image of shape {shape}; choose the image again"
        )
    region = [*planes.region(index, *extent), *[slice(None)] * (len(shape) - len(planes.shape))]
    if channel is None:
        return np.asarray(data[tuple(region)])
    read = []
    for position in channel.positions:
        region[channel.axis] = position
        read.append(np.asarray(data[tuple(region)]))
    return read[0] if len(read) == 1 else stack_channels(read)


@dataclass(frozen=True)
class SliceLine:
    """Planes of an image along one axis.

    Attributes
    ----------
    place : int
        Place in the index of the axis along which the line runs.
    index : Index
        Any plane on the line.
    length : int
        Number of planes.

    Examples
    --------
    >>> line = SliceLine(place=1, index=(4, 0), length=30)
    >>> line.at(7), line.position_of((4, 9)), line.position_of((5, 9))
    ((4, 7), 9, None)
    """

    place: int
    index: Index
    length: int

    @classmethod
    def through(cls, planes: PlaneAxes, place: int, index: Index) -> SliceLine:
        """Make the line through a plane. All planes on a line give an equal one."""
        line = cls(place, index, planes.shape[planes.other_axes[place]])
        return replace(line, index=line.at(0))

    @classmethod
    def from_others(cls, planes: PlaneAxes, place: int, others: Sequence[int]) -> SliceLine:
        """Make the line with these positions on the other axes. Undoes `others`."""
        return cls.through(planes, place, (*others[:place], 0, *others[place:]))

    @property
    def others(self) -> Index:
        """Positions on the other axes of the index."""
        return (*self.index[: self.place], *self.index[self.place + 1 :])

    def at(self, position: int) -> Index:
        """Index of a slice of the line."""
        return replace_position(self.index, self.place, position)

    def position_of(self, index: Index) -> int | None:
        """Position of a plane on the line, or None if it is on another line."""
        return index[self.place] if self.at(index[self.place]) == index else None


def to_ranges(positions: Iterable[int]) -> list[list[int]]:
    """Summarize positions as first and last of each run, such as [[3, 7], [9, 9]]."""
    ranges: list[list[int]] = []
    for position in sorted(positions):
        if ranges and position == ranges[-1][1] + 1:
            ranges[-1][1] = position
        else:
            ranges.append([position, position])
    return ranges


def from_ranges(ranges: Iterable[Sequence[int]]) -> set[int]:
    """Undo `to_ranges`."""
    return {position for first, last in ranges for position in range(first, last + 1)}
