"""Embeddings on disk: a zarr group with one array per plane, and per tile that was looked at.

An entry, see `napari_promptable.predict.embedding_entry`, is written under a temporary name and
gets its own in one step, so it is there complete or not at all, however the process ended and
however many write at once.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import CacheError
from napari_promptable.planes import Index, ReadPlane
from napari_promptable.predict.embedding_entry import (
    CHUNK,
    DTYPES,
    METADATA,
    name_entry,
    read_entry,
    write_entry,
)
from napari_promptable.predict.embeddings import ImageEmbedding, plane_key
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.predict.tiling import Tile
from napari_promptable.transforms import to_rgb8
from napari_promptable.weights.checkpoints import cache_root

FORMAT, VERSION = "napari-promptable/embeddings", 1

_TEMPORARY = ".tmp-"
_CHECKED_SHARE = 0.01  # of the limit that is written between two looks at all entries
_LEFTOVER_AGE_S = 3600  # of temporary folders; writing one takes less than a second
_SIZES = ("original_size", "input_size", "low_res_size", "low_res_valid")


def kept_embeddings_path() -> Path:
    """Folder in which the widget keeps embeddings."""
    return cache_root() / "embeddings.zarr"


class _Entry(NamedTuple):
    """One embedding on disk."""

    last_used_ns: int
    path: Path
    nbytes: int


class EmbeddingStore:
    """A folder of embeddings by `napari_promptable.predict.embeddings.plane_key`.

    It is made when it is not there. Threads and processes, also of several computers, may read
    and write at once.

    Parameters
    ----------
    path : str or Path
        The folder, by custom named ``….zarr``.
    max_bytes : int, optional
        When 1 % more is on disk, the least recently used embeddings are deleted; the newest
        stays. No limit by default.
    dtype : {"float32", "float16"}, optional
        How features are stored; float16 takes half the space, and masks change a little. By
        default the store's, or float32 for a new one.

    Attributes
    ----------
    path : Path
        The folder.
    dtype : str
        How features are stored.

    Raises
    ------
    CacheError
        If there is something else at the path, a store of another version or dtype, or it
        cannot be read or made. The folder is left as it is.
    """

    def __init__(
        self, path: str | Path, *, max_bytes: int | None = None, dtype: str | None = None
    ) -> None:
        if dtype not in (None, *DTYPES):
            raise CacheError(f"dtype {dtype!r} was given; choose one of {', '.join(DTYPES)}")
        self.path = Path(path)
        self._max_bytes, self._unchecked = max_bytes, max_bytes or 0  # check at first
        with self._errors_named("opened"):
            if self._is_new():
                self._create(dtype or DTYPES[0])
            self.dtype = self._read_dtype()
            self._delete_leftovers()
        if dtype not in (None, self.dtype):
            raise CacheError(
                f"{self.path} holds {self.dtype}, {dtype} was asked for; leave that out, or "
                "name another folder"
            )

    def __contains__(self, key: object) -> bool:
        """Whether there is an embedding of this name."""
        return (self.path / str(key)).is_dir()

    def __len__(self) -> int:
        """Count the embeddings of planes and tiles."""
        return len(self._entries())

    @property
    def nbytes(self) -> int:
        """Bytes on disk, without metadata."""
        return sum(entry.nbytes for entry in self._entries())

    def get(self, key: str, rgb: npt.NDArray[np.uint8]) -> ImageEmbedding | None:
        """Read an embedding.

        Parameters
        ----------
        key : str
            From `napari_promptable.predict.embeddings.plane_key`.
        rgb : ndarray of uint8, shape (H, W, 3)
            What the key was made of, for models that look at parts of a plane.

        Returns
        -------
        ImageEmbedding or None
            None if there is no such embedding.

        Raises
        ------
        CacheError
            If it is damaged or cannot be read.
        """
        entry = self._read(key)
        if entry is None:
            return None
        features, attributes = entry
        sizes: dict[str, Any] = {name: tuple(attributes[name]) for name in _SIZES}
        return ImageEmbedding(
            features,
            **sizes,
            model_id=attributes["model_id"],
            image=rgb if attributes["with_image"] else None,
        )

    def put(self, key: str, embedding: ImageEmbedding) -> None:
        """Write an embedding, unless there is one of this name.

        Parameters
        ----------
        key : str
            From `napari_promptable.predict.embeddings.plane_key`.
        embedding : ImageEmbedding
            What to write; its `tiles` are left out, see `put_tile`.

        Raises
        ------
        CacheError
            If it cannot be written, as when the disk is full; the others stay.
        """
        attributes: dict[str, Any] = {name: getattr(embedding, name) for name in _SIZES}
        attributes["model_id"] = embedding.model_id
        attributes["with_image"] = embedding.image is not None
        self._write(key, embedding.features, attributes)

    def get_tile(self, key: str, tile: Tile) -> npt.NDArray[np.float32] | None:
        """Read the embedding of a tile.

        Parameters
        ----------
        key : str
            Of the plane, as in `get`.
        tile : Tile
            Which part of it.

        Returns
        -------
        ndarray of float32, shape (C, rows, columns), or None
            None if there is no such embedding.

        Raises
        ------
        CacheError
            If it is damaged or cannot be read.
        """
        entry = self._read(_tile_key(key, tile))
        return None if entry is None else entry[0]

    def put_tile(self, key: str, tile: Tile, features: npt.NDArray[np.float32]) -> None:
        """Write the embedding of a tile, unless it is there.

        Parameters
        ----------
        key, tile
            As in `get_tile`.
        features : ndarray of float32, shape (C, rows, columns)
            The embedding.

        Raises
        ------
        CacheError
            As in `put`.
        """
        attributes = {"plane": key, "tile": [tile.level, tile.top, tile.left]}
        self._write(_tile_key(key, tile), features, attributes)

    # entries

    def _read(self, name: str) -> tuple[npt.NDArray[np.float32], dict[str, Any]] | None:
        """Read an entry and mark it as used. None if there is none."""
        with self._errors_named("read"):
            entry = read_entry(self.path / name)
            with suppress(FileNotFoundError):  # there is none, or another process deleted it
                os.utime(self.path / name)
            return entry

    def _write(
        self, name: str, features: npt.NDArray[np.float32], attributes: dict[str, Any]
    ) -> None:
        """Write an entry unless it is there, and keep the folder small enough."""
        if name in self:
            return
        with self._errors_named("written"), self._temporary_folder() as folder:
            write_entry(folder, features, attributes, self.dtype)
            name_entry(folder, self.path / name)
            self._delete_oldest(features.nbytes)

    # the folder

    def _is_new(self) -> bool:
        """Whether there is nothing yet except what other processes are writing."""
        try:
            names = os.listdir(self.path)  # one look: others may create the folder meanwhile
        except FileNotFoundError:
            return True
        except NotADirectoryError:
            return False
        return all(name.startswith(_TEMPORARY) for name in names)

    def _create(self, dtype: str) -> None:
        """Make an empty store. Two processes that do it at once do the same."""
        import zarr

        self.path.mkdir(parents=True, exist_ok=True)
        with self._temporary_folder() as folder:
            attributes = {"format": FORMAT, "version": VERSION, "dtype": dtype}
            zarr.create_group(folder, zarr_format=3, attributes=attributes)
            os.replace(folder / METADATA, self.path / METADATA)

    def _read_dtype(self) -> str:
        """Read how features are stored. Raises CacheError if the folder is no store."""
        try:
            attributes = json.loads((self.path / METADATA).read_bytes())["attributes"]
            kind, version = attributes["format"], attributes["version"]
            dtype = str(attributes["dtype"])
        except (ValueError, LookupError, TypeError, FileNotFoundError, NotADirectoryError):
            kind, version, dtype = None, None, ""
        if kind != FORMAT:
            raise CacheError(
                f"{self.path} is no embedding cache, or a damaged one; name a folder that "
                "does not exist yet"
            )
        if version != VERSION or dtype not in DTYPES:
            raise CacheError(
                f"{self.path} is an embedding cache of version {version}, dtype {dtype}; this "
                f"program knows version {VERSION} with {' and '.join(DTYPES)}: name another "
                "folder"
            )
        return dtype

    def _entries(self) -> list[_Entry]:
        """List the entries that are complete now."""
        entries = []
        with self._errors_named("read"):
            for folder in os.scandir(self.path):
                if folder.name.startswith(".") or not folder.is_dir():
                    continue
                with suppress(FileNotFoundError):  # deleted by another process
                    nbytes = os.stat(Path(folder.path, CHUNK)).st_size
                    used = folder.stat().st_mtime_ns
                    entries.append(_Entry(used, Path(folder.path), nbytes))
        return entries

    def _delete_oldest(self, num_bytes: int) -> None:
        """Delete the least recently used entries until the rest is small enough.

        The folder is looked through again when enough has been written since the last time.
        """
        self._unchecked += num_bytes
        if self._max_bytes is None or self._unchecked < _CHECKED_SHARE * self._max_bytes:
            return
        self._unchecked = 0
        entries = sorted(self._entries())
        excess = sum(entry.nbytes for entry in entries) - self._max_bytes
        for entry in entries[:-1]:
            if excess <= 0:
                break
            excess -= entry.nbytes
            with self._temporary_folder() as folder, suppress(FileNotFoundError):
                os.rename(entry.path, folder / entry.path.name)

    @contextmanager
    def _temporary_folder(self) -> Iterator[Path]:
        """Make a folder that is gone in the end, unless it was moved."""
        folder = self.path / f"{_TEMPORARY}{uuid4().hex}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _delete_leftovers(self) -> None:
        """Delete what crashed processes left, but not what others are writing."""
        for folder in self.path.glob(f"{_TEMPORARY}*"):
            with suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > _LEFTOVER_AGE_S:
                    shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _errors_named(self, verb: str) -> Iterator[None]:
        """Raise CacheError for what the operating system says."""
        try:
            yield
        except CacheError:
            raise
        except OSError as error:
            raise CacheError(
                f"the embedding cache {self.path} cannot be {verb} "
                f"({error.strerror or error}); free some space or name another folder"
            ) from error


def embed_planes(
    segmenter: Segmenter,
    model_id: str,
    read_plane: ReadPlane,
    indices: Iterable[Index],
    store: EmbeddingStore,
    contrast_limits: tuple[float, float] | None = None,
) -> Iterator[tuple[Index, bool]]:
    """Encode planes that are not in the store yet, one after the other.

    The iteration may stop after any plane; the store keeps the encoded ones.

    Parameters
    ----------
    segmenter : Segmenter
        The model.
    model_id : str
        Which weights it has.
    read_plane : callable
        Returns the pixels of a plane, see `napari_promptable.planes.ReadPlane`.
    indices : iterable of Index
        Which planes, in the order in which they are wanted.
    store : EmbeddingStore
        Where the embeddings go.
    contrast_limits : (float, float), optional
        As in `encode_image`.

    Yields
    ------
    index : Index
        A plane that is now in the store.
    was_encoded : bool
        False if the store had it before.

    Raises
    ------
    CacheError
        If the store cannot be written.
    ImageFormatError
        As in `encode_image`.
    """
    for index in indices:
        rgb = to_rgb8(read_plane(index), contrast_limits)
        key = plane_key(rgb, model_id)
        is_missing = key not in store
        if is_missing:
            store.put(key, segmenter.encode(rgb, (0, 255)))
        yield index, is_missing


def _tile_key(key: str, tile: Tile) -> str:
    """Name the entry of a tile."""
    return f"{key}.{tile.level}.{tile.top}.{tile.left}"
