"""Reading images of any format. Each format has its own module beside this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_promptable.errors import ImageFormatError
from napari_promptable.files import tiff
from napari_promptable.files.image_file import ImageFile
from napari_promptable.files.lazy_view import READ_ERRORS, describe_error
from napari_promptable.files.ome_zarr import read_zarr
from napari_promptable.files.pictures import read_npy, read_picture
from napari_promptable.files.plugins import read_with_plugins

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tga", "")


def open_image(path: str | Path, axes: str | None = None) -> ImageFile:
    """Open an image file or a zarr folder.

    Parameters
    ----------
    path : str or Path
        A TIFF, a picture, a NumPy file, a zarr array or OME-Zarr group (its full resolution),
        or whatever an installed reader plugin of napari or imageio opens.
    axes : str, optional
        A letter for each axis, such as "ZCYX", instead of what the file says.

    Returns
    -------
    ImageFile
        A zarr array or a large TIFF is not read yet; index its data to read a part.

    Raises
    ------
    ImageFormatError
        If there is no such file, it cannot be read as an image, or the axes do not fit.
    """
    path = Path(path)
    if not path.exists():
        raise ImageFormatError(f"there is no file {path}; check the path")
    if path.is_file() and not path.stat().st_size:
        raise ImageFormatError(f"{path} is an empty file; get it again")
    try:
        image = _reader_of(path)(path).with_errors_named()
    except ImageFormatError:
        raise
    except READ_ERRORS as error:
        raise ImageFormatError(
            f"{path} cannot be read as an image: it is damaged, incomplete or of another "
            f"format ({describe_error(error)}); give a TIFF, PNG, NumPy or zarr image, or "
            "install a napari reader plugin for its format"
        ) from error
    return (image if axes is None else image.renamed(axes)).with_samples_last()


def open_channel(
    path: str | Path, axes: str | None = None, channel: int | None = None
) -> ImageFile:
    """Open an image as a model sees it: one channel, or RGB.

    Parameters
    ----------
    path, axes
        As in `open_image`.
    channel : int, optional
        Which channel; by default the first.

    Returns
    -------
    ImageFile
        Without a channel axis.

    Raises
    ------
    ImageFormatError
        As in `open_image`, or if there is no such channel.
    """
    return open_image(path, axes).at_channel(channel or 0)


def read_image(path: str | Path) -> Any:
    """Open the pixels of an image, with all axes. See `open_image`."""
    return open_image(path).data


def _reader_of(path: Path) -> Callable[[Path], ImageFile]:
    """Choose a reader by the ending."""
    suffix = path.suffix.lower()
    if path.is_dir():
        return read_zarr
    if suffix in tiff.SUFFIXES:
        return tiff.read_tiff
    if suffix == ".npy":
        return read_npy
    return read_picture if suffix in _PICTURES else _read_unknown


def _read_unknown(path: Path) -> ImageFile:
    """Read a format that is not ours with a plugin, or else with imageio."""
    try:
        return read_with_plugins(path)
    except ImageFormatError:
        return read_picture(path)
