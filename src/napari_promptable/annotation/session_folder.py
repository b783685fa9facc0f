"""A folder in which a session survives a crash: prompts.json, and the labels that changed.

Every save first writes the changed blocks to new files, then replaces prompts.json, which names
the current files, in one step. Whenever the process ends, the folder holds the last save or the
one before it.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from napari_promptable.annotation.blocks import Block
from napari_promptable.errors import CacheError, PromptError
from napari_promptable.files.prompts_json import PromptDocument, read_prompts, write_prompts
from napari_promptable.wording import name_plane

DOCUMENT_NAME = "prompts.json"
FINGERPRINT = "image_fingerprint"  # key of the file
_BLOCKS = "label_slices"  # key of the file: index, corner and file name of each saved block


class SessionFolder:
    """One session on disk.

    Parameters
    ----------
    path : Path
        The folder; the first save creates it.

    Attributes
    ----------
    num_objects, num_uncommitted : int
        Number of objects in the last save that have pixels, and that have only prompts from
        which a mask can be made.
    fingerprint : str
        Of the image, see `fingerprint_of`; empty in sessions of earlier versions.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[Block, str] = {}
        self._lock = threading.Lock()
        self.num_objects = self.num_uncommitted = 0
        self.fingerprint = ""
        if self.is_there:
            document = self.read_document()
            self._files = _files_of(document)
            self._describe(document)

    def _describe(self, document: PromptDocument) -> None:
        """Note what the last save holds."""
        extras = document.object_extra
        committed = {
            number for number in document.objects if "slices" in extras.get(number, {})
        }
        self.num_objects = len(committed)
        self.num_uncommitted = sum(
            any(prompts.is_answerable for prompts in planes.values())
            for number, planes in document.objects.items()
            if number not in committed
        )
        self.fingerprint = str(document.extra.get(FINGERPRINT, ""))

    @property
    def is_there(self) -> bool:
        """Whether the folder holds a save."""
        return (self.path / DOCUMENT_NAME).is_file()

    def save(
        self, document: PromptDocument, blocks: Mapping[Block, npt.NDArray[np.integer[Any]]]
    ) -> None:
        """Save a session's document and the labels that changed since the last save.

        Safe to call from several threads.

        Parameters
        ----------
        document : PromptDocument
            See `document_of`.
        blocks : dict of Block to ndarray of int, shape (h, w)
            Labels.

        Raises
        ------
        CacheError
            If they cannot be written; the folder still holds the last save.
        """
        with self._lock:
            self._save(document, blocks)

    def _save(
        self, document: PromptDocument, blocks: Mapping[Block, npt.NDArray[np.integer[Any]]]
    ) -> None:
        former = set(self._files.values())
        files = dict(self._files)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for block, pixels in blocks.items():
                files[block] = self._write_block(block, pixels)
            entries = [_format_entry(block, name) for block, name in files.items()]
            extra = {**document.extra, _BLOCKS: entries}
            write_prompts(replace(document, extra=extra), self.path / DOCUMENT_NAME)
        except (OSError, PromptError) as error:
            self._remove(set(files.values()) - former)
            raise CacheError(
                f"the session cannot be saved in {self.path} ({error}); free some space, or "
                "save labels and prompts elsewhere"
            ) from error
        self._files = files
        self._describe(document)
        self.sweep()

    def _write_block(self, block: Block, pixels: npt.NDArray[np.integer[Any]]) -> str:
        import tifffile

        place = "-".join(map(str, (*block.index, *(block.corner or ())))) or "plane"
        name = f"{place}.{uuid4().hex[:12]}.tif"
        tifffile.imwrite(self.path / name, pixels, compression="zlib")
        return name

    def _remove(self, names: set[str]) -> None:
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def read_document(self) -> PromptDocument:
        """Read the document of the last save.

        Returns
        -------
        PromptDocument
            The document.

        Raises
        ------
        PromptError
            If it is missing or damaged.
        """
        return read_prompts(self.path / DOCUMENT_NAME)

    def read_blocks(self) -> Iterator[tuple[Block, npt.NDArray[np.integer[Any]]]]:
        """Read the saved labels block by block.

        Yields
        ------
        block : Block
            Whole planes first: an earlier version may have saved a plane in one piece, of which
            later blocks replace parts.
        pixels : ndarray of int, shape (h, w)
            Labels.

        Raises
        ------
        CacheError
            If a file is missing or damaged.
        """
        import tifffile

        for block in sorted(self._files, key=lambda block: block.corner is not None):
            try:
                yield block, np.asarray(tifffile.imread(self.path / self._files[block]))
            except (OSError, ValueError) as error:
                raise CacheError(
                    f"the labels of {name_plane(block.index)} in the session "
                    f"{self.path} cannot be read ({error}); discard this session"
                ) from error

    def remove(self) -> None:
        """Remove the folder with its content."""
        shutil.rmtree(self.path, ignore_errors=True)

    def sweep(self) -> None:
        """Remove outdated blocks, and blocks that an interrupted save left behind."""
        known = set(self._files.values())
        self._remove({path.name for path in self.path.glob("*.tif")} - known)


