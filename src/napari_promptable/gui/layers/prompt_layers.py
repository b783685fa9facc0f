"""The layers of one annotation job: clicks, boxes and preview."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes
from qtpy.QtCore import QTimer

from napari_promptable.gui.layers.adapters import (
    NEGATIVE,
    POSITIVE,
    make_boxes_layer,
    make_points_layer,
    next_click,
    next_refined,
    refines_code,
    set_default_features,
    set_next_box,
    set_next_click,
    set_next_stroke,
    to_image_pixels,
)
from napari_promptable.gui.layers.canvas import LayerKeys
from napari_promptable.gui.layers.edit_watch import IN_3D, EditWatch
from napari_promptable.gui.layers.following import Following
from napari_promptable.gui.layers.preview import Preview
from napari_promptable.gui.layers.prompt_values import read_layers, write_layers
from napari_promptable.gui.layers.tools import BOX_MODES, POINTS_MODE, SCRIBBLE, ToolWatch
from napari_promptable.masks import PackedMask
from napari_promptable.planes import Index, PlaneAxes
from napari_promptable.prompts import PlanePrompts


class PromptLayers:
    """Makes, reads, writes and removes the layers. The user may delete each at any time.

    Parameters
    ----------
    viewer : ViewerModel
        Where they are shown.
    image : Image
        The image under them.
    planes : PlaneAxes
        The image's planes.
    keys : LayerKeys
        Keys for our layers.

    Attributes
    ----------
    edits : EditWatch
        Reports the user's edits.
    tool : ToolWatch
        Knows which tool is active.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        image: Image,
        planes: PlaneAxes,
        keys: LayerKeys,
    ) -> None:
        self.image = image
        self.planes = planes
        self._viewer = viewer
        self.keys = keys
        self._object_id = 1
        self.points: Points | None = None
        self.boxes: Shapes | None = None
        self.edits = EditWatch(viewer, image, planes, lambda: self._object_id)
        self.edits.clicked.connect(self._add_click)
        self.tool = ToolWatch(viewer, lambda: (self.points, self.boxes))
        self._preview = Preview(viewer, image, planes, self._add)
        self._following = Following(image, lambda _: self._layers())
        viewer.layers.events.removed.connect(self._forget_removed)

    # making and removing

    def ensure_layers(self) -> None:
        """Make the layers that are missing, the preview lowest."""
        self._preview.ensure_layer()
        if self.boxes is None:
            self.boxes = make_boxes_layer(self.image, self.planes, self._object_id)
            self._add(self.boxes)
            self.edits.watch_boxes(self.boxes)
            self.tool.follow(self.boxes)
        if self.points is None:
            self.points = make_points_layer(self.image, self.planes, self._object_id)
            self._add(self.points)
            self.edits.watch_points(self.points)
            self.tool.follow(self.points)

    def _add(self, layer: Layer) -> None:
        self._viewer.add_layer(layer)
        self.keys.bind(layer)

    def close(self) -> None:
        """Remove our layers and callbacks from the viewer."""
        self._viewer.layers.events.removed.disconnect(self._forget_removed)
        self._following.close()
        self.tool.close()
        layers = self._layers()
        self.points = self.boxes = None
        self._preview.close()
        for layer in layers:
            self._release(layer)
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def _release(self, layer: Layer) -> None:
        """Leave nothing of ours on a layer: napari may keep a removed one for a while."""
        self.keys.unbind(layer)
        self.edits.release(layer)

    def _forget_removed(self, event: Any) -> None:
        """React to the user deleting one of our layers."""
        if event.value in self._layers():
            self._release(event.value)
        if event.value is self.preview:
            self._preview.forget_layer()
        elif event.value is self.points:
            self.points = None
            QTimer.singleShot(0, self._report_removed)
        elif event.value is self.boxes:
            self.boxes = None
            QTimer.singleShot(0, self._report_removed)

    def _report_removed(self) -> None:
        """Report prompts that the user removed with their layer.

        If the image went in the same moment, as when the viewer closes, they are kept.
        """
        if self.image in self._viewer.layers:
            self.edits.report()

    def _layers(self) -> list[Layer]:
        """Our layers that the user has not deleted."""
        return [layer for layer in (self.points, self.boxes, self.preview) if layer is not None]

    # prompts

    def read(self) -> dict[Index, PlanePrompts]:
        """Read the current object's prompts by plane."""
        to_image = partial(to_image_pixels, self.image)
        return read_layers(self.points, self.boxes, to_image, self.planes)

    def write(self, object_id: int, prompts: Mapping[Index, PlanePrompts]) -> None:
        """Show an object's prompts instead of the ones on the layers."""
        is_other = object_id != self._object_id
        self._object_id = object_id
        with self.edits.silence():
            write_layers(self.points, self.boxes, self.planes, object_id, prompts)
            if is_other and self.points is not None and next_click(self.points) == NEGATIVE:
                set_next_click(self.points, POSITIVE)
                self.tool.update()

    def _add_click(self, world: npt.NDArray[np.floating]) -> None:
        """Add a click at a world position."""
        self.ensure_layers()
        assert self.points is not None
        self.points.add(self.points.world_to_data(world))

    def set_refined(self, candidate: int | None) -> None:
        """Record with future clicks which candidate they correct."""
        code = refines_code(candidate)
        if self.points is not None and next_refined(self.points) != code:
            with self.edits.silence():
                set_default_features(self.points, refines=code)

    # tools

    def activate_tool(self, name: str) -> None:
        """Select the right layer in the right mode."""
        if self.edits.is_in_3d:
            self.edits.refused.emit(IN_3D)
            return
        self.ensure_layers()
        assert self.points is not None and self.boxes is not None
        is_click = name in (POSITIVE, NEGATIVE)
        if is_click:
            with self.edits.silence():
                set_next_click(self.points, name)
        elif name == SCRIBBLE:
            set_next_stroke(self.boxes, next_click(self.points))
        else:
            set_next_box(self.boxes)
        layer = self.points if is_click else self.boxes
        self._viewer.layers.selection.active = layer
        layer.mode = POINTS_MODE if is_click else BOX_MODES[name]
        self.tool.update()

    def toggle_sign(self) -> None:
        """Switch the next click between + and −, or bring back the tool if none is active."""
        if not self.tool.active:
            self.activate_tool(self.tool.latest)
            return
        is_negative = self.points is not None and next_click(self.points) == NEGATIVE
        self.activate_tool(POSITIVE if is_negative else NEGATIVE)

    # preview

    @property
    def preview(self) -> Labels | None:
        """The layer that shows the current object's mask."""
        return self._preview.layer

    def show_mask(self, index: Index, mask: PackedMask | None) -> None:
        """Show a candidate's mask on a plane, or none."""
        self._preview.show(index, mask)

    def shows_mask(self, index: Index) -> bool:
        """Whether the preview has a mask with any pixel on a plane.

        Where the user has deleted the preview, it may have one.
        """
        return self.preview is None or self._preview.shows(index)

    def clear_preview(self) -> None:
        """Remove the masks from all planes."""
        self._preview.clear()
