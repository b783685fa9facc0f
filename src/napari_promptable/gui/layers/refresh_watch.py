"""Refreshes of an image layer, by which users say that its data changed in place."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from psygnal import Signal


class RefreshWatch:
    """Tells refreshes from napari's own redrawing, such as for another slice.

    Parameters
    ----------
    viewer : ViewerModel
        Shows the image.

    Attributes
    ----------
    refreshed : psygnal.Signal
        Emitted when the image was drawn again although the view of it is the same.
    """

    refreshed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._image: Image | None = None
        self._view: object = None

    def follow(self, image: Image | None) -> None:
        """Watch another image, or none."""
        if self._image is not None:
            self._image.events.set_data.disconnect(self._compare)
        self._image = image
        if image is not None:
            self._view = self._describe_view(image)
            image.events.set_data.connect(self._compare)

    def _compare(self, _event: Any) -> None:
        assert self._image is not None
        former, self._view = self._view, self._describe_view(self._image)
        if former == self._view:
            self.refreshed.emit()

    def _describe_view(self, image: Image) -> object:
        """Describe what of the image is drawn: of a pyramid, the part and the level."""
        dims = self._viewer.dims
        part = (image.data_level, image.corner_pixels.tolist()) if image.multiscale else None
        return dims.point, dims.order, dims.ndisplay, part
