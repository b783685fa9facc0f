"""Outlines of masks as polygons along the edges of pixels, and back, without loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from skimage.draw import polygon as draw_polygon


def trace_outline(mask: npt.NDArray[np.bool_], origin: tuple[int, int]) -> MultiPolygon:
    """Outline a mask along the edges of its pixels.

    Parameters
    ----------
    mask : ndarray of bool, shape (height, width)
        Pixels of an object in its bounding box.
    origin : (int, int)
        First row and first column of the bounding box in the plane.

    Returns
    -------
    MultiPolygon
        x is the column, y the row; the top left corner of the plane is (0, 0), so that pixel
        (row, column) covers the square from (column, row) to (column + 1, row + 1). Parts that
        touch at a corner only are separate polygons; holes are interior rings.
    """
    width = mask.shape[1] + 1  # corners in a row
    loops = [
        np.array(divmod(np.array(loop), width)[::-1]).T
        for path in _walk_along_border(_border_steps(mask), width)
        for loop in _split_where_it_touches(path)
    ]
    shells = [loop for loop in loops if _is_clockwise(loop)]
    holes = [loop for loop in loops if not _is_clockwise(loop)]
    parts = ndimage.label(mask)[0] if len(shells) > 1 else mask
    holes_of: dict[int, list[npt.NDArray[np.int_]]] = {}
    for hole in holes:
        holes_of.setdefault(_part_inside(hole, parts), []).append(hole + origin[::-1])
    return MultiPolygon(
        [
            Polygon(shell + origin[::-1], holes_of.get(_part_inside(shell, parts)))
            for shell in shells
        ]
    )


def _border_steps(mask: npt.NDArray[np.bool_]) -> set[int]:
    """Steps from pixel corner to pixel corner along the border, the inside on the right.

    A step is 4 times its first corner plus its direction: 0 right, 1 down, 2 left, 3 up.
    Corners are numbered row by row.
    """
    width = mask.shape[1] + 1
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    neighbours = (  # beyond the pixel's edge, and the corner where the edge begins
        (padded[:-2, 1:-1], (0, 0)),
        (padded[1:-1, 2:], (0, 1)),
        (padded[2:, 1:-1], (1, 1)),
        (padded[1:-1, :-2], (1, 0)),
    )
    steps: set[int] = set()
    for direction, (neighbour, (down, right)) in enumerate(neighbours):
        rows, columns = np.nonzero(inside & ~neighbour)
        steps.update((4 * ((rows + down) * width + columns + right) + direction).tolist())
    return steps


def _walk_along_border(steps: set[int], width: int) -> Iterator[list[int]]:
    """Follow steps, which are used up, to closed paths. Yields the corners where they turn.

    Where four ways meet, a path turns right: it stays with the pixel it goes along.
    """
    moves = (1, width, -1, -width)
    while steps:
        first = steps.pop()
        corner, direction = divmod(first, 4)
        path: list[int] = []
        is_closed = False
        while not is_closed:
            corner += moves[direction]
            for turn in (1, 0, 3):
                step = 4 * corner + (direction + turn) % 4
                is_closed = step == first
                if is_closed or step in steps:
                    break
            steps.discard(step)
            direction = step % 4
            if turn:
                path.append(corner)
        yield path


def _split_where_it_touches(path: list[int]) -> Iterator[list[int]]:
    """Cut a closed path that passes a corner twice into loops that do not."""
    loop: list[int] = []
    position: dict[int, int] = {}
    for corner in path:
        if corner in position:
            start = position[corner]
            yield loop[start:]
            for passed in loop[start:]:
                del position[passed]
            del loop[start:]
        position[corner] = len(loop)
        loop.append(corner)
    yield loop


def _is_clockwise(loop_xy: npt.NDArray[np.int_]) -> bool:
    """Whether a loop goes round its inside: rows count downwards."""
    x, y = loop_xy.T
    return bool(x @ np.roll(y, -1) > y @ np.roll(x, -1))


def _part_inside(loop_xy: npt.NDArray[np.int_], parts: npt.NDArray[Any]) -> int:
    """Number of the part on the right of a loop's first step."""
    (x, y), (next_x, next_y) = loop_xy[:2]
    column = x - 1 if next_x < x or next_y > y else x
    row = y - 1 if next_x < x or next_y < y else y
    return int(parts[row, column])


def fill_outline(
    outline: BaseGeometry, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], npt.NDArray[np.bool_]]:
    """Draw an outline: a pixel belongs to it if its centre does.

    Parameters
    ----------
    outline : Polygon or MultiPolygon
        As `trace_outline` returns it, or with any other corners.
    shape : (int, int)
        Height and width of the plane; what lies outside is cut off.

    Returns
    -------
    region : (slice, slice)
        Rows and columns of the bounding box in the plane.
    mask : ndarray of bool, shape of the region
        Pixels inside.
    """
    left, top, right, bottom = outline.bounds
    first = np.clip(np.floor([top, left]).astype(int), 0, shape)
    last = np.clip(np.ceil([bottom, right]).astype(int), first, shape)
    mask = np.zeros(tuple(last - first), bool)
    for part in _polygons(outline):
        inside = _fill_ring(part.exterior.coords, first, mask.shape)
        for hole in part.interiors:
            inside &= ~_fill_ring(hole.coords, first, mask.shape)
        mask |= inside
    return (slice(first[0], last[0]), slice(first[1], last[1])), mask


def _polygons(outline: BaseGeometry) -> Iterable[Polygon]:
    parts: Iterable[BaseGeometry] = getattr(outline, "geoms", [outline])
    return [part for part in parts if isinstance(part, Polygon)]


def _fill_ring(
    ring_xy: Iterable[tuple[float, ...]],
    first: npt.NDArray[np.int_],
    shape: tuple[int, ...],
) -> npt.NDArray[np.bool_]:
    """Draw the inside of one ring. Pixel centres lie at half-integers of the outline."""
    x, y = np.array(list(ring_xy))[:, :2].T
    mask = np.zeros(shape, bool)
    mask[draw_polygon(y - 0.5 - first[0], x - 0.5 - first[1], shape)] = True
    return mask