def _format_entry(block: Block, name: str) -> dict[str, Any]:
    """Describe a saved block. `_files_of` undoes it."""
    corner = {} if block.corner is None else {"corner": list(block.corner)}
    return {"index": list(block.index), **corner, "file": name}


def _files_of(document: PromptDocument) -> dict[Block, str]:
    """File names by block. Raises PromptError if they are malformed."""
    try:
        return {
            Block(tuple(map(int, entry["index"])), _corner_of(entry)): Path(entry["file"]).name
            for entry in document.extra.get(_BLOCKS, [])
        }
    except (KeyError, TypeError, ValueError) as error:
        raise PromptError(f"the list of saved slices cannot be read ({error})") from error


def _corner_of(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    if "corner" not in entry:
        return None
    row, column = entry["corner"]
    return int(row), int(column)


@dataclass(frozen=True)
class SavedSession:
    """A session on disk that can be restored.

    Attributes
    ----------
    folder : SessionFolder
        Its folder.
    saved_at : datetime
        Time of the last save.
    num_objects, num_uncommitted : int
        See `SessionFolder`.
    """

    folder: SessionFolder
    saved_at: datetime
    num_objects: int
    num_uncommitted: int


class SessionShelf:
    """The newest sessions of one image on disk.

    Parameters
    ----------
    path : Path
        Folder with one folder per session; need not exist.
    """

    _NUM_KEPT = 5

    def __init__(self, path: Path) -> None:
        self._path = path

    def find_sessions(self, fingerprint: str = "") -> list[SavedSession]:
        """Find readable sessions with objects, the newest first.

        Parameters
        ----------
        fingerprint : str, optional
            Of the image, see `fingerprint_of`; leaves out sessions of other images. Sessions of
            earlier versions, which have none, are always found.
        """
        found = []
        for path in self._folders():
            try:
                folder = SessionFolder(path)
            except PromptError:
                continue
            counts = folder.num_objects, folder.num_uncommitted
            is_of_image = not fingerprint or folder.fingerprint in ("", fingerprint)
            if is_of_image and any(counts):
                saved_at = datetime.fromtimestamp((path / DOCUMENT_NAME).stat().st_mtime)
                found.append(SavedSession(folder, saved_at, *counts))
        return found

    def _folders(self) -> list[Path]:
        """Folders that hold a save, the newest first."""
        documents = self._path.glob(f"*/{DOCUMENT_NAME}")
        newest = sorted(documents, key=lambda path: path.stat().st_mtime, reverse=True)
        return [path.parent for path in newest]

    def new_folder(self) -> SessionFolder:
        """Return a folder for a new session, and remove the oldest sessions."""
        for path in self._folders()[self._NUM_KEPT - 1 :]:
            shutil.rmtree(path, ignore_errors=True)
        return SessionFolder(self._path / f"{datetime.now():%Y%m%d-%H%M%S}-{uuid4().hex[:6]}")
