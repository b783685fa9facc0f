"""Labelled images for training, loaded by manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_promptable.evaluation.labelled_images import LabelledFile, read_manifest
from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.learning.sampling import BALANCE, by_source
from napari_promptable.transforms import to_rgb8

MAX_DISTANCE = 3  # in planes, to the neighbour whose masks are carried over
INCOMPLETE = "incomplete"  # in the manifest's note: visible objects without labels

FIRST_DATASETS = (
    "dsb2018",
    "bbbc039",
    "usiigaci",
    "axon_sem",
    "codex_tissue",
    "neuronal_cells",
    "baby_yeast",
    "plant_nuclei_3d",
)
"""Those that all generations of the model are validated on."""

FIRST_SHARE = 0.74  # of the crops, so that many small new datasets do not displace the first
COUNTED_BY_PLANE = ("plant_nuclei_3d",)  # one stack; as one image it was drawn too rarely

Int32Array = npt.NDArray[np.int32]


def load_split(root: Path, split: str) -> dict[str, list[LabelledImage]]:
    """Read all images of a split, by dataset; stacks give one entry per plane with objects."""
    images: dict[str, list[LabelledImage]] = {}
    for row in read_manifest(root):
        if row["split"] == split:
            images.setdefault(row["dataset"], []).extend(_load_row(root, row))
    return images


def dataset_shares(images: Mapping[str, list[LabelledImage]]) -> dict[str, float]:
    """Share of the crops from each dataset, by its number of images; see `FIRST_SHARE`."""
    sizes = {
        name: (len(group) if name in COUNTED_BY_PLANE else len(by_source(group))) ** BALANCE
        for name, group in images.items()
    }
    first = sum(size for name, size in sizes.items() if name in FIRST_DATASETS)
    others = sum(sizes.values()) - first
    return {
        name: FIRST_SHARE * size / first
        if name in FIRST_DATASETS
        else (1 - FIRST_SHARE) * size / others
        for name, size in sizes.items()
    }


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
