"""napari's readers and writers for other programs' formats: drag and drop, File → Save."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.formats.exchange import export_objects, import_objects
from napari_promptable.files.formats.geff_tracks import read_geff
from napari_promptable.gui.layers.described import CLASS, INDEX, describe_layer
from napari_promptable.gui.layers.following import transform_of
from napari_promptable.gui.opening import (
    OUTLINES,
    each_of,
    find_opening_viewer,
    hand_over,
)
from napari_promptable.gui.reader import NO_LAYER, LayerData, Read


def write_labels_layer(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer in the format of the path's ending.

    Parameters
    ----------
    path : str
        File or folder to make; .zarr may also be the OME-Zarr image.
    data : array of int, shape (..., Y, X)
        Pixels of the layer.
    meta : dict
        Other values of the layer. Its feature "class" is written for the objects that its
        feature "index" names.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    ImageFormatError, MissingPackageError
        As `export_objects`.
    """
    export_objects(path, describe_layer(data, meta))
    return [path]


def get_coco_reader(path: str | list[str]) -> Read | None:
    """Return a reader if a JSON file holds COCO instances."""
    try:
        content = json.loads(Path(each_of(path)[0]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_coco = isinstance(content, dict) and {"images", "annotations"} <= content.keys()
    return _read_labels if is_coco else None


def get_regions_reader(path: str | list[str]) -> Read | None:
    """Return a reader for GeoJSON, .roi files and zip files of these, None for other zips."""
    first = each_of(path)[0]
    if first.lower().endswith(".zip"):
        if not zipfile.is_zipfile(first):
            return None
        with zipfile.ZipFile(first) as archive:
            names = archive.namelist()
        return _read_labels if names and all(n.endswith(".roi") for n in names) else None
    return _read_labels


def get_tracks_reader(path: str | list[str]) -> Read | None:
    """Return a reader for GEFF folders."""
    return _read_tracks if Path(each_of(path)[0]).is_dir() else None


def _read_labels(path: str | list[str]) -> list[LayerData]:
    """Hand files to the viewer's editing window. Without one, draw them as Labels layers."""
    if hand_over(OUTLINES, path):
        return NO_LAYER
    image = _image_in_view()
    return list(chain.from_iterable(_labels_of(Path(one), image) for one in each_of(path)))


def _labels_of(path: Path, image: Image | None) -> list[LayerData]:
    if image is None:
        raise ImageFormatError(
            f"{path.name} holds outlines without the size of their image; open the image first"
        )
    data = image.data[0] if image.multiscale else image.data
    shape = tuple(data.shape[: image.ndim])
    found = import_objects(path, shape)
    features = {
        INDEX: list(found.class_names),
        CLASS: list(found.class_names.values()),
    }
    options = {"name": path.stem, "features": features, **transform_of(image)}
    return [(found.labels, options, "labels")]


def _image_in_view() -> Image | None:
    """Return the viewer's selected image, or else its topmost one."""
    viewer = find_opening_viewer()
    if viewer is None:
        return None
    layers = [viewer.layers.selection.active, *reversed(viewer.layers)]
    return next((layer for layer in layers if isinstance(layer, Image)), None)


def _read_tracks(path: str | list[str]) -> list[LayerData]:
    return [_tracks_of(Path(one)) for one in each_of(path)]


def _tracks_of(path: Path) -> LayerData:
    """Show the positions of a GEFF as tracks, in the units of the file."""
    nodes = read_geff(path)
    axes = [axis for axis in "tzyx" if nodes and axis in nodes[0]]
    rows = [[node["object_id"], *(node[axis] for axis in axes)] for node in nodes]
    data = np.array(sorted(rows), float).reshape(len(rows), 1 + len(axes))
    return data, {"name": path.stem}, "tracks"
