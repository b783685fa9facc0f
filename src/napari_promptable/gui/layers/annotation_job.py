"""One annotation job: an image, our layers on it, a labels layer and their session."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_promptable.annotation.object_ids import iter_free_ids
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.gui.layers.adapters import full_resolution, visible_index
from napari_promptable.gui.layers.axes import axis_names, channel_choices, propagation_axes
from napari_promptable.gui.layers.labels_watch import LabelsWatch, Looks, look_at
from napari_promptable.gui.layers.layer_labels import LayerLabels, highest_id, is_in_memory
from napari_promptable.gui.layers.prompt_layers import PromptLayers
from napari_promptable.masks import PackedMask
from napari_promptable.plane_source import PlaneSource, levels_by_step
from napari_promptable.planes import Channel, Index, PlaneAxes

_LABELS_KEYS = ("M", "P", "X", "Control-Z", "Control-Shift-Z")
"""Keys of napari itself on labels layers: next free label, paint, swap labels, undo, redo."""

_SESSIONS: WeakKeyDictionary[Labels, dict[tuple[int, int], SegmentationSession]] = (
    WeakKeyDictionary()
)
"""Sessions by labels layer and plane axes, so that a reopened widget finds prompts and history.

A session refers to its layer weakly (see `LayerLabels`), so that both are freed once the layer
has left the viewer.
"""


@dataclass(frozen=True, eq=False)
class AnnotationJob:
    """All that belongs to segmenting one image into one labels layer.

    Attributes
    ----------
    viewer : ViewerModel
        Shows the layers.
    image : Image
        The image to segment.
    layers : PromptLayers
        Clicks, boxes and preview.
    labels_layer : Labels
        Receives committed objects.
    session : SegmentationSession
        Of this labels layer and these plane axes.
    watch : LabelsWatch
        Finds the planes of the labels layer that changed.
    """

    viewer: ViewerModel
    image: Image
    layers: PromptLayers
    labels_layer: Labels
    session: SegmentationSession
    watch: LabelsWatch

    def leave(self) -> None:
        """Remove our callbacks and keys from the labels layer. `layers` stay."""
        self.watch.close()
        self.layers.keys.unbind(self.labels_layer)
        self.session.answers.forget()  # pixels or model may differ when the session resumes

    def note_looks(self, looks: Looks) -> None:
        """Update the records of planes that differ, and report them."""
        for index, look in looks.planes.items():
            is_changed = self.watch.accept(index, look)
            if self.session.note_plane(index, look.extents) or is_changed:
                self.watch.changed.emit(index)

    def catch_up(self) -> None:
        """Compare all planes of labels in memory at once."""
        labels = self.labels_layer
        if is_in_memory(labels) and labels.data.shape == self.planes.shape:
            indices = self.planes.indices()
            self.note_looks(look_at(LayerLabels(labels), self.planes, indices, self.watch.seen))

    @property
    def planes(self) -> PlaneAxes:
        """Axes along which the image is cut into planes."""
        return self.layers.planes

    def source(self, channel: Channel | None) -> PlaneSource:
        """Return a reader of the image's planes."""
        image = self.image
        levels = levels_by_step(list(image.data), self.planes.axes) if image.multiscale else {}
        return PlaneSource(full_resolution(image), self.planes, channel, levels)

    def channels(self) -> list[tuple[str, Channel | None]]:
        """Name the channels that the model can be shown."""
        names = axis_names(self.image, self.viewer.dims)
        return channel_choices(self.image, self.planes, names)

    def propagation_axes(self) -> list[tuple[str, int]]:
        """Name the axes to propagate along, the best one first."""
        names = axis_names(self.image, self.viewer.dims)
        return [(names[axis], axis) for axis in propagation_axes(names, self.planes)]

    @property
    def num_unread_labels(self) -> int:
        """Planes of labels on disk to read before a new id is known to be free."""
        return 0 if is_in_memory(self.labels_layer) else self.watch.num_unseen

    # view

    def show_mask(self, index: Index, mask: PackedMask | None) -> None:
        """Show what a commit would write of a mask on a plane, or nothing."""
        if mask is not None:
            mask = self.session.labels.clip(self.session.prompts.current_object, index, mask)
        self.layers.show_mask(index, mask)

    def visible_index(self) -> Index | None:
        """Index of the plane in view, or None in 3D and outside the image."""
        if self.viewer.dims.ndisplay != 2:
            return None
        return visible_index(self.image, self.planes, self.viewer.dims)

    def show_plane(self, index: Index) -> None:
        """Bring a plane of the image into view."""
        planes = self.planes
        point = planes.join(index, np.array([[n / 2 for n in planes.plane_shape]]))[0]
        world = self.image.data_to_world(point)
        offset = self.viewer.dims.ndim - len(world)
        axes = [offset + axis for axis in planes.other_axes]
        self.viewer.dims.set_point(axes, [float(world[axis]) for axis in planes.other_axes])

    def locate(self, world: tuple[float, ...]) -> tuple[Index, npt.NDArray[np.floating]] | None:
        """Return the plane in view and a world position (row, col) on it, None if outside."""
        index = self.visible_index()
        if index is None:
            return None
        position = np.asarray(self.image.world_to_data(world[-self.image.ndim :]))
        point = position[list(self.planes.axes)]
        is_inside = (np.rint(point) >= 0) & (np.rint(point) < self.planes.plane_shape)
        return (index, point) if is_inside.all() else None


def start_job(
    viewer: ViewerModel, layers: PromptLayers, labels_layer: Labels, *, is_new: bool
) -> AnnotationJob:
    """Commit to a labels layer from now on.

    Parameters
    ----------
    viewer : ViewerModel
        Shows the layers.
    layers : PromptLayers
        Our layers on the image.
    labels_layer : Labels
        Of the image's shape; need not be in the viewer yet.
    is_new : bool
        Whether the labels layer is known to be empty.
    """
    layers.keys.bind(labels_layer, leave=_LABELS_KEYS)
    watch = LabelsWatch(labels_layer, layers.planes, viewer.dims, is_new=is_new)
    session = _open_session(labels_layer, layers.planes)
    job = AnnotationJob(viewer, layers.image, layers, labels_layer, session, watch)
    watch.visible = job.visible_index()
    return job


def _open_session(labels_layer: Labels, planes: PlaneAxes) -> SegmentationSession:
    """Resume or start the session of a labels layer and plane axes."""
    sessions = _SESSIONS.setdefault(labels_layer, {})
    if planes.axes not in sessions:
        known = [highest_id(labels_layer)]
        for session in sessions.values():
            known += [*session.prompts.objects, *session.records.object_ids]
        labels = LayerLabels(labels_layer)
        first_id = next(iter_free_ids(known, labels.dtype))
        sessions[planes.axes] = SegmentationSession(planes, labels, first_id)
    return sessions[planes.axes]
