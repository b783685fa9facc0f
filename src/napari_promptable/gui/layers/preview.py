"""The current object's mask on the canvas: a double outline, lightly filled.

One line is light and one is dark: the mask shows on images of any brightness and colour.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.utils import CyclicLabelColormap

from napari_promptable.gui.layers.adapters import camera_of, visible_index
from napari_promptable.gui.layers.following import transform_of
from napari_promptable.gui.layers.labels_array import needs_pyramid, pyramid_steps
from napari_promptable.gui.layers.mask_pyramid import MaskLevel, MaskPyramid
from napari_promptable.gui.layers.outlines import outline_values
from napari_promptable.gui.layers.plane_stack import PlaneStack
from napari_promptable.masks import BoolArray, PackedMask
from napari_promptable.planes import Index, PlaneAxes

PREVIEW_NAME = "preview"
FILL, LIGHT, DARK = 1, 2, 3
"""How an object is drawn; the layer's data are 1 in it and 0 outside."""

_LINE_PX = 1.5  # of each line, on the screen
_COLORS = [
    (0.0, 0.0, 0.0, 0.0),
    (0.2, 1.0, 1.0, 0.2),  # fill
    (0.6, 1.0, 1.0, 1.0),  # light line
    (0.0, 0.15, 0.25, 1.0),  # dark line
]

Region = tuple[slice, slice]


def make_preview_layer(image: Image, planes: PlaneAxes) -> Labels:
    """Make the layer for the current candidate. Only planes that show one use memory."""
    return _make_layer(image, PlaneStack(planes))


def _make_layer(image: Image, data: Any) -> Labels:
    layer = Labels(
        data,
        name=PREVIEW_NAME,
        # napari compiles a direct colormap at its first use, for more than a second
        colormap=CyclicLabelColormap(colors=_COLORS),
        opacity=1.0,
        **transform_of(image),
    )
    layer.editable = False
    return layer


