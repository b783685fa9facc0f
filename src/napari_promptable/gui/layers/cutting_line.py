"""The tool that draws one line across an object, on a layer that exists only meanwhile."""

from __future__ import annotations

from functools import partial
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer, Shapes
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_promptable.gui.layers.adapters import to_image_pixels
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.following import transform_of

_NAME, _COLOR = "cutting line", "#f0e442"


class CuttingLine:
    """Lets the user draw a line. Choosing another layer cancels it.

    Parameters
    ----------
    viewer : ViewerModel
        Where the line is drawn.

    Attributes
    ----------
    drawn : psygnal.Signal
        Emits the index of the plane and the corners, ndarray of float, shape (N, 2).
    """

    drawn = Signal(object, object)

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Shapes | None = None
        self._former: Layer | None = None

    @property
    def is_active(self) -> bool:
        """Whether the tool waits for a line."""
        return self._layer is not None

    def start(self, job: AnnotationJob) -> None:
        """Wait for a line on the job's image: press, drag across the object, release."""
        self.close()
        self._former = self._viewer.layers.selection.active
        layer = self._layer = Shapes(
            None,
            ndim=len(job.planes.shape),
            name=_NAME,
            edge_color=_COLOR,
            edge_width=max(1, max(job.planes.plane_shape) / 256),
            **transform_of(job.image),
        )
        self._viewer.add_layer(layer)
        self._viewer.layers.selection.active = layer
        layer.mode = "add_line"
        layer.events.data.connect(partial(self._follow, job))
        self._viewer.layers.selection.events.active.connect(self._cancel)

    def close(self) -> None:
        """Remove the layer and bring back the one that was active."""
        layer, self._layer = self._layer, None
        if layer is None:
            return
        self._viewer.layers.selection.events.active.disconnect(self._cancel)
        was_active = self._viewer.layers.selection.active is layer
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
        if was_active and self._former in self._viewer.layers:
            self._viewer.layers.selection.active = self._former
        self._former = None

    def _cancel(self, _event: Any = None) -> None:
        """End with the choice of another layer, once napari has finished it."""
        QTimer.singleShot(0, self.close)

    def _follow(self, job: AnnotationJob, event: Any) -> None:
        """Take the line when it is complete, because napari is still busy with it now."""
        if event.action == "added" and self._layer is not None:
            positions = to_image_pixels(job.image, self._layer, self._layer.data[-1])
            indices, line_yx = job.planes.split(positions)
            QTimer.singleShot(0, partial(self._deliver, indices[0], line_yx))

    def _deliver(self, index: Any, line_yx: Any) -> None:
        if self.is_active:
            self.close()
            self.drawn.emit(index, line_yx)
