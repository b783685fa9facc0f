"""ImageJ regions of interest in a zip file: a region for each object on a plane.

Simple outlines become polygons, outlines with holes or several parts composite regions. The
name of a region begins with the object's id.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import roifile
import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.formats.drawing import LabelCanvas
from napari_promptable.files.formats.labelled_objects import (
    DEFAULT_CLASS,
    LabelledObjects,
    ObjectSlice,
)
from napari_promptable.files.formats.outlines import fill_outline, trace_outline
from napari_promptable.files.writing import complete_file
from napari_promptable.planes import Index

_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0  # path operations of java.awt.geom.PathIterator
_NAME = re.compile(r"(?P<id>\d+)(?:-\d+)?(?: (?P<class_name>.+))?")


def write_imagej_rois(path: Path, objects: LabelledObjects) -> None:
    """Write a zip file of regions, which ImageJ's ROI Manager opens.

    Parameters
    ----------
    path : Path
        Of the zip file.
    objects : LabelledObjects
        What to write. Positions on the axes C, Z and T are kept, counted from 1.

    Raises
    ------
    ImageFormatError
        If there is an axis that ImageJ does not have.
    """
    if unknown := set(objects.axes[:-2]) - set("CZT"):
        raise ImageFormatError(
            f"ImageJ has the axes C, Z and T, and these labels have {objects.axes}; export a "
            f"part without {', '.join(sorted(unknown))}"
        )
    with (
        complete_file(path, ImageFormatError) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for number, part in enumerate(objects.slices(), start=1):
            region = _to_region(part, number, objects)
            archive.writestr(f"{region.name}.roi", region.tobytes())


def _to_region(part: ObjectSlice, number: int, objects: LabelledObjects) -> roifile.ImagejRoi:
    outline = trace_outline(part.mask, part.origin)
    is_simple = len(outline.geoms) == 1 and not outline.geoms[0].interiors
    region = _to_polygon(outline.geoms[0]) if is_simple else _to_composite(outline)
    class_name = objects.class_of(part.object_id)
    suffix = "" if class_name == DEFAULT_CLASS else f" {class_name.replace('/', '_')}"
    region.name = f"{part.object_id:04}-{number}{suffix}"
    for axis, position in objects.position(part.index).items():
        setattr(region, f"{axis.lower()}_position", position + 1)
    if objects.axes[:-2] in ("Z", "T"):
        region.position = part.index[0] + 1
    return region


def _to_polygon(polygon: Polygon) -> roifile.ImagejRoi:
    corners = np.array(polygon.exterior.coords)[:-1].astype(np.int32)
    return roifile.ImagejRoi.frompoints(corners)


def _to_composite(outline: MultiPolygon) -> roifile.ImagejRoi:
    """Write all rings as one path. ImageJ fills by the even-odd rule."""
    path: list[float] = []
    for polygon in outline.geoms:
        for ring in (polygon.exterior, *polygon.interiors):
            corners = list(ring.coords)[:-1]
            path += [_MOVE, *corners[0]]
            for corner in corners[1:]:
                path += [_LINE, *corner]
            path.append(_CLOSE)
    left, top, right, bottom = (int(n) for n in outline.bounds)
    return roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE.RECT,
        top=top,
        left=left,
        bottom=bottom,
        right=right,
        shape_roi_size=len(path),
        multi_coordinates=np.array(path, np.float32),
    )


def read_imagej_rois(path: Path, shape: tuple[int, ...], axes: str = "") -> LabelledObjects:
    """Draw regions into labels.

    Parameters
    ----------
    path : Path
        Of a zip file or a single .roi file.
    shape : tuple of int
        Shape of the image, (..., Y, X).
    axes : str, optional
        A letter for each axis.

    Returns
    -------
    LabelledObjects
        Ids are the numbers that names begin with, else regions are numbered. Where objects
        overlap, the one that comes first in the file keeps the pixels.

    Raises
    ------
    ImageFormatError
        If the file holds no regions, or one that has no area.
    """
    try:
        regions = roifile.roiread(path)
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise ImageFormatError(f"{path} holds no ImageJ regions ({error})") from error
    canvas = LabelCanvas(shape)
    found = LabelledObjects(canvas.labels, axes)
    class_names: dict[int, str] = {}
    for number, region in enumerate(
        regions if isinstance(regions, list) else [regions], start=1
    ):
        match = _NAME.fullmatch(region.name or "")
        object_id = int(match["id"]) if match else number
        outline = _to_outline(region)
        canvas.draw(
            object_id,
            _index_of(region, found.axes),
            *fill_outline(outline, (shape[-2], shape[-1])),
        )
        if match and match["class_name"]:
            class_names[object_id] = match["class_name"]
    return LabelledObjects(canvas.labels, found.axes, class_names=class_names)


def _to_outline(region: roifile.ImagejRoi) -> BaseGeometry:
    """Combine the rings of a region by the even-odd rule."""
    rings = region.coordinates(multi=True)
    rings = rings if isinstance(rings, list) else [rings]
    polygons = [Polygon(ring) for ring in rings if len(ring) > 2]
    if not polygons:
        raise ImageFormatError(
            f"the ImageJ region {region.name!r} is a {region.roitype.name.lower()} without an "
            "area; only regions with an area become objects"
        )
    return _symmetric_difference(polygons)


def _symmetric_difference(polygons: Iterable[Polygon]) -> BaseGeometry:
    outline: BaseGeometry = Polygon()
    for polygon in polygons:
        outline = shapely.symmetric_difference(outline, shapely.make_valid(polygon))
    return outline


def _index_of(region: roifile.ImagejRoi, axes: str) -> Index:
    """Position on the other axes, or 0 where the region has none."""
    positions: dict[str, int] = {
        axis: getattr(region, f"{axis.lower()}_position") for axis in "CZT"
    }
    others = axes[:-2]
    if others in ("Z", "T") and not positions[others]:
        positions[others] = region.position
    return tuple(max(0, positions.get(axis, 0) - 1) for axis in others)
