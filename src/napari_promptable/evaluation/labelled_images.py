"""Pairing images with labels: single files, folders, or folders with a manifest.csv."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.images import open_channel, read_image

MANIFEST = "manifest.csv"
"""Table in a folder of labelled images, with the columns file and label, and optionally
dataset and split."""

_IMAGE_END, _LABEL_END = "_img", "_lbl"


@dataclass(frozen=True)
class LabelledFile:
    """An image and the labels of its objects.

    Attributes
    ----------
    dataset : str
        Name of its collection, or "".
    image_path, label_path : Path
        The two files.
    axes : str or None
        A letter for each axis of the image, instead of what its file says.
    channel : int or None
        Channel of the image to use; by default the first.
    """

    dataset: str
    image_path: Path
    label_path: Path
    axes: str | None = None
    channel: int | None = None

    def planes(self) -> Iterator[tuple[str, npt.NDArray[Any], npt.NDArray[np.integer[Any]]]]:
        """Read the planes of the image, one after the other.

        Yields
        ------
        name : str
            File name, with the index of the plane in a stack.
        image : ndarray, shape (H, W) or (H, W, 3)
            Pixels.
        labels : ndarray of int, shape (H, W)
            0 is background.

        Raises
        ------
        ImageFormatError
            If a file cannot be read, or the shapes do not match.
        """
        image, labels = self._open()
        for index in np.ndindex(*labels.shape[:-2]):
            suffix = f"[{', '.join(map(str, index))}]" if index else ""
            plane = np.asarray(labels[index]).astype(np.int64)
            yield self.image_path.name + suffix, np.asarray(image[index]), plane

    def read(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.integer[Any]]]:
        """Read the whole image and its labels.

        Returns
        -------
        image : ndarray, shape (…, H, W) or (…, H, W, 3)
            Pixels.
        labels : ndarray of int, shape (…, H, W)
            0 is background.

        Raises
        ------
        ImageFormatError
            As `planes`.
        """
        image, labels = self._open()
        return np.asarray(image), np.asarray(labels).astype(np.int64)

    def _open(self) -> tuple[Any, Any]:
        """Open both files and check that they match. Perhaps nothing is read yet."""
        image = open_channel(self.image_path, self.axes, self.channel).data
        labels = read_image(self.label_path)
        shape, size = tuple(image.shape), tuple(labels.shape)
        is_rgb = len(shape) == len(size) + 1 and shape[-1] in (3, 4)
        if shape[: len(size)] != size or not (is_rgb or len(shape) == len(size)):
            raise ImageFormatError(
                f"{self.image_path} has shape {shape}, its labels {self.label_path} {size}; "
                "give labels with one value per pixel"
            )
        if labels.dtype.kind not in "bui":
            raise ImageFormatError(
                f"{self.label_path} has dtype {labels.dtype}; labels are whole numbers, one "
                "per pixel, 0 for the background"
            )
        return image, labels


def read_manifest(folder: Path) -> list[dict[str, str]]:
    """Read a folder's manifest.csv. Raises ImageFormatError if it is missing or incomplete."""
    path = folder / MANIFEST
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise ImageFormatError(f"{path} cannot be read ({error.strerror})") from error
    if rows and not {"file", "label"} <= rows[0].keys():
        raise ImageFormatError(f"{path} has no columns named file and label; add them")
    return rows


def find_labelled_files(
    images: str | Path,
    labels: str | Path,
    split: str | None = None,
    axes: str | None = None,
    channel: int | None = None,
) -> list[LabelledFile]:
    """Pair images with labels.

    Parameters
    ----------
    images, labels : str or Path
        Two files, or two folders, which may be the same folder. A `MANIFEST` lists the pairs.
        Without one, NAME_img.EXT pairs with NAME_lbl.EXT, and other files pair by stem.
    split : str, optional
        Keep only manifest rows with this value in the column split.
    axes, channel
        See `LabelledFile`; for all images.

    Returns
    -------
    list of LabelledFile
        In the manifest's order, otherwise sorted by name.

    Raises
    ------
    ImageFormatError
        If a file or folder is missing, or no pair is found.
    """
    found = _pair(Path(images), Path(labels), split)
    return [replace(file, axes=axes, channel=channel) for file in found]


def _pair(images: Path, labels: Path, split: str | None) -> list[LabelledFile]:
    """Pair images with labels. See `find_labelled_files`."""
    for path in (images, labels):
        if not path.exists():
            raise ImageFormatError(f"there is no file or folder {path}; check the path")
    if (images / MANIFEST).is_file():
        return _from_manifest(images, labels, split)
    if split is not None:
        raise ImageFormatError(
            f"a split was given, but {images} has no {MANIFEST}; add one or leave out the split"
        )
    if images.is_dir() and labels.is_dir() and not _is_zarr(images):
        return _from_folders(images, labels)
    return [LabelledFile("", images, labels)]


def _from_manifest(images: Path, labels: Path, split: str | None) -> list[LabelledFile]:
    rows = read_manifest(images)
    found = [
        LabelledFile(row.get("dataset") or "", images / row["file"], labels / row["label"])
        for row in rows
        if split is None or row.get("split") == split
    ]
    if not found:
        splits = sorted({row.get("split") or "" for row in rows})
        raise ImageFormatError(
            f"{images / MANIFEST} has no image in split {split!r}; it has: {', '.join(splits)}"
        )
    return found


def _from_folders(images: Path, labels: Path) -> list[LabelledFile]:
    label_paths = {
        path.stem.removesuffix(_LABEL_END): path
        for path in _files_of(labels)
        if images != labels or path.stem.endswith(_LABEL_END)
    }
    found = [
        LabelledFile("", path, label_paths[name])
        for path in _files_of(images)
        if path not in label_paths.values()
        and (name := path.stem.removesuffix(_IMAGE_END)) in label_paths
    ]
    if not found:
        raise ImageFormatError(
            f"no image in {images} has labels in {labels}; name them NAME{_IMAGE_END}.EXT and "
            f"NAME{_LABEL_END}.EXT, or give two folders with the same file names"
        )
    return found


def _files_of(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and (path.is_file() or _is_zarr(path))
    ]


def _is_zarr(path: Path) -> bool:
    return path.is_dir() and path.suffix == ".zarr"
