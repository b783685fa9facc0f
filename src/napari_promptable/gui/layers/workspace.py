"""What is being annotated: an image, the tool layers on it, a labels layer and a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.gui.layers.adapters import (
    LayerLabels,
    channel_choices,
    highest_id,
    is_in_memory,
    is_possible_target,
    make_objects_layer,
    plane_axes_of,
    visible_index,
)
from napari_promptable.gui.layers.labels_watch import LabelsWatch
from napari_promptable.gui.layers.prompt_layers import PromptLayers
from napari_promptable.planes import Channel, Index, PlaneAxes, PlaneSource

_SESSIONS: WeakKeyDictionary[Labels, dict[tuple[int, int], SegmentationSession]] = (
    WeakKeyDictionary()
)
"""Sessions by the labels layer they write to and the plane axes, so that a widget that is
opened again finds prompts and history; they go with their layer."""


class Workspace:
    """Keeps image, tool layers, target and session in step with the viewer.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer itself, not napari's proxy of it.
    keys : dict of str to callable
        Keys bound on our layers while the widget is open.

    Attributes
    ----------
    image : Image or None
        What is segmented.
    layers : PromptLayers or None
        Clicks, boxes and preview; None without an image plane in view.
    target : Labels or None
        Where objects are committed to.
    session : SegmentationSession or None
        Of this target and these plane axes.
    watch : LabelsWatch or None
        Which planes of the target are to be looked at.
    session_changed : psygnal.Signal
        Emits (former session or None) after another one was opened, or none.
    plane_changed : psygnal.Signal
        Emitted when another plane came into view.
    pixels_changed : psygnal.Signal
        Emitted when the image holds other pixels.
    prompts_edited : psygnal.Signal
        Emitted when the user edited prompts.
    tool_changed : psygnal.Signal
        Emits the name of the active tool.
    labels_painted : psygnal.Signal
        Emits the index of a plane of the target on which somebody painted.
    """

    session_changed = Signal(object)
    plane_changed = Signal()
    pixels_changed = Signal()
    prompts_edited = Signal()
    tool_changed = Signal(str)
    labels_painted = Signal(tuple)

    def __init__(self, viewer: ViewerModel, keys: Mapping[str, Callable[[Any], None]]) -> None:
        self._viewer = viewer
        self._keys = keys
        self.image: Image | None = None
        self.layers: PromptLayers | None = None
        self.target: Labels | None = None
        self.session: SegmentationSession | None = None
        self.watch: LabelsWatch | None = None
        dims = viewer.dims.events
        self._dims_events = (dims.current_step, dims.order, dims.ndisplay, dims.ndim)
        for event in self._dims_events:
            event.connect(self._follow_dims)
        viewer.layers.events.removed.connect(self._replace_removed_target)

    def close(self) -> None:
        """Leave the viewer; the target stays, and its session with it."""
        for event in self._dims_events:
            event.disconnect(self._follow_dims)
        self._viewer.layers.events.removed.disconnect(self._replace_removed_target)
        self.set_image(None)

    def set_image(self, image: Image | None) -> None:
        """Work on another image, or on none."""
        former, self.image = self.image, image
        if former is not None:
            former.events.data.disconnect(self._report_pixels)
        self._leave_planes()
        if image is not None:
            image.events.data.connect(self._report_pixels)
        self.pixels_changed.emit()
        self._enter_planes(target=None)

    def _report_pixels(self, _event: Any = None) -> None:
        self.pixels_changed.emit()

    def set_target(self, target: Labels | None) -> None:
        """Commit to this labels layer from now on; None makes a new one."""
        if self.layers is None or self.image is None:
            return
        is_new = target is None
        if target is None:
            target = make_objects_layer(self.image, self.layers.planes)
            self._insert(target)
        self._leave_target()
        self.target = target
        self.layers.bind_keys(target)
        self.watch = LabelsWatch(target, self.layers.planes, is_new=is_new)
        self.watch.visible = self.visible_index()
        self.watch.painted.connect(lambda index: self.labels_painted.emit(index))
        self._set_session(_open_session(target, self.layers.planes))

    def _leave_target(self) -> None:
        """Take our keys and callbacks from the target."""
        if self.watch is not None:
            self.watch.close()
        if self.target is not None and self.layers is not None:
            self.layers.unbind_keys(self.target)
        self.target = self.watch = None

    def _insert(self, target: Labels) -> None:
        """Put a new target on the image; the active layer stays active."""
        layers = self._viewer.layers
        active = layers.selection.active
        layers.insert(layers.index(self.image) + 1, target)
        if active is not None:
            layers.selection.active = active

    def possible_targets(self) -> list[Labels]:
        """Labels layers of the image's shape, the topmost first."""
        if self.layers is None:
            return []
        return [
            layer
            for layer in reversed(self._viewer.layers)
            if is_possible_target(layer, self.layers.planes)
            and layer is not self.layers.preview
        ]

    def has_layer(self, layer: Any) -> bool:
        """Whether a layer is in the viewer."""
        return layer in self._viewer.layers

    @property
    def num_unseen_labels(self) -> int:
        """Planes of labels on disk to be looked at before a new id is known to be free."""
        if self.target is None or self.watch is None or is_in_memory(self.target):
            return 0
        return self.watch.num_unseen

    def channels(self) -> list[tuple[str, Channel | None]]:
        """Channels that the model can be shown, in words."""
        if self.image is None or self.layers is None:
            return [("all", None)]
        return channel_choices(self.image, self.layers.planes)

    def visible_index(self) -> Index | None:
        """Index of the plane in view; None where no plane of the image is."""
        if self.image is None or self.layers is None or self._viewer.dims.ndisplay != 2:
            return None
        return visible_index(self.image, self.layers.planes, self._viewer.dims)

    def show_plane(self, index: Index) -> None:
        """Bring a plane of the image into view."""
        if self.image is None or self.layers is None:
            return
        planes = self.layers.planes
        point = planes.join(index, np.array([[n / 2 for n in planes.plane_shape]]))[0]
        world = self.image.data_to_world(point)
        offset = self._viewer.dims.ndim - len(world)
        axes = [offset + axis for axis in planes.other_axes]
        self._viewer.dims.set_point(axes, [float(world[axis]) for axis in planes.other_axes])

    def source(self, channel: Channel | None) -> PlaneSource:
        """Where planes are read from; there must be layers."""
        assert self.image is not None and self.layers is not None
        data = self.image.data[0] if self.image.multiscale else self.image.data
        return PlaneSource(data, self.layers.planes, channel)

    def _enter_planes(self, target: Labels | None) -> None:
        """Make tool layers for the plane in view and open a session."""
        planes = self._planes_in_view()
        if self.image is None or planes is None:
            return
        self.layers = PromptLayers(self._viewer, self.image, planes, self._keys)
        self.layers.edited.connect(lambda: self.prompts_edited.emit())
        self.layers.tool_changed.connect(lambda name: self.tool_changed.emit(name))
        self.layers.ensure_layers()
        known = [layer for layer in self.possible_targets() if layer in _SESSIONS]
        self.set_target(target or (known[0] if known else None))
        self.layers.activate_tool("positive")

    def _leave_planes(self) -> None:
        """Remove tool layers and close the session."""
        self._set_session(None)
        self._leave_target()
        layers, self.layers = self.layers, None
        if layers is not None:
            layers.close()

    def _planes_in_view(self) -> PlaneAxes | None:
        return None if self.image is None else plane_axes_of(self.image, self._viewer.dims)

    def _follow_dims(self) -> None:
        """Take note of another plane in view, of other axes even."""
        former = None if self.layers is None else self.layers.planes
        if self.image in self._viewer.layers and self._planes_in_view() != former:
            target = self.target
            self._leave_planes()
            self.pixels_changed.emit()
            self._enter_planes(target)
        if self.watch is not None:
            self.watch.visible = self.visible_index()
        self.plane_changed.emit()

    def _replace_removed_target(self, event: Any) -> None:
        """Close the session of a target that the user deleted, and soon make a new one.

        Not at once, because the viewer may be about to remove all its layers.
        """
        if event.value is self.target:
            self._leave_target()
            self._set_session(None)
            QTimer.singleShot(0, self._make_missing_target)

    def _make_missing_target(self) -> None:
        if self.target is None and self.image in self._viewer.layers:
            self.set_target(None)

    def _set_session(self, session: SegmentationSession | None) -> None:
        former, self.session = self.session, session
        if former is not None and former is not session:
            former.forget_answers()  # pixels or model may be others when it is taken up again
        if self.layers is not None:
            self.layers.clear_preview()
        if session is not former:
            self.session_changed.emit(former)


def _open_session(target: Labels, planes: PlaneAxes) -> SegmentationSession:
    """Take up, or begin, the session of a target and plane axes."""
    sessions = _SESSIONS.setdefault(target, {})
    if planes.axes not in sessions:
        known = [session.highest_id for session in sessions.values()]
        first_id = max([highest_id(target), *known]) + 1
        sessions[planes.axes] = SegmentationSession(planes, LayerLabels(target), first_id)
    return sessions[planes.axes]