class Preview:
    """Shows masks in the preview layer, which is made when it is first needed.

    Only the bounding box of what changes is drawn and sent to the graphics card.

    Parameters
    ----------
    viewer : ViewerModel
        Where the layer is shown.
    image : Image
        The image under it.
    planes : PlaneAxes
        The image's planes.
    add : callable
        Puts a new layer into the viewer.

    Attributes
    ----------
    layer : Labels or None
        None until it is needed, and after the user has deleted it.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        image: Image,
        planes: PlaneAxes,
        add: Callable[[Labels], None],
    ) -> None:
        self._viewer, self._image, self._planes, self._add = viewer, image, planes, add
        self.layer: Labels | None = None
        self._pyramid: MaskPyramid | None = None
        self._shown: dict[Index, Region] = {}
        self._line_width = 1
        self._is_redrawing = False
        camera_of(viewer).events.zoom.connect(self._follow_zoom)

    def close(self) -> None:
        """Disconnect from the viewer. The layer stays."""
        camera_of(self._viewer).events.zoom.disconnect(self._follow_zoom)
        self.forget_layer()

    def forget_layer(self) -> None:
        """React to the layer having left the viewer."""
        self.layer = None
        self._shown.clear()

    def ensure_layer(self) -> Labels:
        """Make the layer if it is missing."""
        if self.layer is None and needs_pyramid(self._image, self._planes):
            self._pyramid = MaskPyramid(self._planes, pyramid_steps(self._planes))
            self.layer = _make_layer(self._image, self._pyramid.levels)
            self._add(self.layer)
        elif self.layer is None:
            self.layer = make_preview_layer(self._image, self._planes)
            self._add(self.layer)
            # after napari's own callback, which draws the data and thus no lines
            self.layer.events.set_data.connect(self._draw_lines, position="last")
        elif not self._has_our_data(self.layer):  # a script gave it other data
            ours = None if self._pyramid is None else self._pyramid.levels
            self.layer.data = ours or PlaneStack(self._planes)
            self._shown.clear()
        return self.layer

    def _has_our_data(self, layer: Labels) -> bool:
        if self._pyramid is None:
            return isinstance(layer.data, PlaneStack)
        return isinstance(layer.data[0], MaskLevel)

    def show(self, index: Index, mask: PackedMask | None) -> None:
        """Show a mask on a plane, or none."""
        region = None if mask is None else mask.region
        former = self._shown.get(index)
        if former == region and (
            mask is None or region is None or self._has(index, mask.crop())
        ):
            return
        self._shown.pop(index, None)
        layer = self.ensure_layer()
        if self._pyramid is not None:
            self._show_in_pyramid(index, mask)
            return
        if former is not None:
            layer.data[self._planes.region(index, *former)] = 0
        if mask is not None and region is not None:
            layer.data[self._planes.region(index, *region)] = mask.crop()
            self._shown[index] = region
        else:
            layer.data.drop(index)
        self._draw(index, unite_regions([each for each in (former, region) if each]))

    def _show_in_pyramid(self, index: Index, mask: PackedMask | None) -> None:
        """Let napari draw a mask, or none, at the resolution that it shows."""
        assert self.layer is not None and self._pyramid is not None
        self._pyramid.put(index, mask)
        if mask is not None and mask.region is not None:
            self._shown[index] = mask.region
        self.layer.refresh(thumbnail=False, highlight=False, extent=False)

    def shows(self, index: Index) -> bool:
        """Whether a plane has a mask with any pixel."""
        return index in self._shown

    def _has(self, index: Index, crop: BoolArray) -> bool:
        """Whether this mask is shown on a plane already, in its bounding box."""
        if self.layer is None or self._pyramid is not None:
            return False
        shown = self.layer.data[self._planes.region(index, *self._shown[index])]
        return bool(np.array_equal(shown, crop))

    def clear(self) -> None:
        """Remove the masks from all planes."""
        for index in list(self._shown):
            self.show(index, None)

    def _draw(self, index: Index, region: Region) -> None:
        """Redraw a part of a plane, if the plane is in view."""
        dims, layer = self._viewer.dims, self.layer
        if layer is None or layer.multiscale:
            return
        if dims.ndisplay != 2:
            layer.refresh(thumbnail=False, highlight=False, extent=False)
        elif index == visible_index(self._image, self._planes, dims):
            self._line_width = self._fitting_width()
            mask = np.asarray(layer.data[self._planes.region(index, *region)]) > 0
            values, offset = outline_values(mask, self._line_width), [p.start for p in region]
            if dims.order[-2] > dims.order[-1]:  # rows are displayed along the horizontal
                values, offset = np.ascontiguousarray(values.T), offset[::-1]
            layer.events.labels_update(data=values, offset=offset)

    def _draw_lines(self, _event: object = None) -> None:
        """Draw the lines of the mask in view again."""
        if self._is_redrawing:  # napari refreshes a layer that it has not drawn yet
            return
        index = visible_index(self._image, self._planes, self._viewer.dims)
        if index in self._shown and self._viewer.dims.ndisplay == 2:
            self._is_redrawing = True
            try:
                self._draw(index, self._shown[index])
            finally:
                self._is_redrawing = False

    def _fitting_width(self) -> int:
        """Width of a line in pixels of the image, so that it can be seen at this zoom."""
        pixel_size = float(np.abs(np.asarray(self._image.scale)[list(self._planes.axes)]).min())
        on_screen = camera_of(self._viewer).zoom * pixel_size
        return max(1, round(_LINE_PX / on_screen)) if on_screen > 0 else 1

    def _follow_zoom(self, _event: object = None) -> None:
        """Draw the lines again where another width fits."""
        if self._fitting_width() != self._line_width:
            self._draw_lines()


def unite_regions(regions: list[Region]) -> Region:
    """Find the smallest rectangle that holds all of some."""
    rows, columns = zip(*regions, strict=True)
    return (
        slice(min(part.start for part in rows), max(part.stop for part in rows)),
        slice(min(part.start for part in columns), max(part.stop for part in columns)),
    )
