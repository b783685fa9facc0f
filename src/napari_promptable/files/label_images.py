"""Writing label images as TIFF, OME-Zarr, PNG or NumPy file, by the ending of the name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.axes import SAMPLES, name_stack_axes
from napari_promptable.files.image_file import ImageFile
from napari_promptable.files.ngff_labels import (
    LABELS_NAME,
    Level,
    add_to_list,
    describe_axes,
    fill_label_group,
    show_labels_as_image,
)
from napari_promptable.files.writing import (
    check_that_it_can_be_written,
    complete_file,
    complete_folder,
    write_png,
)

TILE = 1024
"""Rows and columns of the squares in which large planes are written."""

_MAX_WHOLE_SIDE = 8192  # of planes that are written at once; most programs read these faster
_ENDINGS = (".tif", ".tiff", ".zarr", ".png", ".npy")
_OME_AXES = "TCZYX"
_MAX_TIFF_BYTES = 2**32 - 2**25  # larger files need the 64-bit form

Plane = npt.NDArray[np.integer[Any]]


def check_label_path(path: str | Path, shape: tuple[int, ...], highest: int) -> None:
    """Check, before work begins, that labels can be written to a file.

    Parameters
    ----------
    path : str or Path
        Where to.
    shape : tuple of int
        Shape of the labels.
    highest : int
        Highest object id.

    Raises
    ------
    ImageFormatError
        If the ending is unknown, the format cannot hold the labels, or the file cannot be
        written.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in _ENDINGS:
        raise ImageFormatError(
            f"{path}: labels are written as .tif, .ome.zarr, .png or .npy; choose one of these "
            "endings"
        )
    if ending == ".png" and (len(shape) != 2 or highest > np.iinfo(np.uint16).max):
        raise ImageFormatError(
            f"{path}: a PNG holds one 2D image with ids up to 65535, these labels have shape "
            f"{shape} and ids up to {highest}; write a .tif"
        )
    check_that_it_can_be_written(path)


def write_labels(path: str | Path, labels: Any, image: ImageFile | None = None) -> None:
    """Write a label image in the format of its ending, complete or not at all.

    Parameters
    ----------
    path : str or Path
        .tif (compressed, OME-TIFF where its axes allow that), .zarr (a labels group of
        OME-Zarr 0.5), .png or .npy. An existing file is replaced when the new one is complete;
        an existing folder is refused.
    labels : array of int of any kind, shape (..., Y, X)
        Not negative; read plane by plane, large planes in squares. Written in the smallest of
        uint16 and uint32 that fits; .png: of uint8 and uint16.
    image : ImageFile, optional
        The image that was segmented, with the labels' shape; its axes and pixel sizes are
        written too. By default, axes are named by the shape.

    Raises
    ------
    ImageFormatError
        If the ending is unknown, the format cannot hold the labels, or the file cannot be
        written.
    """
    path = Path(path)
    shape = tuple(labels.shape)
    highest = highest_id(labels)
    check_label_path(path, shape, highest)
    grid = _Grid.of_labels(shape) if image is None else _Grid.of_image(image)
    dtype = np.dtype(np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32)
    ending = path.suffix.lower()
    if ending == ".png":
        plane = np.asarray(labels)
        write_png(path, plane.astype(np.uint8 if highest < 256 else np.uint16))
        return
    if ending == ".zarr":
        with complete_folder(path) as folder:
            _write_zarr(folder, labels, dtype, grid)
        return
    write = _write_npy if ending == ".npy" else _write_tiff
    with complete_file(path) as file:
        write(file, labels, dtype, grid)


def highest_id(labels: Any) -> int:
    """Highest value of labels of any kind, read in parts, or 0 if they are empty."""
    return max(int(part.max(initial=0)) for part in _parts(labels))


class _Grid(NamedTuple):
    """Axes of a label image, with pixel sizes and units by axis where they are known."""

    axes: str
    scale: Mapping[str, float]
    units: Mapping[str, str]

    @classmethod
    def of_image(cls, image: ImageFile) -> _Grid:
        return cls(image.axes.removesuffix(SAMPLES), image.scale, image.units)

    @classmethod
    def of_labels(cls, shape: tuple[int, ...]) -> _Grid:
        return cls(name_stack_axes(len(shape)), {}, {})


def _is_tiled(labels: Any) -> bool:
    """Whether planes are too large to be read at once."""
    return bool(max(labels.shape[-2:]) > _MAX_WHOLE_SIDE)


def _parts(labels: Any) -> Iterator[Plane]:
    """Yield the planes or, of large planes, their squares row by row."""
    if not _is_tiled(labels):
        yield from _planes(labels)
        return
    tops, lefts = (range(0, length, TILE) for length in labels.shape[-2:])
    for index in np.ndindex(*labels.shape[:-2]):
        for top, left in product(tops, lefts):
            yield np.asarray(labels[(*index, slice(top, top + TILE), slice(left, left + TILE))])


def _planes(labels: Any) -> Iterator[Plane]:
    for index in np.ndindex(*labels.shape[:-2]):
        yield np.asarray(labels[index])


def _write_tiff(path: Path, labels: Any, dtype: np.dtype[Any], grid: _Grid) -> None:
    import tifffile

    shape = tuple(labels.shape)
    is_ome = grid.axes.endswith("YX") and set(grid.axes) <= set(_OME_AXES)
    metadata: dict[str, Any] = {"axes": grid.axes}
    for axis, size in grid.scale.items():
        if is_ome and axis in "XYZ":
            metadata[f"PhysicalSize{axis}"] = size
            metadata[f"PhysicalSize{axis}Unit"] = grid.units.get(axis, "µm")
    tifffile.imwrite(
        path,
        (part.astype(dtype) for part in _parts(labels)),
        tile=(TILE, TILE) if _is_tiled(labels) else None,
        shape=shape,
        dtype=dtype,
        ome=is_ome,
        bigtiff=int(np.prod(shape)) * dtype.itemsize > _MAX_TIFF_BYTES,
        compression="zlib",
        photometric="minisblack",
        metadata=metadata,
    )


def _write_npy(path: Path, labels: Any, dtype: np.dtype[Any], _grid: _Grid) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": tuple(labels.shape),
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for plane in _planes(labels):
            file.write(plane.astype(dtype).tobytes())


def _write_zarr(path: Path, labels: Any, dtype: np.dtype[Any], grid: _Grid) -> None:
    """Write a group with the one label image labels/objects."""
    import zarr

    root = zarr.open_group(path, mode="w")
    group = root.create_group("labels")
    scale = [float(grid.scale.get(axis, 1.0)) for axis in grid.axes]
    level = Level("0", tuple(labels.shape), [{"type": "scale", "scale": scale}])
    axes = describe_axes(grid.axes, grid.units)
    fill_label_group(group.create_group(LABELS_NAME), labels, dtype, axes, [level], {})
    add_to_list(group, LABELS_NAME)
    show_labels_as_image(root, axes, [level])
