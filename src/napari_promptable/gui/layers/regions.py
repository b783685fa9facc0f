"""Parts of the plane in view: what the canvas shows, and what shapes enclose."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image, Shapes

from napari_promptable.masks import (
    BoolArray,
    ellipse_to_polygon,
    polygon_to_mask,
)
from napari_promptable.planes import PlaneAxes


def visible_extent(image: Image, planes: PlaneAxes) -> npt.NDArray[np.floating]:
    """Return the first and last row and column of the plane that the canvas shows.

    Parameters
    ----------
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
    if len(image.corner_pixels[0]) != len(planes.shape):
        return np.array([0, 0, *np.array(planes.plane_shape) - 1], float)
    corners = np.array(image.corner_pixels, float)[:, list(planes.axes)]
    if image.multiscale:
        corners *= np.array(image.downsample_factors)[image.data_level, list(planes.axes)]
    extent: npt.NDArray[np.floating] = np.clip(corners, 0, np.array(planes.plane_shape) - 1)
    return extent.ravel()


def visible_region(image: Image, planes: PlaneAxes) -> BoolArray:
    """Return the pixels of the plane that the canvas shows.

    Parameters
    ----------
    image : Image
        In view.
    planes : PlaneAxes
        Its planes.

    Returns
    -------
    ndarray of bool, shape (H, W)
        A box.
    """
    top, left, bottom, right = visible_extent(image, planes).astype(int)
    region = np.zeros(planes.plane_shape, bool)
    region[top : bottom + 1, left : right + 1] = True
    return region


def selected_region(viewer: ViewerModel, image: Image, planes: PlaneAxes) -> BoolArray:
    """Return the pixels of the plane inside the selected shapes.

    Parameters
    ----------
    viewer : ViewerModel
        Shapes that are selected in any of its layers count.
    image, planes
        As in `visible_region`.

    Returns
    -------
    ndarray of bool, shape (H, W)
        Empty if no shape is selected.
    """
    region = np.zeros(planes.plane_shape, bool)
    for layer in viewer.layers:
        if not isinstance(layer, Shapes):
            continue
        for number in layer.selected_data:
            corners = [
                image.world_to_data(layer.data_to_world(corner))
                for corner in layer.data[number]
            ]
            outline = np.array(corners, float)[:, list(planes.axes)]
            if layer.shape_type[number] == "ellipse":
                outline = ellipse_to_polygon(outline)
            region |= polygon_to_mask(outline, planes.plane_shape)
    return region
