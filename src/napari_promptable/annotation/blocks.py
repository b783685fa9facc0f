"""Blocks: the parts in which labels are saved, so that a change in a large plane is cheap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from napari_promptable.planes import Index, PlaneAxes, Region

SIDE = 1024
"""Rows and columns of a block of a large plane."""

_MAX_WHOLE_SIDE = 2 * SIDE  # of a plane that is saved in one piece


@dataclass(frozen=True)
class Block:
    """A plane, or a square of a large one.

    Attributes
    ----------
    index : Index
        The plane.
    corner : (int, int) or None
        First row and column of the square; None is the whole plane.
    """

    index: Index
    corner: tuple[int, int] | None = None

    def region(self, planes: PlaneAxes) -> Region:
        """Select the block from an array. A square ends where its plane does."""
        if self.corner is None:
            return planes.region(self.index)
        rows, columns = (slice(start, start + SIDE) for start in self.corner)
        return planes.region(self.index, rows, columns)


def blocks_of(
    planes: PlaneAxes,
    index: Index,
    rows: slice = slice(None),
    columns: slice = slice(None),
) -> Iterator[Block]:
    """Find the blocks that hold a part of a plane.

    Parameters
    ----------
    planes : PlaneAxes
        How the labels are cut into planes.
    index : Index
        The plane.
    rows, columns : slice, optional
        The part; all of the plane by default.

    Yields
    ------
    Block
        The whole plane if neither side is longer than two blocks.

    Examples
    --------
    >>> large = PlaneAxes((5, 4000, 3000), (1, 2))
    >>> list(blocks_of(large, (2,), slice(900, 1100), slice(0, 50)))
    [Block(index=(2,), corner=(0, 0)), Block(index=(2,), corner=(1024, 0))]
    """
    if max(planes.plane_shape) <= _MAX_WHOLE_SIDE:
        yield Block(index)
        return
    tops, lefts = (
        range(part.indices(length)[0] // SIDE * SIDE, part.indices(length)[1], SIDE)
        for part, length in zip((rows, columns), planes.plane_shape, strict=True)
    )
    for top, left in product(tops, lefts):
        yield Block(index, (top, left))
