"""Reading TIFF files: OME, ImageJ, LSM, pyramids of slide scanners, plain ones."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.axes import CHANNEL, SAMPLES
from napari_promptable.files.image_file import ImageFile, describe_array

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".lsm", ".stk", ".svs", ".ndpi", ".scn", ".qptiff")

_MAX_BYTES_IN_MEMORY = 2**29  # larger files are read part by part
_UNNAMED = "IQ"  # what tifffile calls axes that a file does not name


def read_tiff(path: Path) -> ImageFile:
    """Read the first image of a file at full resolution.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ImageFile
        A large image is mapped into memory, or its compressed pages are read by zarr.

    Raises
    ------
    ImageFormatError
        If the file is shorter than it says.
    OSError, ValueError, RuntimeError
        If it cannot be read.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        scale, units, channel_names = _metadata_of(file)
        axes = _axes_of(series)
        remark = f", image 1 of {len(file.series)}" if len(file.series) > 1 else ""
        if series.nbytes <= _MAX_BYTES_IN_MEMORY:
            data = np.asarray(series.asarray())
        elif series.dataoffset is not None:
            _check_length(path, series.dataoffset + series.nbytes)
            data = tifffile.memmap(path, mode="r")
        else:
            data = _open_pages(path)
        reduced = list(enumerate(series.levels))[1:]
        levels = tuple(_read_level(path, level, number) for number, level in reduced)
    described = describe_array(
        data,
        axes,
        path.name,
        scale=scale,
        units=units,
        channel_names=channel_names,
        remark=remark,
    )
    return replace(described, levels=levels)


def _check_length(path: Path, num_bytes: int) -> None:
    """Raise ImageFormatError for a file that ends before its pixels do."""
    there = path.stat().st_size
    if there < num_bytes:
        raise ImageFormatError(
            f"{path} is incomplete: it has {there:,} of {num_bytes:,} bytes; get it again"
        )


def _read_level(path: Path, level: Any, number: int) -> Any:
    """Read a lower resolution of a pyramid, or open its pages if it is large, too."""
    is_small = level.nbytes <= _MAX_BYTES_IN_MEMORY
    return np.asarray(level.asarray()) if is_small else _open_pages(path, number)


def _open_pages(path: Path, level: int = 0) -> Any:
    """Open the pages of a compressed file, to be read when they are needed."""
    import tifffile
    import zarr

    store = tifffile.imread(path, aszarr=True, level=level)
    array = zarr.open(store, mode="r")
    weakref.finalize(array, store.close)
    return array


def _axes_of(series: Any) -> str | None:
    """Axes as the file names them, or None if it leaves some unnamed."""
    import tifffile

    axes = str(series.axes)
    if SAMPLES in axes and series.keyframe.photometric in (
        tifffile.PHOTOMETRIC.MINISBLACK,
        tifffile.PHOTOMETRIC.MINISWHITE,
    ):
        return axes.replace(SAMPLES, CHANNEL)
    if not set(axes) & set(_UNNAMED) and len(set(axes)) == len(axes):
        return axes
    return None


def _metadata_of(
    file: Any,
) -> tuple[dict[str, float], dict[str, str], tuple[str, ...]]:
    """Pixel size and unit by axis, and names of the channels."""
    if file.is_ome:
        return _ome_metadata(file.ome_metadata)
    if file.is_imagej:
        return _imagej_metadata(file)
    return {}, {}, ()


def _ome_metadata(xml: str) -> tuple[dict[str, float], dict[str, str], tuple[str, ...]]:
    import tifffile

    image = tifffile.xml2dict(xml)["OME"]["Image"]
    pixels = _first(image)["Pixels"]
    scale = {axis: pixels.get(f"PhysicalSize{axis}") for axis in "XYZ"}
    scale["T"] = pixels.get("TimeIncrement")
    units = {axis: pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "XYZ"}
    units["T"] = pixels.get("TimeIncrementUnit", "s")
    channels = pixels.get("Channel", ())
    channels = channels if isinstance(channels, tuple | list) else (channels,)
    names = tuple(str(channel.get("Name", "")) for channel in channels)
    return *_known(scale, units), names


def _imagej_metadata(file: Any) -> tuple[dict[str, float], dict[str, str], tuple[str, ...]]:
    values = file.imagej_metadata or {}
    tags = file.pages[0].tags
    unit = str(values.get("unit", "")).replace("\\u00B5m", "µm").replace("micron", "µm")
    scale: dict[str, float | None] = {
        axis: _pixel_size(tags.get(f"{axis}Resolution")) if unit else None for axis in "XY"
    }
    scale["Z"], scale["T"] = values.get("spacing"), values.get("finterval")
    return *_known(scale, dict.fromkeys("XYZ", unit) | {"T": "s"}), ()


def _pixel_size(resolution: Any) -> float | None:
    """Size of a pixel from a tag that counts pixels per unit."""
    if resolution is None or 0 in resolution.value:
        return None
    pixels, length = resolution.value
    return float(length / pixels)


def _known(
    scale: Mapping[str, float | None], units: Mapping[str, str]
) -> tuple[dict[str, float], dict[str, str]]:
    """Keep axes that have a positive size."""
    sizes = {axis: float(size) for axis, size in scale.items() if size and size > 0}
    return sizes, {axis: units[axis] for axis in sizes if units[axis]}


def _first(values: Any) -> Any:
    """First of several, or the only one."""
    return values[0] if isinstance(values, tuple | list) else values
