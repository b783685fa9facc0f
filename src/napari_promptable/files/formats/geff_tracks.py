"""Tracks as a graph in the Graph Exchange File Format (GEFF), a zarr folder.

A node is an object at one time, with its position, id, class and area; an edge leads to the
same object in the next frame in which it is there. The labels themselves are not part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_promptable.errors import ImageFormatError, MissingPackageError
from napari_promptable.files.formats.labelled_objects import DEFAULT_CLASS, LabelledObjects
from napari_promptable.files.formats.tracks import Detection, find_detections, require_time
from napari_promptable.files.writing import complete_folder

if TYPE_CHECKING:
    import networkx

_AXIS_TYPES = {"T": "time", "Z": "space", "Y": "space", "X": "space"}


def write_geff(path: Path, objects: LabelledObjects) -> None:
    """Write the tracks of a time series.

    Parameters
    ----------
    path : Path
        Folder to make.
    objects : LabelledObjects
        Labels of a time series, TYX or TZYX. Positions are written in physical units.

    Raises
    ------
    ImageFormatError
        If this is no time series.
    MissingPackageError
        If the package `geff` is not installed.
    """
    geff = _import_geff()
    require_time(objects, "GEFF")
    names = [axis.lower() for axis in objects.axes]
    has_unit = objects.unit != "pixel"
    with complete_folder(path, ImageFormatError) as folder:
        geff.write(
            _make_graph(objects),
            folder,
            axis_names=names,
            axis_units=[
                ("second" if axis == "T" else objects.unit) if has_unit else None
                for axis in objects.axes
            ],
            axis_types=[_AXIS_TYPES[axis] for axis in objects.axes],
            zarr_format=2,
            overwrite=True,
        )


def _import_geff() -> Any:
    try:
        import geff
    except ImportError as error:
        raise MissingPackageError(
            "GEFF needs the package 'geff': pip install 'napari-promptable[export]'"
        ) from error
    return geff


def _make_graph(objects: LabelledObjects) -> networkx.DiGraph[int]:
    import networkx

    graph: networkx.DiGraph[int] = networkx.DiGraph()
    newest: dict[int, int] = {}
    for node, detection in enumerate(find_detections(objects)):
        graph.add_node(node, **_properties(detection, objects))
        if detection.object_id in newest:
            graph.add_edge(newest[detection.object_id], node)
        newest[detection.object_id] = node
    return graph


def _properties(detection: Detection, objects: LabelledObjects) -> dict[str, float | int | str]:
    place = (detection.time, *detection.center)
    world = (n * scale for n, scale in zip(place, objects.scale, strict=True))
    names = (axis.lower() for axis in objects.axes)
    return {
        **{name: float(value) for name, value in zip(names, world, strict=True)},
        "object_id": detection.object_id,
        "class_name": objects.class_of(detection.object_id),
        "area": detection.area,
    }


def read_geff(path: Path) -> list[dict[str, Any]]:
    """Read the nodes of a graph: where objects are, and when.

    Parameters
    ----------
    path : Path
        Zarr folder.

    Returns
    -------
    list of dict
        Properties of each node, such as t, z, y, x (in the file's units) and `object_id`.

    Raises
    ------
    ImageFormatError
        If this is no GEFF.
    MissingPackageError
        If the package `geff` is not installed.
    """
    geff = _import_geff()
    try:
        graph, _ = geff.read(path)
    except (ValueError, KeyError, OSError, FileNotFoundError) as error:
        raise ImageFormatError(f"{path} is not a GEFF graph ({error})") from error
    return [dict(properties) for _, properties in graph.nodes(data=True)]


def draw_positions(
    path: Path, shape: tuple[int, ...], axes: str, scale: tuple[float, ...]
) -> LabelledObjects:
    """Read a GEFF as labels of one pixel for each node, from which points can be made.

    Parameters
    ----------
    path : Path
        Zarr folder with positions in physical units.
    shape : tuple of int
        Shape of the image.
    axes : str
        A letter for each axis.
    scale : tuple of float
        Size of a pixel along each axis.

    Returns
    -------
    LabelledObjects
        A node without the property `object_id` is an object of its own.

    Raises
    ------
    ImageFormatError
        If this is no GEFF, it lacks an axis, or a node lies outside the image.
    MissingPackageError
        If the package `geff` is not installed.
    """
    labels, names = np.zeros(shape, np.uint32), {}
    for number, node in enumerate(read_geff(path), start=1):
        object_id = int(node.get("object_id", number))
        labels[_pixel_of(node, path, shape, axes, scale)] = object_id
        name = str(node.get("class_name", DEFAULT_CLASS))
        if name != DEFAULT_CLASS:
            names[object_id] = name
    return LabelledObjects(labels, axes, scale, class_names=names)


def _pixel_of(
    node: Mapping[str, Any],
    path: Path,
    shape: tuple[int, ...],
    axes: str,
    scale: tuple[float, ...],
) -> tuple[int, ...]:
    """Pixel nearest to a node. Raises ImageFormatError if there is none."""
    missing = [axis for axis in axes.lower() if axis not in node]
    if missing:
        raise ImageFormatError(
            f"{path} has no positions along {missing[0]}, and the image has the axes {axes}; "
            "name the image's axes"
        )
    world = [float(node[axis]) for axis in axes.lower()]
    pixel = tuple(round(n / size) for n, size in zip(world, scale, strict=True))
    if not all(0 <= n < length for n, length in zip(pixel, shape, strict=True)):
        raise ImageFormatError(
            f"{path} has an object at {world}, outside an image of shape {shape}; check the "
            "pixel sizes of the image"
        )
    return pixel
