"""COCO instance annotations: an image for each plane, an annotation for each object on it.

Source: https://cocodataset.org/#format-data. Masks are run lengths in column order, which
lose nothing, or polygons. Annotations also carry the object's id, so that objects that go
through several planes are found again, and the predicted IoU as `score`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from shapely.geometry import MultiPolygon, Polygon

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.formats.drawing import LabelCanvas
from napari_promptable.files.formats.labelled_objects import (
    DEFAULT_CLASS,
    LabelledObjects,
    ObjectSlice,
)
from napari_promptable.files.formats.outlines import fill_outline, trace_outline
from napari_promptable.files.writing import write_json
from napari_promptable.planes import Index


def write_coco(path: Path, objects: LabelledObjects, *, with_polygons: bool = False) -> None:
    """Write a COCO file.

    Parameters
    ----------
    path : Path
        Of the JSON file.
    objects : LabelledObjects
        What to write.
    with_polygons : bool, default False
        Write polygons instead of run lengths. COCO's polygons have no holes: those are filled.
    """
    image_ids = {index: i for i, index in enumerate(objects.planes.indices(), start=1)}
    slices = list(objects.slices())
    classes = sorted({DEFAULT_CLASS, *(objects.class_of(s.object_id) for s in slices)})
    categories = {name: i for i, name in enumerate(classes, start=1)}
    height, width = objects.planes.plane_shape
    write_json(
        path,
        {
            "info": {"description": objects.image_name, "axes": objects.axes},
            "images": [
                {
                    "id": image_id,
                    "file_name": objects.image_name,
                    "height": height,
                    "width": width,
                    "position": list(index),
                }
                for index, image_id in image_ids.items()
            ],
            "categories": [{"id": i, "name": name} for name, i in categories.items()],
            "annotations": [
                {
                    "id": annotation_id,
                    "image_id": image_ids[part.index],
                    "category_id": categories[objects.class_of(part.object_id)],
                    **_describe(part, objects, with_polygons),
                }
                for annotation_id, part in enumerate(slices, start=1)
            ],
        },
        indent=None,
    )


def _describe(
    part: ObjectSlice, objects: LabelledObjects, with_polygons: bool
) -> dict[str, Any]:
    """Geometry of one annotation, its object and its score."""
    (top, left), (height, width) = part.origin, part.mask.shape
    shape = objects.planes.plane_shape
    segmentation = _to_polygons(part) if with_polygons else _to_run_lengths(part, shape)
    description = {
        "object_id": part.object_id,
        "segmentation": segmentation,
        "bbox": [left, top, width, height],
        "area": part.area,
        "iscrowd": 0,
    }
    score = objects.confidence.get((part.object_id, part.index))
    return description if score is None else {**description, "score": round(float(score), 4)}


def _to_run_lengths(part: ObjectSlice, shape: tuple[int, int]) -> dict[str, Any]:
    """Lengths of runs of zeros and of ones in turn, down the columns, zeros first."""
    (top, left), (height, width) = part.origin, part.mask.shape
    columns = np.zeros((width, shape[0]), bool)
    columns[:, top : top + height] = part.mask.T
    flat = columns.ravel()
    changes = (
        np.flatnonzero(np.diff(flat.astype(np.int8), prepend=0, append=0)) + left * shape[0]
    )
    bounds = [0, *changes.tolist(), shape[0] * shape[1]]
    return {"size": list(shape), "counts": np.diff(bounds).tolist()}


def _to_polygons(part: ObjectSlice) -> list[list[float]]:
    """x, y, x, y, … of the outer ring of each part."""
    outline = trace_outline(part.mask, part.origin)
    return [
        np.array(polygon.exterior.coords)[:-1].ravel().tolist() for polygon in outline.geoms
    ]


def read_coco(path: Path, shape: tuple[int, ...] | None = None) -> LabelledObjects:
    """Read the labels of a COCO file.

    Parameters
    ----------
    path : Path
        Of the JSON file.
    shape : tuple of int, optional
        Shape of the image, (..., Y, X). By default it follows from the file's images.

    Returns
    -------
    LabelledObjects
        Ids are `object_id` where the file has them, else those of the annotations. Where
        objects overlap, the one that comes first in the file keeps the pixels.

    Raises
    ------
    ImageFormatError
        If this is no COCO file, or one whose masks cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return _parse(content, shape)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        if isinstance(error, ImageFormatError):
            raise
        raise ImageFormatError(
            f"{path} is not a COCO file of instances ({type(error).__name__}: {error}); it "
            "needs 'images', 'categories' and 'annotations'"
        ) from error


