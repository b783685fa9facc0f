"""Outlines of masks as polygons along the edges of pixels, and back, without loss."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import shapely
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
    padded = np.pad(mask, ((0, 0), (1, 1))).astype(np.int8)
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    _, stops = np.nonzero(steps == -1)
    runs = shapely.box(starts, rows, stops, rows + 1)
    outline = shapely.simplify(shapely.union_all(runs), 0)
    moved = shapely.transform(outline, lambda xy: np.add(xy, origin[::-1]))
    return MultiPolygon([moved]) if isinstance(moved, Polygon) else moved


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
    """Draw the inside of one ring; pixel centres lie at half-integers of the outline."""
    x, y = np.array(list(ring_xy))[:, :2].T
    mask = np.zeros(shape, bool)
    mask[draw_polygon(y - 0.5 - first[0], x - 0.5 - first[1], shape)] = True
    return mask
