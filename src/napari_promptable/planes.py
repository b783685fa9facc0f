"""Planes of n-D arrays: which axes, at which index (numpy only)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import ImageFormatError

Index = tuple[int, ...]
Region = tuple[int | slice, ...]
ReadPlane = Callable[[Index], npt.NDArray[np.generic]]
"""Returns the pixels of a plane, (H, W) or (H, W, 3 or 4)."""


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

    def region(
        self, index: Index, rows: slice = slice(None), columns: slice = slice(None)
    ) -> Region:
        """Array index of a plane, or of some rows and columns of it."""
        region: list[int | slice] = [slice(None)] * len(self.shape)
        region[self.axes[0]], region[self.axes[1]] = rows, columns
        for axis, position in zip(self.other_axes, index, strict=True):
            region[axis] = position
        return tuple(region)

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
            The nearest plane of each.
        points_yx : ndarray of float32, shape (P, 2)
            Positions on these planes.
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
