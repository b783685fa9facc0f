"""Which part of an image a network is shown, at which size (numpy only).

A model that is trained on objects of one size sees a small object best in a magnified part of
the image, and a large one in a reduced image. *Levels* are zooms by powers of two, level 0 is
the whole image at the network's input size. A *tile* is a square of a level; tiles overlap by
half, so that every object of up to half a tile lies well inside one of them.

Frames: *image* pixels (row, col), *level* pixels (row, col) and *tile* pixels (x, y), each with
pixel centres at integers; a level covers the image exactly, edge to edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

BEST_DIAMETER = 64.0
"""Diameter in level pixels that an object is brought near to, by a factor of at most √2."""

_MAX_ZOOM = 16.0  # more magnification shows nothing new
_MIN_SIDE = 48  # of the image in level pixels; less shows nothing

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Tile:
    """A square of a level.

    Attributes
    ----------
    level : int
        Zoom relative to level 0 as a power of two.
    top, left : int
        First row and column in level pixels.
    """

    level: int
    top: int
    left: int


@dataclass(frozen=True, eq=False)
class Overlap:
    """What a tile covers of one axis of a grid.

    Attributes
    ----------
    cells : slice
        Cells of the grid whose centres lie in the tile.
    positions : ndarray of float
        Of these centres in a map of the tile; its cell k reaches from k to k + 1.
    """

    cells: slice
    positions: FloatArray


@dataclass(frozen=True)
class Pyramid:
    """All levels of one image.

    Attributes
    ----------
    original_size : (int, int)
        Height and width of the image.
    input_size : (int, int)
        Height and width of level 0.
    tile_size : int
        Side of a tile in pixels.
    """

    original_size: tuple[int, int]
    input_size: tuple[int, int]
    tile_size: int

    def zoom_yx(self, level: int) -> FloatArray:
        """Level pixels per image pixel along rows and columns."""
        zoom: FloatArray = np.array(self.input_size) / np.array(self.original_size)
        return 2.0**level * zoom

    @property
    def levels(self) -> range:
        """Levels that show something: from the whole image in a corner to 16-fold."""
        longest_side, zoom = max(self.input_size), float(self.zoom_yx(0).max())
        lowest = math.ceil(math.log2(_MIN_SIDE / longest_side))
        highest = math.floor(math.log2(_MAX_ZOOM / zoom))
        return range(min(lowest, 0), max(highest, 0) + 1)

    @property
    def _step(self) -> int:
        """Pixels from one tile to the next. An object of this length lies inside a tile."""
        return self.tile_size // 2

    def level_of(self, height: float, width: float) -> int:
        """Level that shows an object of so many image pixels best."""
        zoom = float(self.zoom_yx(0).mean())
        level = round(math.log2(BEST_DIAMETER / (math.sqrt(height * width) * zoom)))
        fitting = math.floor(math.log2(self._step / (max(height, width) * zoom)))
        return self.clip_level(min(level, fitting))

    def clip_level(self, level: int) -> int:
        """Nearest level that there is."""
        return min(max(level, self.levels.start), self.levels.stop - 1)

    def tile_at(self, level: int, centre_yx: FloatArray) -> Tile:
        """Tile in which an image position is most central."""
        centre = (np.asarray(centre_yx) + 0.5) * self.zoom_yx(level)
        size = np.array(self.input_size) * 2.0**level
        last = np.maximum(0, np.ceil((size - self.tile_size) / self._step))
        number = np.clip(np.rint((centre - self.tile_size / 2) / self._step), 0, last)
        top, left = (int(n) for n in self._step * number)
        return Tile(level, top, left)

    def crop(self, image: npt.NDArray[np.uint8], tile: Tile) -> npt.NDArray[np.uint8]:
        """Cut a tile out of the image, at its level's zoom.

        Parameters
        ----------
        image : ndarray of uint8, shape (H, W, 3)
            The whole image.
        tile : Tile
            What to cut.

        Returns
        -------
        ndarray of uint8, shape (h, w, 3)
            At most `tile_size` pixels each; fewer where the image ends before the tile.
        """
        zoom = self.zoom_yx(tile.level)
        start = np.array([tile.top, tile.left]) / zoom
        stop = np.minimum(start + self.tile_size / zoom, self.original_size)
        height, width = np.clip(np.rint((stop - start) * zoom), 1, self.tile_size).astype(int)
        reach = np.ceil(1 / zoom) + 1  # of the filter, beyond the cut
        first = np.maximum(np.floor(start - reach), 0).astype(int)
        last = np.ceil(stop + reach).astype(int)
        part = np.ascontiguousarray(image[first[0] : last[0], first[1] : last[1]])
        (top, left), (bottom, right) = start - first, stop - first
        cut = Image.fromarray(part).resize(
            (width, height), Image.Resampling.BILINEAR, box=(left, top, right, bottom)
        )
        return np.asarray(cut)

    def to_tile_xy(self, points_yx: FloatArray, tile: Tile) -> npt.NDArray[np.float32]:
        """Take positions from image to tile pixels. Shapes are (..., 2)."""
        origin = np.array([tile.top, tile.left])
        positions = (np.asarray(points_yx) + 0.5) * self.zoom_yx(tile.level) - 0.5 - origin
        flipped: npt.NDArray[np.float32] = positions[..., ::-1].astype(np.float32)
        return flipped

    def box_to_tile_xy(self, box_yxyx: FloatArray, tile: Tile) -> npt.NDArray[np.float32]:
        """Take a box from its first and last image pixels to its first and last tile pixels.

        Returns
        -------
        ndarray of float32, shape (2, 2)
            (x, y) of the top-left and the bottom-right corner.
        """
        edges = np.asarray(box_yxyx, float).reshape(2, 2) + np.array([[-0.5], [0.5]])
        corners = self.to_tile_xy(edges, tile)
        inset = np.array([[0.5], [-0.5]], np.float32)  # from edges to pixel centres
        if (corners[1] - corners[0] < 1).any():
            inset = np.zeros((2, 1), np.float32)
        shifted: npt.NDArray[np.float32] = corners + inset
        return shifted

    def paste(
        self, logits: npt.NDArray[np.float32], tile: Tile, size: tuple[int, int], fill: float
    ) -> npt.NDArray[np.float32]:
        """Resample a tile's logits onto a grid that covers the image.

        Parameters
        ----------
        logits : ndarray of float32, shape (C, h, h)
            Maps that cover the tile.
        tile : Tile
            Where they lie.
        size : (int, int)
            Rows and columns of the grid.
        fill : float
            Value outside the tile.

        Returns
        -------
        ndarray of float32, shape (C, rows, columns)
            Bilinear values.
        """
        pasted = np.full((len(logits), *size), fill, np.float32)
        rows, columns = self.overlaps(tile, size, logits.shape[-1])
        by_rows = interpolate(logits, rows.positions, axis=1)
        pasted[:, rows.cells, columns.cells] = interpolate(by_rows, columns.positions, axis=2)
        return pasted

    def overlaps(self, tile: Tile, size: tuple[int, int], side: int) -> tuple[Overlap, Overlap]:
        """Find the rows and the columns of a grid that a tile covers.

        Parameters
        ----------
        tile : Tile
            Where.
        size : (int, int)
            Rows and columns of the grid, which covers the image.
        side : int
            Rows and columns of a map that covers the tile.

        Returns
        -------
        (Overlap, Overlap)
            With positions in the map.
        """
        rows, columns = (
            _overlap(count, zoom * length / count, start, self.tile_size, side)
            for count, length, zoom, start in zip(
                size,
                self.original_size,
                self.zoom_yx(tile.level),
                (tile.top, tile.left),
                strict=True,
            )
        )
        return rows, columns

    def cut(
        self, logits: npt.NDArray[np.float32], tile: Tile, side: int
    ) -> npt.NDArray[np.float32]:
        """Resample logits on a grid that covers the image to a tile. Undoes `paste`.

        Parameters
        ----------
        logits : ndarray of float32, shape (rows, columns)
            Map that covers the image.
        tile : Tile
            What to cut.
        side : int
            Rows and columns of the result.

        Returns
        -------
        ndarray of float32, shape (side, side)
            Bilinear values; the border's beyond the image.
        """
        centres = (np.arange(side) + 0.5) * self.tile_size / side
        for axis, start in enumerate((tile.top, tile.left)):
            full = 2.0**tile.level * self.input_size[axis]
            positions = (start + centres) / full * logits.shape[axis]
            logits = interpolate(logits, positions, axis)
        return logits


def _overlap(count: int, zoom: float, start: int, length: int, side: int) -> Overlap:
    """Find the cells, of `zoom` level pixels each, whose centres lie in start + length."""
    centres = (np.arange(count) + 0.5) * zoom - start
    inside = np.flatnonzero((centres >= 0) & (centres < length))
    if len(inside) == 0:
        return Overlap(slice(0, 0), np.empty(0))
    cells = slice(int(inside[0]), int(inside[-1]) + 1)
    return Overlap(cells, centres[cells] * side / length)


def interpolate(
    values: npt.NDArray[np.float32], positions: FloatArray, axis: int
) -> npt.NDArray[np.float32]:
    """Interpolate linearly between cells along an axis.

    Parameters
    ----------
    values : ndarray of float32
        One per cell.
    positions : ndarray, shape (P,)
        In cells; cell k reaches from k to k + 1. Beyond the outer centres they get the outer
        values.
    axis : int
        Along which.

    Returns
    -------
    ndarray of float32
        With P values along the axis.
    """
    last = values.shape[axis] - 1
    centred = np.clip(positions - 0.5, 0, last)
    before = np.minimum(centred.astype(int), max(last - 1, 0))
    after = np.minimum(before + 1, last)
    shape = [1] * values.ndim
    shape[axis] = len(before)
    share = (centred - before).astype(np.float32).reshape(shape)
    lower = values.take(before, axis)
    return np.asarray(lower + share * (values.take(after, axis) - lower))
