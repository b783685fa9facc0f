"""Labels layers with the facts about their objects that other programs keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from napari.components import Dims

from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.files.formats.labelled_objects import LabelledObjects, hex_to_rgb
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.axes import axis_names
from napari_promptable.planes import Index

INDEX, CLASS = "index", "class"
"""Feature columns of a labels layer: a label's value, as napari has it, and its class."""


def describe_layer(data: Any, meta: Mapping[str, Any]) -> LabelledObjects:
    """Describe a labels layer by its own values.

    Parameters
    ----------
    data : array of int, shape (..., Y, X)
        Pixels of the layer.
    meta : dict
        Other values of the layer. Its feature "class" counts for the objects that its feature
        "index" names.
    """
    units = meta.get("units") or ("pixel",)
    return LabelledObjects(
        data,
        _axes_of(meta.get("axis_labels") or (), len(data.shape)),
        tuple(float(size) for size in meta.get("scale", ())),
        str(units[-1]),
        str(meta.get("name", "")),
        class_names=_classes_of(meta.get("features")),
    )


def _axes_of(names: Any, ndim: int) -> str:
    """Letters of the axes, empty unless each axis has one."""
    axes = "".join(str(name).upper() for name in names)
    is_named = len(axes) == len(set(axes)) == ndim and axes.endswith("YX")
    return axes if is_named else ""


def _classes_of(features: Any) -> dict[int, str]:
    if features is None or not {INDEX, CLASS} <= set(features):
        return {}
    known = zip(features[INDEX], features[CLASS], strict=True)
    return {int(i): str(name) for i, name in known if i > 0 and isinstance(name, str) and name}


def describe_job(job: AnnotationJob, dims: Dims) -> LabelledObjects:
    """Describe the saved objects of a job, with the classes and confidences of its session."""
    data, meta, _ = job.labels_layer.as_layer_data_tuple()
    names = {"axis_labels": axis_names(job.image, dims), "name": job.image.name}
    objects = describe_layer(data, {**meta, **names})
    session = job.session
    return replace(
        objects,
        class_names={**objects.class_names, **session.records.class_names},
        class_colors={n: hex_to_rgb(color) for n, color in session.classes.colors.items()},
        confidence=_confidence_of(session) if session.planes == objects.planes else {},
    )


def _confidence_of(session: SegmentationSession) -> dict[tuple[int, Index], float]:
    records = session.records
    return {
        (object_id, index): record.confidence
        for object_id in records.object_ids
        for index, record in records.of(object_id).items()
        if record.is_known
    }
