"""Parts of the plane in view: what the canvas shows, and what shapes enclose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image, Shapes

from napari_promptable.fields import Field
from napari_promptable.gui.layers.adapters import canvas_corners
from napari_promptable.masks import (
    BoolArray,
    ellipse_to_polygon,
    polygon_to_mask,
)
from napari_promptable.planes import PlaneAxes


def visible_extent(
    viewer: ViewerModel, image: Image, planes: PlaneAxes
) -> npt.NDArray[np.floating]:
    """Return the first and last row and column of the plane that the canvas shows.

    Parameters
    ----------
    viewer : ViewerModel
        Shows the image.
    image : Image
        In view; napari keeps its corners in the pixels of the level that it shows.
    planes : PlaneAxes
        Its planes.

    Returns
    -------
    ndarray of float, shape (4,)
        (top, left, bottom, right), within the plane; all of it until napari has drawn an image
        whose number of axes changed.
    """
    last = np.array(planes.plane_shape) - 1
    if len(image.corner_pixels[0]) != len(planes.shape):
        return np.array([0, 0, *last], float)
    axes = list(planes.axes)
    corners = np.array(image.corner_pixels, float)[:, axes]
    if image.multiscale:
        corners *= np.array(image.downsample_factors)[image.data_level, axes]
        corners = _within_canvas(corners, viewer, image, axes)
    extent: npt.NDArray[np.floating] = np.clip(corners, 0, last)
    return extent.ravel()


def _within_canvas(
    corners: npt.NDArray[np.floating], viewer: ViewerModel, image: Image, axes: list[int]
) -> npt.NDArray[np.floating]:
    """Cut off what napari has loaded of a pyramid beyond the canvas, up to whole chunks."""
    on_canvas = canvas_corners(viewer)
    if on_canvas is None:
        return corners
    shown = np.array([image.world_to_data(each[-image.ndim :]) for each in on_canvas])[:, axes]
    first = np.maximum(corners[0], np.floor(shown.min(axis=0)))
    last = np.minimum(corners[1], np.ceil(shown.max(axis=0)))
    return np.array([first, last]) if (first <= last).all() else corners


@dataclass(frozen=True, eq=False)
class SearchRegion:
    """A part of a plane in which to look for objects.

    Attributes
    ----------
    extent : (slice, slice)
        Its rows and columns of the plane.
    polygons : tuple of ndarray of float, shape (V, 2)
        Corners, (row, col) in pixels of the plane. The region is what they enclose; without
        any, all of its rows and columns.
    """

    extent: tuple[slice, slice]
    polygons: tuple[npt.NDArray[np.floating], ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        rows, columns = self.extent
        return rows.stop - rows.start, columns.stop - columns.start

    def draw_in(self, part: Field) -> BoolArray:
        """Draw the region in a part of the plane that holds it, ndarray of bool."""
        corner = np.array([part.top, part.left])
        if self.polygons:
            masks = [polygon_to_mask(each - corner, part.shape) for each in self.polygons]
            drawn: BoolArray = np.logical_or.reduce(masks)
            return drawn
        rows, columns = (
            slice(one.start - start, one.stop - start)
            for one, start in zip(self.extent, corner, strict=True)
        )
        drawn = np.zeros(part.shape, bool)
        drawn[rows, columns] = True
        return drawn


def visible_region(viewer: ViewerModel, image: Image, planes: PlaneAxes) -> SearchRegion:
    """Return the part of the plane that the canvas shows, a box. See `visible_extent`."""
    extent = visible_extent(viewer, image, planes)
    top, left, bottom, right = extent.astype(int).tolist()
    return SearchRegion((slice(top, bottom + 1), slice(left, right + 1)))


def selected_region(
    viewer: ViewerModel, image: Image, planes: PlaneAxes
) -> SearchRegion | None:
    """Return the part of the plane inside the selected shapes.

    Parameters
    ----------
    viewer : ViewerModel
        Shapes that are selected in any of its layers count.
    image, planes
        As in `visible_region`.

    Returns
    -------
    SearchRegion or None
        None if no shape is selected, or none of it lies on the plane.
    """
    polygons = tuple(_selected_polygons(viewer, image, planes))
    if not polygons:
        return None
    corners = np.concatenate(polygons)
    first = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    last = np.minimum(np.ceil(corners.max(axis=0)), np.array(planes.plane_shape) - 1)
    if (first > last).any():
        return None
    (top, left), (bottom, right) = first.tolist(), last.astype(int).tolist()
    return SearchRegion((slice(top, bottom + 1), slice(left, right + 1)), polygons)


def _selected_polygons(
    viewer: ViewerModel, image: Image, planes: PlaneAxes
) -> Iterator[npt.NDArray[np.floating]]:
    """Outlines of the selected shapes in pixels of the plane."""
    for layer in viewer.layers:
        if not isinstance(layer, Shapes):
            continue
        for number in layer.selected_data:
            corners = [
                image.world_to_data(layer.data_to_world(corner))
                for corner in layer.data[number]
            ]
            outline = np.array(corners, float)[:, list(planes.axes)]
            is_ellipse = layer.shape_type[number] == "ellipse"
            yield ellipse_to_polygon(outline) if is_ellipse else outline
