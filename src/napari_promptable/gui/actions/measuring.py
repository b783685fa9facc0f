"""Verbs that measure objects and save the table."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.layers import Image, Labels
from psygnal import Signal

from napari_promptable.gui.actions import messages
from napari_promptable.gui.actions.performer import Performer
from napari_promptable.gui.layers.adapters import full_resolution, spatial_shape
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.described import CLASS, INDEX, describe_job
from napari_promptable.gui.layers.ownership import is_shown_by_us
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.threads import call_in_thread

if TYPE_CHECKING:
    import pandas as pd

_ID = "object_id"


class MeasureActions:
    """Measures the saved objects in a thread.

    Parameters
    ----------
    viewer : ViewerModel
        Holds the images in which intensities are measured.
    workspace : Workspace
        Holds the annotation job.
    performer : Performer
        Reports success and errors.

    Attributes
    ----------
    measured : psygnal.Signal
        Emits the table, a pandas.DataFrame.
    """

    measured = Signal(object)

    def __init__(self, viewer: ViewerModel, workspace: Workspace, performer: Performer) -> None:
        self._viewer, self._workspace, self._performer = viewer, workspace, performer

    def measure(self, per_slice: bool) -> None:
        """Measure all saved objects. The table also becomes features of the labels layer.

        Intensities are measured in the chosen image and in the other images of its shape. A
        row of the features is one object, so objects that were measured slice by slice or frame
        by frame have none.
        """
        job = self._workspace.job
        if job is None or not job.session.records.object_ids:
            self._performer.noted.emit(messages.NOTHING_TO_MEASURE)
            return
        job.catch_up()
        self._performer.noted.emit(messages.MEASURING)
        objects = describe_job(job, self._viewer.dims)
        image, channel_axis = self._image_of(job)

        def measure() -> pd.DataFrame:
            from napari_promptable.measurement.measure import measure_objects

            return measure_objects(objects, image, channel_axis, per_slice)

        call_in_thread(measure, partial(self._deliver, job), self._performer.report)

    def _image_of(self, job: AnnotationJob) -> tuple[Any, int | None]:
        """The channels to measure in, and their axis."""
        chosen = job.image
        others = [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image)
            and layer is not chosen
            and not layer.rgb
            and not is_shown_by_us(layer)
            and spatial_shape(layer) == job.planes.shape
        ]
        if chosen.rgb:
            return full_resolution(chosen), -1
        if not others:
            return full_resolution(chosen), None
        return {layer.name: full_resolution(layer) for layer in (chosen, *others)}, None

    def _deliver(self, job: AnnotationJob, table: pd.DataFrame) -> None:
        if job is not self._workspace.job:
            return
        fill_features(job.labels_layer, table)
        self._performer.noted.emit(messages.describe_measured(table[_ID].nunique(), len(table)))
        self.measured.emit(table)

    def save(self, path: str, table: pd.DataFrame) -> None:
        """Write a table as CSV or Parquet."""
        from napari_promptable.measurement.tables import write_table

        if self._performer.perform(write_table, Path(path), table) is not None:
            self._performer.noted.emit(f"Table of {len(table)} rows saved to {path}.")


def fill_features(layer: Labels, table: pd.DataFrame) -> None:
    """Make measurements the features of a labels layer, beside columns of the user's own.

    Nothing happens if the table has several rows for an object.
    """
    import pandas as pd

    if not table[_ID].is_unique:
        return
    features = table.rename(columns={_ID: INDEX})
    features[CLASS] = features[CLASS].astype(object)
    own = layer.features
    if INDEX in own:
        kept = own[[INDEX, *(name for name in own if name not in features)]]
        features = pd.merge(features, kept, on=INDEX, how="left")
    layer.features = features
