"""One embedding on disk: a folder with a zarr array of one chunk, and a hash.

The file ``xxh128`` holds a hash of the other files, so damage by a failing disk or another
program is noticed. The bytes that were checked are the bytes that are used. The chunk is not
compressed: its bytes are the features.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from napari_promptable.errors import CacheError

DTYPES = ("float32", "float16")
"""How features may be stored."""

METADATA, CHUNK = "zarr.json", "c/0/0/0"
_HASH = "xxh128"
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)  # what says that a name is another entry's


def write_entry(
    folder: Path, features: npt.NDArray[np.float32], attributes: dict[str, Any], dtype: str
) -> None:
    """Write an embedding, all else that is needed, and the hash of both, down to the disk.

    Parameters
    ----------
    folder : Path
        An empty folder.
    features : ndarray of float32, shape (C, rows, columns)
        The embedding.
    attributes : dict
        Plain values to keep with it.
    dtype : {"float32", "float16"}
        How to store features; float32 where they are too large for float16.
    """
    import zarr

    values = np.moveaxis(features, 0, -1)  # as the decoder reads them
    if np.abs(values).max(initial=0) > np.finfo(dtype).max:
        dtype = DTYPES[0]
    array = zarr.create_array(
        folder,
        shape=values.shape,
        chunks=values.shape,
        dtype=np.dtype(dtype).newbyteorder("<"),
        compressors=None,
        config={"write_empty_chunks": True},
        zarr_format=3,
        attributes=attributes,
        dimension_names=("row", "column", "channel"),
    )
    array[...] = values
    checksum = _checksum(*((folder / name).read_bytes() for name in (METADATA, CHUNK)))
    (folder / _HASH).write_bytes(checksum)
    for name in (METADATA, CHUNK, _HASH):
        with open(folder / name, "rb+") as file:
            os.fsync(file.fileno())


def name_entry(folder: Path, path: Path) -> None:
    """Give a complete entry its name, unless another process was faster.

    What another wrote may be deleted before it is looked at; then the name is free again.

    Parameters
    ----------
    folder : Path
        What `write_entry` wrote.
    path : Path
        Its name, in the same file system.

    Raises
    ------
    OSError
        If it cannot be renamed.
    """
    while not path.is_dir():
        try:
            return os.rename(folder, path)
        except OSError as error:
            if error.errno not in _TAKEN and not path.is_dir():
                raise
    return None


def read_entry(path: Path) -> tuple[npt.NDArray[np.float32], dict[str, Any]] | None:
    """Read what `write_entry` wrote.

    Returns
    -------
    (ndarray of float32, shape (C, rows, columns), dict) or None
        Features, in memory with the channels of a cell together, and attributes. None if there
        is no such folder.

    Raises
    ------
    CacheError
        If a file is missing or was changed.
    OSError
        If a file cannot be read.
    """
    try:
        metadata, chunk, checksum = (
            (path / name).read_bytes() for name in (METADATA, CHUNK, _HASH)
        )
    except FileNotFoundError as error:
        if not path.exists():
            return None
        raise _damaged(path) from error
    if checksum != _checksum(metadata, chunk):
        raise _damaged(path)
    array = json.loads(metadata)
    stored = np.frombuffer(chunk, np.dtype(array["data_type"]).newbyteorder("<"))
    values = stored.reshape(array["shape"]).astype(np.float32)
    return np.moveaxis(values, -1, 0), array["attributes"]


def _checksum(metadata: bytes, chunk: bytes) -> bytes:
    """Hash an entry's files, hexadecimal."""
    digest = xxhash.xxh128(metadata)
    digest.update(chunk)
    return digest.hexdigest().encode()


def _damaged(path: Path) -> CacheError:
    return CacheError(
        f"the cached embedding {path} is damaged; delete that folder, and it is encoded again"
    )
