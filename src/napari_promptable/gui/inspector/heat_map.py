"""The layer "attention": weights of cells over the image they belong to."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image

from napari_promptable.fields import Field
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.ownership import note_shown_by_us
from napari_promptable.planes import Index
from napari_promptable.predict.explanation import FloatArray

LAYER_NAME = "attention"
_GAMMA = 0.5  # so that weak attention can be seen beside the brightest cell


class Cells(Protocol):
    """Where the cells of a map lie, see `Explanation`."""

    @property
    def cell_origin_yx(self) -> FloatArray:
        """Centre of the first cell."""
        ...

    @property
    def cell_size_yx(self) -> FloatArray:
        """Distance between cells."""
        ...


class HeatMap:
    """Shows a map of the decoder's cells on the image, without touching the image.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer itself, not napari's proxy of it.

    Attributes
    ----------
    layer : Image or None
        The layer, once there was something to show.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.layer: Image | None = None

    def show(
        self,
        weights: FloatArray,
        cells: Cells,
        job: AnnotationJob,
        index: Index,
        field: Field | None = None,
    ) -> None:
        """Show weights of cells, (rows, columns), where they are on a plane or in a field."""
        image, planes = job.image, job.planes
        shape, scale, translate = [1] * image.ndim, np.ones(image.ndim), np.zeros(image.ndim)
        for axis, position in zip(planes.other_axes, index, strict=True):
            translate[axis] = position
        field = field or Field(0, 0, *planes.plane_shape)
        origin = field.to_plane(np.array(cells.cell_origin_yx))
        for i, axis in enumerate(planes.axes):
            shape[axis] = weights.shape[i]
            scale[axis] = field.step * cells.cell_size_yx[i]
            translate[axis] = origin[i]
        data = np.ascontiguousarray(weights, np.float32).reshape(shape)
        layer = self._layer_on(image, data)
        layer.data, layer.scale, layer.translate = data, scale, translate
        layer.affine = world_matrix(image)
        layer.contrast_limits = (0, max(float(data.max()), 1e-6))
        layer.visible = True

    def hide(self) -> None:
        """Show nothing."""
        if self.layer is not None:
            self.layer.visible = False

    def close(self) -> None:
        """Remove the layer."""
        if self.layer is not None and self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)
        self.layer = None

    def _layer_on(self, image: Image, data: npt.NDArray[np.float32]) -> Image:
        """Return the layer. Make one if the user removed it or the image has other axes."""
        layers = self._viewer.layers
        if self.layer is not None and self.layer in layers and self.layer.ndim == data.ndim:
            return self.layer
        self.close()
        self.layer = Image(
            data,
            name=LAYER_NAME,
            colormap="magma",
            blending="additive",
            gamma=_GAMMA,
            interpolation2d="nearest",
            rgb=False,
            units=image.units,
        )
        note_shown_by_us(self.layer)
        active = layers.selection.active
        layers.insert(layers.index(image) + 1, self.layer)
        if active is not None:
            layers.selection.active = active
        return self.layer


def world_matrix(image: Image) -> FloatArray:
    """Matrix (D + 1, D + 1) that takes an image's data coordinates to the world."""
    matrix = np.eye(image.ndim + 1)
    origin = np.asarray(image.data_to_world(np.zeros(image.ndim)))
    for axis in range(image.ndim):
        unit = np.eye(image.ndim)[axis]
        matrix[:-1, axis] = np.asarray(image.data_to_world(unit)) - origin
    matrix[:-1, -1] = origin
    return matrix