def _parse(content: dict[str, Any], shape: tuple[int, ...] | None) -> LabelledObjects:
    indices = _indices(content["images"])
    plane_shape = (content["images"][0]["height"], content["images"][0]["width"])
    others = tuple(1 + max(axis) for axis in zip(*indices.values(), strict=True))
    canvas = LabelCanvas(shape or (*others, *plane_shape))
    names = {category["id"]: category["name"] for category in content["categories"]}
    class_names: dict[int, str] = {}
    confidence: dict[tuple[int, Index], float] = {}
    for annotation in content["annotations"]:
        index = indices[annotation["image_id"]]
        object_id = int(annotation.get("object_id", annotation["id"]))
        canvas.draw(object_id, index, *_read_mask(annotation["segmentation"], plane_shape))
        if names[annotation["category_id"]] != DEFAULT_CLASS:
            class_names[object_id] = names[annotation["category_id"]]
        if "score" in annotation:
            confidence[object_id, index] = float(annotation["score"])
    axes = content.get("info", {}).get("axes", "")
    return LabelledObjects(
        canvas.labels,
        axes if len(axes) == canvas.labels.ndim else "",
        class_names=class_names,
        confidence=confidence,
    )


def _indices(images: list[dict[str, Any]]) -> dict[int, Index]:
    """Position of each image. Files of other programs number their images only."""
    if all("position" in image for image in images):
        return {image["id"]: tuple(image["position"]) for image in images}
    if len(images) == 1:
        return {images[0]["id"]: ()}
    return {image["id"]: (i,) for i, image in enumerate(images)}


def _read_mask(
    segmentation: Any, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], npt.NDArray[np.bool_]]:
    if isinstance(segmentation, list):
        rings = (np.reshape(ring, (-1, 2)) for ring in segmentation)
        return fill_outline(MultiPolygon([Polygon(ring) for ring in rings]), shape)
    counts = segmentation["counts"]
    if isinstance(counts, str):
        counts = decompress_counts(counts)
    height, width = segmentation["size"]
    bounds = np.cumsum([0, *counts])
    if bounds[-1] != height * width:
        raise ImageFormatError(
            f"run lengths add up to {bounds[-1]} pixels in a mask of {height} × {width}"
        )
    first = int(bounds[1]) // height  # only the columns of the object are drawn
    last = max(first, -(-int(bounds[2 * ((len(bounds) - 1) // 2)]) // height))
    lengths = np.diff(np.clip(bounds, first * height, last * height))
    values = np.arange(len(lengths)) % 2 == 1
    mask = np.repeat(values, lengths).reshape(last - first, height).T
    return (slice(0, height), slice(first, last)), mask


def decompress_counts(text: str) -> list[int]:
    """Decode run lengths that were compressed by COCO's own tools.

    Parameters
    ----------
    text : str
        A variable number of characters for each length: five bits each, from 48 on, the sixth
        bit says that more follow. From the third length on, the difference to the one before
        the last is stored.

    Returns
    -------
    list of int
        Lengths.

    Notes
    -----
    Source: `rleFrString` in cocoapi, common/maskApi.c.

    Examples
    --------
    >>> decompress_counts("52203")
    [5, 2, 2, 2, 5]
    """
    counts: list[int] = []
    for value in _decompressed_values(text):
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


def _decompressed_values(text: str) -> Iterable[int]:
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            is_negative = bits & 0x10
            yield value - (1 << shift) if is_negative else value
            value = shift = 0
