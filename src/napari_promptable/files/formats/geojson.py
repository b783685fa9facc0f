"""GeoJSON as QuPath reads it: a feature for each object on a plane.

Source of the members: QuPath 0.5, `qupath.lib.io.GsonTools`. Corners lie on the edges of
pixels at full resolution, holes are interior rings, and class, color and measurements are
properties.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, Literal

import shapely

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.formats.drawing import LabelCanvas
from napari_promptable.files.formats.labelled_objects import (
    DEFAULT_CLASS,
    Color,
    LabelledObjects,
    ObjectSlice,
)
from napari_promptable.files.formats.outlines import fill_outline, trace_outline
from napari_promptable.files.writing import write_json
from napari_promptable.planes import Index

ObjectType = Literal["annotation", "cell", "detection"]

_NAMESPACE = uuid.UUID("5b7d9f3e-6a0c-4c3e-9f59-0d2f7a4b1c68")


def write_geojson(
    path: Path, objects: LabelledObjects, *, object_type: ObjectType = "detection"
) -> None:
    """Write a feature collection.

    Parameters
    ----------
    path : Path
        Of the GeoJSON file.
    objects : LabelledObjects
        What to write. QuPath knows the axes Z and T.
    object_type : {"detection", "annotation", "cell"}
        What QuPath makes of the objects.

    Raises
    ------
    ImageFormatError
        If there is an axis that QuPath has no place for.
    """
    if unknown := set(objects.axes[:-2]) - {"T", "Z"}:
        raise ImageFormatError(
            f"GeoJSON has no place for the axis {', '.join(sorted(unknown))} of "
            f"{objects.axes}; export one channel"
        )
    features = [_feature(part, objects, object_type) for part in objects.slices()]
    write_json(path, {"type": "FeatureCollection", "features": features}, indent=None)


def _feature(
    part: ObjectSlice, objects: LabelledObjects, object_type: ObjectType
) -> dict[str, Any]:
    object_id = part.object_id
    outline = trace_outline(part.mask, part.origin)
    geometry = outline.geoms[0] if len(outline.geoms) == 1 else outline
    position = objects.position(part.index)
    plane = {"c": -1, "z": position.get("Z", 0), "t": position.get("T", 0)}
    measurements = {"Area px^2": float(part.area)}
    confidence = objects.confidence.get((object_id, part.index))
    if confidence is not None:
        measurements["Predicted IoU"] = round(float(confidence), 4)
    name = f"{objects.image_name}/{object_id}/{part.index}"
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, name)),
        "geometry": {**shapely.geometry.mapping(geometry), "plane": plane},
        "properties": {
            "objectType": object_type,
            "name": str(object_id),
            "classification": {
                "name": objects.class_of(object_id),
                "color": list(objects.color_of(object_id)),
            },
            "measurements": measurements,
            "object_id": object_id,
        },
    }


def read_geojson(path: Path, shape: tuple[int, ...], axes: str = "") -> LabelledObjects:
    """Draw the polygons of a GeoJSON file into labels.

    Parameters
    ----------
    path : Path
        Of the GeoJSON file.
    shape : tuple of int
        Shape of the image, (..., Y, X).
    axes : str, optional
        A letter for each axis.

    Returns
    -------
    LabelledObjects
        Ids are `object_id` where the file has them, else features are numbered. Where objects
        overlap, the one that comes first in the file keeps the pixels.

    Raises
    ------
    ImageFormatError
        If this is no GeoJSON, or has no polygon.
    """
    try:
        features = _read_features(json.loads(path.read_text(encoding="utf-8")))
        return _draw(features, shape, axes)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, ImageFormatError):
            raise
        raise ImageFormatError(
            f"{path} is not a GeoJSON file of polygons ({type(error).__name__}: {error})"
        ) from error


def _read_features(content: Any) -> list[dict[str, Any]]:
    """Features of a collection, a list of features (as QuPath may write), or a single one."""
    if isinstance(content, list):
        return content
    return list(content["features"]) if "features" in content else [content]


def _draw(features: list[dict[str, Any]], shape: tuple[int, ...], axes: str) -> LabelledObjects:
    canvas = LabelCanvas(shape)
    found = LabelledObjects(canvas.labels, axes)
    class_names: dict[int, str] = {}
    colors: dict[str, Color] = {}
    confidence: dict[tuple[int, Index], float] = {}
    for number, feature in enumerate(features, start=1):
        properties = feature.get("properties") or {}
        object_id = int(properties.get("object_id", number))
        plane = feature["geometry"].get("plane", {})
        index = tuple(int(plane.get(axis.lower(), 0)) for axis in found.axes[:-2])
        outline = shapely.geometry.shape(feature["geometry"])
        canvas.draw(object_id, index, *fill_outline(outline, (shape[-2], shape[-1])))
        classification = properties.get("classification") or {}
        name = classification.get("name", DEFAULT_CLASS)
        if name != DEFAULT_CLASS:
            class_names[object_id] = name
            if "color" in classification:
                red, green, blue = classification["color"]
                colors[name] = (red, green, blue)
        measurements = properties.get("measurements") or {}
        if isinstance(measurements, dict) and "Predicted IoU" in measurements:
            confidence[object_id, index] = float(measurements["Predicted IoU"])
    return LabelledObjects(
        canvas.labels,
        found.axes,
        class_names=class_names,
        class_colors=colors,
        confidence=confidence,
    )
