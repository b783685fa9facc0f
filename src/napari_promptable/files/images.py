"""Reading images and writing labels, whatever the format; outputs are complete or not there."""

from __future__ import annotations

import json
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.writing import complete_file

_TIFF_SUFFIXES = (".tif", ".tiff")
_MAX_BYTES_IN_MEMORY = 2**29  # of a TIFF; larger ones are read part by part


def read_image(path: str | Path) -> Any:
    """Open an image file or a zarr folder.

    Parameters
    ----------
    path : str or Path
        A TIFF, a zarr array or OME-Zarr group (its full resolution), or whatever imageio opens.

    Returns
    -------
    array
        Any shape and dtype. A zarr array or a large TIFF is not read yet; index it to read a
        part.

    Raises
    ------
    ImageFormatError
        If there is no such file or it cannot be read as an image.
    """
    path = Path(path)
    if not path.exists():
        raise ImageFormatError(f"there is no file {path}; check the path")
    read = _read_zarr if path.is_dir() else _read_file
    try:
        return read(path)
    except (OSError, ValueError, KeyError, TypeError, IndexError, SyntaxError) as error:
        raise ImageFormatError(
            f"{path} cannot be read as an image ({error}); give a TIFF, a zarr folder, a PNG "
            "or another format that imageio reads"
        ) from error


def _read_file(path: Path) -> Any:
    if path.suffix.lower() in _TIFF_SUFFIXES:
        return _read_tiff(path)
    import imageio.v3

    with warnings.catch_warnings():  # imageio's own plugins, tried one after the other
        warnings.simplefilter("ignore")
        return np.asarray(imageio.v3.imread(path.read_bytes(), extension=path.suffix or ".png"))


def _read_tiff(path: Path) -> Any:
    """Read a small file; map a large one into memory, or its compressed pages by zarr."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        if series.nbytes <= _MAX_BYTES_IN_MEMORY:
            return np.asarray(tifffile.imread(path))
        is_mappable = series.dataoffset is not None
    if is_mappable:
        return tifffile.memmap(path, mode="r")
    import zarr

    store = tifffile.imread(path, aszarr=True, level=0)
    array = zarr.open(store, mode="r")
    weakref.finalize(array, store.close)
    return array


def _read_zarr(path: Path) -> Any:
    import zarr

    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        return node
    attributes: Any = node.attrs.get("ome", node.attrs)
    return node[attributes["multiscales"][0]["datasets"][0]["path"]]


def write_labels(path: str | Path, labels: Any) -> None:
    """Write a label image as compressed TIFF, in the smallest of uint16 and uint32 that fits.

    Parameters
    ----------
    path : str or Path
        Where to; a file that is there is replaced when the new one is complete.
    labels : array of int of any kind, shape (..., Y, X)
        Not negative; read plane by plane.

    Raises
    ------
    ImageFormatError
        If the file cannot be written.
    """
    import tifffile

    def planes() -> Iterator[npt.NDArray[np.integer[Any]]]:
        for index in np.ndindex(*labels.shape[:-2]):
            yield np.asarray(labels[index])

    highest = max(int(plane.max(initial=0)) for plane in planes())
    dtype = np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32
    _write_complete(
        Path(path),
        lambda file: tifffile.imwrite(
            file,
            (plane.astype(dtype) for plane in planes()),
            shape=labels.shape,
            dtype=dtype,
            compression="zlib",
            photometric="minisblack",
        ),
    )


def write_png(path: str | Path, image: npt.NDArray[np.uint8]) -> None:
    """Write an (H, W, 3) image as PNG, complete or not at all; ImageFormatError otherwise."""
    import imageio.v3

    _write_complete(Path(path), lambda file: imageio.v3.imwrite(file, image, extension=".png"))


def write_json(path: str | Path, content: object) -> None:
    """Write a JSON file, complete or not at all; ImageFormatError otherwise."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    _write_complete(Path(path), lambda file: file.write(text.encode()))


def _write_complete(path: Path, write: Callable[[Any], Any]) -> None:
    with complete_file(path, ImageFormatError) as temporary, open(temporary, "wb") as file:
        write(file)
