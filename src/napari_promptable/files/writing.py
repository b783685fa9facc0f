"""Writing files that appear complete or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from napari_promptable.errors import PromptableError


@contextmanager
def complete_file(path: Path, error_class: type[PromptableError]) -> Iterator[Path]:
    """Give a temporary path that takes the place of `path` in the end.

    Parameters
    ----------
    path : Path
        Where the file goes; an existing file is replaced.
    error_class : type of PromptableError
        Raised if the file cannot be written; nothing is left behind then.

    Yields
    ------
    Path
        A short name in the same folder.
    """
    temporary = path.with_name(f".{uuid4().hex[:12]}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise error_class(
            f"{path} cannot be written ({error.strerror or error}); name a folder that exists "
            "and that you may write to"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def complete_folder(path: Path, error_class: type[PromptableError]) -> Iterator[Path]:
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
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise error_class(f"{path} exists already; name a new folder, or remove this one first")
    temporary = path.with_name(f".{uuid4().hex[:12]}.tmp")
    try:
        temporary.mkdir()
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise error_class(
            f"{path} cannot be written ({error.strerror or error}); name a folder that exists "
            "and that you may write to"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
