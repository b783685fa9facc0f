"""Carry objects out to other programs and back: which format a path stands for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.formats.coco import read_coco, write_coco
from napari_promptable.files.formats.ctc import read_ctc, write_ctc
from napari_promptable.files.formats.geff_tracks import draw_positions, write_geff
from napari_promptable.files.formats.geojson import read_geojson, write_geojson
from napari_promptable.files.formats.imagej_rois import read_imagej_rois, write_imagej_rois
from napari_promptable.files.formats.label_files import read_label_image, write_label_image
from napari_promptable.files.formats.labelled_objects import LabelledObjects, as_objects
from napari_promptable.files.formats.ngff import read_ngff, write_ngff


@dataclass(frozen=True)
class Format:
    """A file format of labelled objects.

    Attributes
    ----------
    title : str
        Name to show.
    suffixes : tuple of str
        How names of such files end.
    write : callable
        Writes `LabelledObjects` to a path.
    read : callable or None
        Reads `LabelledObjects` from a path, for an image of some shape and axes; None for a
        format that holds no outlines.
    loss : str
        What the format cannot keep; empty if it keeps everything.
    read_positions : callable or None
        Reads a pixel of each object from a file that holds no outlines, for an image of some
        shape, axes and pixel sizes.
    """

    title: str
    suffixes: tuple[str, ...]
    write: Callable[[Path, LabelledObjects], None]
    read: Callable[[Path, tuple[int, ...], str], LabelledObjects] | None
    loss: str
    read_positions: (
        Callable[[Path, tuple[int, ...], str, tuple[float, ...]], LabelledObjects] | None
    ) = None


def _read_coco(path: Path, shape: tuple[int, ...], _axes: str) -> LabelledObjects:
    return read_coco(path, shape)


def _read_ctc(path: Path, _shape: tuple[int, ...], _axes: str) -> LabelledObjects:
    return read_ctc(path)


def _read_ngff(path: Path, _shape: tuple[int, ...], _axes: str) -> LabelledObjects:
    found = read_ngff(path)
    return replace(found, labels=np.asarray(found.labels))


FORMATS = {
    "coco": Format("COCO instances", (".json",), write_coco, _read_coco, "class colors, scale"),
    "coco-polygons": Format(
        "COCO polygons",
        (),
        partial(write_coco, with_polygons=True),
        _read_coco,
        "holes, class colors, scale",
    ),
    "geojson": Format(
        "GeoJSON (QuPath)",
        (".geojson",),
        write_geojson,
        read_geojson,
        "scale, the channel axis",
    ),
    "roi": Format(
        "ImageJ regions",
        (".zip", ".roi"),
        write_imagej_rois,
        read_imagej_rois,
        "class colors, confidence, scale",
    ),
    "ngff": Format("OME-Zarr labels", (".zarr",), write_ngff, _read_ngff, ""),
    "tiff": Format(
        "Label image",
        (".tif", ".tiff", ".png", ".npy"),
        write_label_image,
        read_label_image,
        "classes, class colors, confidence",
    ),
    "ctc": Format(
        "Cell Tracking Challenge",
        ("_res", "_gt", ".ctc"),
        write_ctc,
        _read_ctc,
        "classes, confidence, scale; ids above 65,535 are refused",
    ),
    "geff": Format(
        "GEFF tracks", (".geff",), write_geff, None, "outlines, confidence", draw_positions
    ),
}
"""Formats by the name that `--format` takes."""


def find_format(path: Path, name: str = "") -> Format:
    """Choose the format by its name, or else by how the path ends.

    Raises
    ------
    ImageFormatError
        If the name is unknown, or no format's files end like this.
    """
    if name:
        if name not in FORMATS:
            raise ImageFormatError(f"there is no format {name!r}; choose {', '.join(FORMATS)}")
        return FORMATS[name]
    for candidate in FORMATS.values():
        if path.name.lower().endswith(candidate.suffixes):
            return candidate
    endings = ", ".join(
        f"{f.suffixes[0]} ({name})" for name, f in FORMATS.items() if f.suffixes
    )
    raise ImageFormatError(
        f"the format of {path.name} is unknown; end the name with {endings}, or give --format"
    )


def export_objects(
    path: str | Path, objects: LabelledObjects | npt.NDArray[Any], format_name: str = ""
) -> Format:
    """Write objects in another program's format.

    Parameters
    ----------
    path : str or Path
        File or folder to make; .zarr may also be an OME-Zarr image that gets the labels.
    objects : LabelledObjects, or ndarray of int, shape (..., Y, X)
        Labels, 0 is background; an array has the last axes of CTZYX.
    format_name : str, optional
        A key of `FORMATS`; by default, the path's ending decides.

    Returns
    -------
    Format
        The format; its `loss` says what the file does not hold.

    Raises
    ------
    ImageFormatError
        If the format is unknown or cannot hold the labels, or the file cannot be written.
    MissingPackageError
        If the format needs a package that is not installed.

    Examples
    --------
    >>> import tempfile
    >>> labels = np.zeros((20, 30), np.uint16)
    >>> labels[3:9, 4:12] = 5
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = export_objects(f"{folder}/cells.geojson", labels)
    ...     found = import_objects(f"{folder}/cells.geojson", labels.shape)
    >>> written.title, bool((found.labels == labels).all())
    ('GeoJSON (QuPath)', True)
    """
    chosen = find_format(Path(path), format_name)
    chosen.write(Path(path), as_objects(objects))
    return chosen


def import_objects(
    path: str | Path, shape: tuple[int, ...], axes: str = "", format_name: str = ""
) -> LabelledObjects:
    """Read objects in another program's format as labels for an image.

    Parameters
    ----------
    path : str or Path
        File or folder.
    shape : tuple of int
        Shape of the image, (..., Y, X), without an RGB axis.
    axes : str, optional
        A letter for each axis.
    format_name : str, optional
        A key of `FORMATS`; by default, the path's ending decides.

    Returns
    -------
    LabelledObjects
        Labels of the shape `shape`, with the classes and confidences that the file holds.

    Raises
    ------
    ImageFormatError
        If the file cannot be read, or belongs to an image of another shape.
    """
    path = Path(path)
    if not path.exists():
        raise ImageFormatError(f"there is no file {path}; check the path")
    chosen = find_format(path, format_name)
    if chosen.read is None:
        raise ImageFormatError(
            f"{chosen.title} hold positions only, no outlines, so they cannot become labels; "
            "import them as points"
        )
    found = chosen.read(path, shape, axes)
    if _shape_of(found) != shape:
        raise ImageFormatError(
            f"{path} belongs to an image of shape {_shape_of(found)}, and this one has {shape}"
        )
    return found


def _shape_of(objects: LabelledObjects) -> tuple[int, ...]:
    return tuple(objects.labels.shape)
