"""Labelled images for training, loaded by manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_promptable.evaluation.labelled_images import LabelledFile, read_manifest
from napari_promptable.transforms import to_rgb8

MAX_DISTANCE = 3  # in planes, to the neighbour whose masks are carried over
INCOMPLETE = "incomplete"  # in the manifest's note: visible objects without labels

UInt8Array = npt.NDArray[np.uint8]
Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True)
class LabelledImage:
    """One plane with its instance labels.

    Attributes
    ----------
    dataset, name : str
        Where it comes from.
    image : ndarray of uint8, shape (H, W, 3)
        RGB after robust contrast, as the network sees it.
    labels : ndarray of int32, shape (H, W)
        0 background; an object of a stack has the same value on all planes.
    source : str
        File, the same for all planes of a stack.
    is_complete : bool
        Whether every visible object has a label.
    neighbours : tuple of ndarray of int32
        Labels of the planes at most `MAX_DISTANCE` away; none for a single image.
    """

    dataset: str
    name: str
    image: UInt8Array
    labels: Int32Array
    source: str = ""
    is_complete: bool = True
    neighbours: tuple[Int32Array, ...] = ()


def load_split(root: Path, split: str) -> dict[str, list[LabelledImage]]:
    """Read all images of a split, by dataset; stacks give one entry per plane with objects."""
    images: dict[str, list[LabelledImage]] = {}
    for row in read_manifest(root):
        if row["split"] == split:
            images.setdefault(row["dataset"], []).extend(_load_row(root, row))
    return images


def manifest_sha256(root: Path) -> str:
    """Hash of manifest.csv, the name of the training data in the weights' metadata."""
    return hashlib.sha256((root / "manifest.csv").read_bytes()).hexdigest()


def _load_row(root: Path, row: dict[str, str]) -> Iterator[LabelledImage]:
    """Read the planes of a file that have objects."""
    file = LabelledFile(row["dataset"], root / row["file"], root / row["label"])
    planes = list(file.planes())
    all_labels = [labels.astype(np.int32) for _, _, labels in planes]
    for index, (name, plane, _) in enumerate(planes):
        if all_labels[index].any():
            yield LabelledImage(
                file.dataset,
                name,
                to_rgb8(plane),
                all_labels[index],
                row["file"],
                INCOMPLETE not in row["note"],
                _around(all_labels, index),
            )


def _around(planes: list[Int32Array], index: int) -> tuple[Int32Array, ...]:
    """Planes at most `MAX_DISTANCE` away from one of them."""
    before = planes[max(index - MAX_DISTANCE, 0) : index]
    return (*before, *planes[index + 1 : index + 1 + MAX_DISTANCE])
