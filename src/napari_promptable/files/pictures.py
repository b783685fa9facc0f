"""Reading pictures (PNG, JPEG, BMP, GIF and whatever else imageio reads) and NumPy files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.image_file import ImageFile, describe_array


def read_npy(path: Path) -> ImageFile:
    """Map a NumPy file into memory.

    Parameters
    ----------
    path : Path
        A file that ``numpy.save`` wrote.

    Returns
    -------
    ImageFile
        With axes by its shape.

    Raises
    ------
    ImageFormatError
        If it is not one.
    OSError, ValueError
        If it is incomplete, or holds Python objects.
    """
    with path.open("rb") as file:
        if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            raise ImageFormatError(f"{path} is not a NumPy file; rename it by what it holds")
    with np.errstate(over="ignore"):  # of sizes that no file has; an error follows
        data = np.load(path, mmap_mode="r", allow_pickle=False)
    return describe_array(data, None, path.name)


def read_picture(path: Path) -> ImageFile:
    """Read a file with imageio.

    Parameters
    ----------
    path : Path
        The file; a file without an ending is taken for a PNG.

    Returns
    -------
    ImageFile
        Grey, grey and alpha as two channels, RGB, or a stack of such frames.

    Raises
    ------
    OSError, ValueError, SyntaxError
        If imageio cannot read it.
    """
    import imageio.v3

    with warnings.catch_warnings():  # imageio tries its plugins one after the other
        warnings.simplefilter("ignore")
        data = np.asarray(imageio.v3.imread(path.read_bytes(), extension=path.suffix or ".png"))
    return describe_array(data, _axes_of(data.shape), path.name)


def _axes_of(shape: tuple[int, ...]) -> str | None:
    """Axes of frames: the last of 2, 3 or 4 are always samples, however small the picture."""
    has_samples = len(shape) > 2 and shape[-1] in (2, 3, 4)
    frames = len(shape) - (3 if has_samples else 2)
    return None if frames > 1 else "T" * frames + "YX" + "S" * has_samples
