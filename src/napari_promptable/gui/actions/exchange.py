"""Verbs that carry objects to other programs and back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Labels, Layer, Points, Shapes

from napari_promptable.files.formats.as_prompts import BOX, import_for_prompts, to_prompts
from napari_promptable.files.formats.exchange import Format, export_objects, import_objects
from napari_promptable.files.formats.labelled_objects import LabelledObjects, rgb_to_hex
from napari_promptable.gui.actions import messages
from napari_promptable.gui.actions.performer import Performer
from napari_promptable.gui.actions.sources import SourceActions
from napari_promptable.gui.layers.adapters import BOX_COLOR
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.described import CLASS, INDEX, describe_job
from napari_promptable.gui.layers.following import transform_of
from napari_promptable.gui.layers.object_colors import make_colormap
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.panels.sources import BOXES, POINTS
from napari_promptable.gui.work.threads import call_in_thread
from napari_promptable.prompts import PlanePrompts


class ExchangeActions:
    """Exports and imports objects, in a thread.

    Parameters
    ----------
    viewer : ViewerModel
        Gets the layers that are imported.
    workspace : Workspace
        Holds the annotation job.
    performer : Performer
        Reports success and errors.
    sources : SourceActions
        Makes objects of imported prompts.
    use_labels : callable
        Makes a labels layer the one in use.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: Workspace,
        performer: Performer,
        sources: SourceActions,
        use_labels: Callable[[Labels], None],
    ) -> None:
        self._viewer, self._workspace, self._performer = viewer, workspace, performer
        self._sources, self._use_labels = sources, use_labels

    def write(self, path: str, format_name: str) -> None:
        """Write all saved objects in another program's format."""
        job = self._workspace.job
        if job is None:
            return
        job.catch_up()
        objects = describe_job(job, self._viewer.dims)

        def tell(written: Format) -> None:
            text = messages.describe_exported(path, written.title, written.loss)
            self._performer.noted.emit(text)

        export = partial(export_objects, path, objects, format_name)
        call_in_thread(export, tell, self._performer.report)

    def read(self, path: str, kind: str) -> None:
        """Read objects of another program.

        Parameters
        ----------
        path : str
            File or folder.
        kind : str
            "labels": a new labels layer, which is edited from then on; "box" or "point": a
            layer of prompts, from which one button makes objects.
        """
        job = self._workspace.job
        if job is None:
            self._performer.noted.emit(messages.OPEN_IMAGE_FIRST)
            return
        grid, shape = describe_job(job, self._viewer.dims), job.planes.shape
        if kind == "labels":
            deliver: Any = self._add_labels
            load = partial(import_objects, path, shape, grid.axes)
        else:
            deliver = partial(self._add_prompts, kind)
            load = partial(import_for_prompts, path, kind, shape, grid.axes, grid.scale)
        call_in_thread(
            load,
            partial(self._deliver, job, Path(path).stem, deliver),
            self._performer.report,
        )

    def _deliver(
        self, job: AnnotationJob, name: str, deliver: Any, found: LabelledObjects
    ) -> None:
        if job is not self._workspace.job:
            return
        if not found.find_ids():
            self._performer.noted.emit(messages.describe_loaded(()))
            return
        deliver(job, name, found)

    def _add_labels(self, job: AnnotationJob, name: str, found: LabelledObjects) -> None:
        names = found.class_names
        layer = Labels(
            found.labels,
            name=name,
            colormap=make_colormap(),
            opacity=job.labels_layer.opacity,
            features={INDEX: list(names), CLASS: list(names.values())},
            **transform_of(job.image),
        )
        self._viewer.add_layer(layer)
        self._use_labels(layer)
        session = self._workspace.session
        if session is not None:
            for each, color in found.class_colors.items():
                session.classes.define(each, rgb_to_hex(color))
            session.classes.assign(names)
        count = len(found.find_ids())
        self._performer.noted.emit(messages.describe_imported(count, layer.name))

    def _add_prompts(
        self, kind: str, job: AnnotationJob, name: str, found: LabelledObjects
    ) -> None:
        """Add a layer of prompts, and make it the one that the buttons take prompts from."""
        planes = found.planes
        positions: list[npt.NDArray[np.floating]] = []
        ids: list[int] = []
        for object_id, prompts in to_prompts(found, kind).items():
            for index, prompt in prompts.items():
                positions.append(planes.join(index, _corners(prompt)))
                ids.append(object_id)
        features = {"object_id": ids, CLASS: [found.class_names.get(i, "") for i in ids]}
        layer: Layer
        options = {"features": features, **transform_of(job.image)}
        if kind == BOX:
            layer = Shapes(
                positions,
                name=f"{name} boxes",
                face_color="transparent",
                edge_color=BOX_COLOR,
                **options,
            )
        else:
            layer = Points(np.concatenate(positions), name=f"{name} points", **options)
        self._viewer.add_layer(layer)
        self._sources.use(BOXES if kind == BOX else POINTS, layer)


def _corners(prompt: PlanePrompts) -> npt.NDArray[np.floating]:
    """The point, or the four corners of the box, ndarray of float, shape (n, 2)."""
    if len(prompt.points_yx):
        return prompt.points_yx
    top, left, bottom, right = prompt.boxes_yxyx[0]
    return np.array([[top, left], [top, right], [bottom, right], [bottom, left]])
