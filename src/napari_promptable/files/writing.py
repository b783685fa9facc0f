"""Writing files that appear complete or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import ImageFormatError, PromptableError

_ADVICE = {
    errno.ENOSPC: "free some space, or name a folder on another disk",
    errno.EFBIG: "name a folder on a disk that takes larger files",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def complete_file(
    path: Path, error_class: type[PromptableError] = ImageFormatError
) -> Iterator[Path]:
    """Give a temporary path that takes the place of `path` in the end.

    Parameters
    ----------
    path : Path
        Where the file goes; an existing file is replaced.
    error_class : type of PromptableError
        Raised if it cannot be written; nothing is left behind then.

    Yields
    ------
    Path
        A short name in the same folder.
    """
    temporary = _beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise error_class(_refusal(path, error)) from error
    finally:
        with suppress(OSError):  # the path may lead through a file
            temporary.unlink()


@contextmanager
def complete_folder(
    path: Path, error_class: type[PromptableError] = ImageFormatError
) -> Iterator[Path]:
    """Give a temporary folder that takes the place of `path` in the end.

    Parameters
    ----------
    path : Path
        Where the folder goes. There must be nothing yet, or an empty folder.
    error_class : type of PromptableError
        Raised if the folder cannot be written; nothing is left behind then.

    Yields
    ------
    Path
        An empty folder beside it.
    """
    _check_that_folder_is_free(path, error_class)
    temporary = _beside(path)
    try:
        temporary.mkdir()
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise error_class(_refusal(path, error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{uuid4().hex[:12]}.tmp")


def _refusal(path: Path, error: OSError) -> str:
    advice = _ADVICE.get(
        error.errno or 0, "name a folder that exists and that you may write to"
    )
    return f"{path} cannot be written ({error.strerror or error}); {advice}"


def _check_that_folder_is_free(path: Path, error_class: type[PromptableError]) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise error_class(f"{path} exists already; name a new folder, or remove this one first")


def check_that_it_can_be_written(path: Path) -> None:
    """Raise ImageFormatError if nothing can be made at this path. Leaves nothing.

    Parameters
    ----------
    path : Path
        A file, or with the ending .zarr a folder.
    """
    temporary = _beside(path)
    try:
        if path.suffix.lower() == ".zarr":
            _check_that_folder_is_free(path, ImageFormatError)
        elif path.is_dir():
            raise ImageFormatError(f"{path} is a folder; give the name of a file")
        temporary.touch()
        temporary.unlink()
    except OSError as error:
        raise ImageFormatError(_refusal(path, error)) from error


def write_png(path: str | Path, image: npt.NDArray[np.unsignedinteger]) -> None:
    """Write an (H, W, 3) or (H, W) image as PNG. Raises ImageFormatError if that fails."""
    import imageio.v3

    content = imageio.v3.imwrite("<bytes>", image, extension=".png")
    with complete_file(Path(path)) as temporary:
        temporary.write_bytes(content)


def write_json(path: str | Path, content: object, indent: int | None = 1) -> None:
    """Write plain data as JSON. Raises ImageFormatError if the file cannot be written.

    Without an indent, large files are written several times faster.
    """
    text = json.dumps(content, indent=indent, ensure_ascii=False)
    with complete_file(Path(path)) as temporary:
        temporary.write_text(text, encoding="utf-8")
