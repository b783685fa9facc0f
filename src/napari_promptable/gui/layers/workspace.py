"""Keeps an annotation job in step with the viewer."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Image, Labels
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.uncommitted import has_uncommitted, take_along
from napari_promptable.gui.layers.adapters import plane_axes_of
from napari_promptable.gui.layers.annotation_job import AnnotationJob, start_job
from napari_promptable.gui.layers.canvas import LayerKeys
from napari_promptable.gui.layers.labels_layers import LabelsLayers
from napari_promptable.gui.layers.layer_labels import has_labels_of, is_labels_layer_for
from napari_promptable.gui.layers.prompt_layers import PromptLayers
from napari_promptable.gui.layers.refresh_watch import RefreshWatch
from napari_promptable.planes import Index, PlaneAxes


class Workspace:
    """Starts, replaces and ends the annotation job as images, labels and axes change.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer itself, not napari's proxy of it.
    keys : LayerKeys
        Keys for our layers and the labels layer.

    Attributes
    ----------
    image : Image or None
        The chosen image.
    job : AnnotationJob or None
        None without an image, and while the viewer shows no plane of it.
    refreshes : RefreshWatch
        Reports that the image's data may have changed in place.
    pixels_changed : psygnal.Signal
        Emitted when embeddings and answers no longer match the image.
    job_changed : psygnal.Signal
        Emits the former job, or None, when another job has started or none is left.
    plane_changed : psygnal.Signal
        Emitted when another plane may have come into view.
    left : psygnal.Signal
        Emits the id of an object that is not committed and that stays behind because the image
        got other data or the viewer shows other axes.
    labels_lost : psygnal.Signal
        Emits the name of a labels layer that new data made unusable, and the name of the one
        that replaces it.
    """

    pixels_changed = Signal()
    job_changed = Signal(object)
    plane_changed = Signal()
    left = Signal(int)
    labels_lost = Signal(str, str)

    def __init__(self, viewer: ViewerModel, keys: LayerKeys) -> None:
        self._viewer = viewer
        self._keys = keys
        self.image: Image | None = None
        self.job: AnnotationJob | None = None
        self._labels_layers = LabelsLayers(viewer)
        self.refreshes = RefreshWatch(viewer)
        dims = viewer.dims.events
        self._dims_events = (dims.current_step, dims.order, dims.ndisplay, dims.ndim)
        for event in self._dims_events:
            event.connect(self._follow_dims)
        viewer.layers.events.removed.connect(self._replace_removed_labels)

    def close(self) -> None:
        """Disconnect from the viewer. The labels layer stays, and its session with it."""
        for event in self._dims_events:
            event.disconnect(self._follow_dims)
        self._viewer.layers.events.removed.disconnect(self._replace_removed_labels)
        self.set_image(None)
        self._labels_layers.close()

    @property
    def session(self) -> SegmentationSession | None:
        """The job's session."""
        return None if self.job is None else self.job.session

    # what is annotated

    def set_image(self, image: Image | None) -> None:
        """Segment another image, or none."""
        former, self.image = self.image, image
        if former is not None:
            former.events.data.disconnect(self._follow_pixels)
        if image is not None:
            image.events.data.connect(self._follow_pixels)
        self.refreshes.follow(image)
        self._start_job(labels_layer=None)

    def set_labels_layer(self, labels_layer: Labels | None) -> None:
        """Commit to this labels layer from now on. None makes a new one."""
        if self.job is not None:
            self._use_labels(self.job.layers, labels_layer)

    def possible_labels_layers(self) -> list[Labels]:
        """Labels layers of the image's shape, the topmost first."""
        if self.job is None:
            return []
        preview = self.job.layers.preview
        fitting = self._labels_layers.fitting(self.job.planes)
        return [layer for layer in fitting if layer is not preview]

    # what is in view

    def visible_index(self) -> Index | None:
        """Index of the plane in view, or None where the image has no plane."""
        return None if self.job is None else self.job.visible_index()

    def show_plane(self, index: Index) -> None:
        """Bring a plane of the image into view."""
        if self.job is not None:
            self.job.show_plane(index)

    def locate(self, world: tuple[float, ...]) -> tuple[Index, npt.NDArray[np.floating]] | None:
        """Return the plane in view and a world position on it, see `AnnotationJob.locate`."""
        return None if self.job is None else self.job.locate(world)

    def _planes_in_view(self) -> PlaneAxes | None:
        return None if self.image is None else plane_axes_of(self.image, self._viewer.dims)

    def check_image(self) -> None:
        """Follow new data of the image of which napari reported nothing.

        napari keeps data before it looks at them; where it fails then, it sends no event.
        """
        if self.job is not None and self._planes_in_view() != self.job.planes:
            self._follow_pixels()

    def _follow_dims(self) -> None:
        """React to a change of slice or displayed axes."""
        former = self.job
        self._follow_axes()
        if self.job is not None:
            self.job.watch.visible = self.job.visible_index()
        self.plane_changed.emit()
        if former is not self.job and (left := _uncommitted_in(former)):
            self.left.emit(left)

    def _follow_axes(self) -> bool:
        """Start another job if the planes in view are other ones, and return whether it did."""
        former = None if self.job is None else self.job.planes
        is_due = self.image in self._viewer.layers and self._planes_in_view() != former
        if is_due:
            self._start_job(None if self.job is None else self.job.labels_layer)
        return is_due

    def _follow_pixels(self, _event: Any = None) -> None:
        """React to new data of the image, which may have another shape or other axes."""
        former = self.job
        if not self._follow_axes():
            self.pixels_changed.emit()
        elif left := _uncommitted_in(former):
            self.left.emit(left)

    # jobs

    def _start_job(self, labels_layer: Labels | None) -> None:
        """Start a job on the plane in view, with this labels layer if it fits the image."""
        planes, former = self._planes_in_view(), self.job
        if former is not None:
            self._replace_job(None)
            former.layers.close()
        if self.image is None or planes is None:
            return
        labels_layer = self._labels_layers.choose(self.image, planes, labels_layer)
        layers = PromptLayers(self._viewer, self.image, planes, self._keys)
        layers.ensure_layers()
        self._use_labels(layers, labels_layer)
        layers.activate_tool("positive")

    def _use_labels(self, layers: PromptLayers, labels_layer: Labels | None) -> Labels:
        """Start a job with this labels layer, or a new one, and return the layer."""
        is_new = labels_layer is None
        if labels_layer is None:
            labels_layer = self._labels_layers.make(layers.image, layers.planes)
            self._labels_layers.insert(labels_layer, layers.image)
        self._labels_layers.use(labels_layer, layers.image)
        self._replace_job(start_job(self._viewer, layers, labels_layer, is_new=is_new))
        return labels_layer

    def _replace_job(self, job: AnnotationJob | None, *, takes_along: bool = True) -> None:
        former, self.job = self.job, job
        if former is not None:
            former.labels_layer.events.data.disconnect(self.check_labels)
            if job is not None and takes_along:
                take_along(former.session, job.session)
            former.leave()
            former.layers.clear_preview()
        if job is not None:
            job.labels_layer.events.data.connect(self.check_labels)
        if job is None or former is None:
            self.pixels_changed.emit()
        self.job_changed.emit(former)

    def _replace_removed_labels(self, event: Any) -> None:
        """Continue with an empty labels layer when the user removed ours.

        It enters the viewer later, and the object that is not committed goes along later: all
        layers may be about to be removed, and the object then stays with the others.
        """
        job = self.job
        if job is None or event.value is not job.labels_layer:
            return
        labels_layer = self._labels_layers.make(job.image, job.planes)
        new = start_job(self._viewer, job.layers, labels_layer, is_new=True)
        # Before listeners schedule what they say: the layer's entry clears the status line.
        QTimer.singleShot(0, partial(self._insert_missing_labels, job.session))
        self._replace_job(new, takes_along=False)

    def _insert_missing_labels(self, former: SegmentationSession) -> None:
        job = self.job
        if job is None or job.labels_layer in self._viewer.layers:
            return
        if job.image in self._viewer.layers:
            self._labels_layers.insert(job.labels_layer, job.image)
            take_along(former, job.session)

    def check_labels(self, event: Any = None) -> None:
        """Continue in a new labels layer if new data made ours unusable.

        Without an event, as in `check_image`, labels that can only be read stay in use.
        """
        job, can_be_used = self.job, has_labels_of if event is None else is_labels_layer_for
        if job is not None and not can_be_used(job.labels_layer, job.planes):
            labels_layer = self._use_labels(job.layers, None)
            self.labels_lost.emit(job.labels_layer.name, labels_layer.name)


def _uncommitted_in(job: AnnotationJob | None) -> int:
    """Id of the object that a job works on if it is not committed, 0 otherwise."""
    if job is None:
        return 0
    current = job.session.prompts.current_object
    return current if has_uncommitted(job.session, current) else 0
