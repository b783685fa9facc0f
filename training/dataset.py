"""Labelled images for training: loading by manifest, balanced sampling, crops, augmentation."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image
from skimage import io
from skimage.segmentation import relabel_sequential

from napari_promptable.transforms import to_rgb8

BALANCE = 0.3  # a dataset of n images is drawn in proportion to n ** BALANCE
MIN_OBJECT_AREA = 20  # in pixels of the crop; smaller objects are context, not targets
OBJECT_DIAMETERS = (12.0, 220.0)  # range that half of the crops bring their object to
ZOOM_RANGE = (0.4, 5.0)  # of a crop, relative to the whole image at the network's input

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
        0 background, objects 1 to n.
    """

    dataset: str
    name: str
    image: UInt8Array
    labels: Int32Array


def load_split(root: Path, split: str) -> dict[str, list[LabelledImage]]:
    """Read all images of a split, by dataset; stacks give one entry per plane with objects."""
    images: dict[str, list[LabelledImage]] = {}
    for row in read_manifest(root):
        if row["split"] == split:
            images.setdefault(row["dataset"], []).extend(_load_row(root, row))
    return images


def read_manifest(root: Path) -> list[dict[str, str]]:
    """Read manifest.csv."""
    with open(root / "manifest.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def manifest_sha256(root: Path) -> str:
    """Hash of manifest.csv, the name of the training data in the weights' metadata."""
    return hashlib.sha256((root / "manifest.csv").read_bytes()).hexdigest()


def _load_row(root: Path, row: dict[str, str]) -> list[LabelledImage]:
    read = tifffile.imread if row["file"].endswith(".tif") else io.imread
    image, labels = read(root / row["file"]), read(root / row["label"])
    if int(row["D"]) == 1:
        planes = [(row["file"], image, labels)]
    else:
        planes = [(f"{row['file']}[{z}]", image[z], labels[z]) for z in range(len(image))]
    return [
        LabelledImage(
            row["dataset"],
            name,
            to_rgb8(plane),
            relabel_sequential(plane_labels.astype(np.int32))[0].astype(np.int32),
        )
        for name, plane, plane_labels in planes
        if plane_labels.any()
    ]


@dataclass(frozen=True)
class Crop:
    """A window of the network's input.

    Attributes
    ----------
    image : ndarray of float32, shape (S, S, 3)
        0 to 255.
    labels : ndarray of int32, shape (S, S)
        Objects of the crop.
    valid_size : (int, int)
        Rows and columns that hold image; what is below and right of them is padding.
    """

    image: npt.NDArray[np.float32]
    labels: Int32Array
    valid_size: tuple[int, int]


class CropSampler:
    """Draw augmented crops, datasets balanced.

    Parameters
    ----------
    images : dict of str to list of LabelledImage
        By dataset.
    input_size : int
        The network's input side, to which whole images are resized.
    """

    def __init__(self, images: dict[str, list[LabelledImage]], input_size: int) -> None:
        self._groups = list(images.values())
        weights = np.array([len(group) for group in self._groups]) ** BALANCE
        self._probabilities = weights / weights.sum()
        self._input_size = input_size

    def sample(self, size: int, rng: np.random.Generator) -> Crop:
        """Draw one crop of `size` pixels that holds at least one object."""
        while True:
            group = self._groups[rng.choice(len(self._groups), p=self._probabilities)]
            crop = self._cut(group[rng.integers(len(group))], size, rng)
            if np.bincount(crop.labels.ravel())[1:].max(initial=0) >= MIN_OBJECT_AREA:
                return augment(crop, rng)

    def _cut(self, source: LabelledImage, size: int, rng: np.random.Generator) -> Crop:
        """Cut around a random object, at a random zoom."""
        height, width = source.labels.shape
        target = rng.integers(1, source.labels.max() + 1)
        rows, columns = np.nonzero(source.labels == target)
        whole = self._input_size / max(height, width)
        zoom = _choose_zoom(len(rows), whole, rng)
        pick = rng.integers(len(rows))
        side = size / zoom
        top = _place(rows[pick], side, height, rng)
        left = _place(columns[pick], side, width, rng)
        box = (left, top, min(left + side, width), min(top + side, height))
        valid = (
            min(size, max(1, round((box[3] - top) * zoom))),
            min(size, max(1, round((box[2] - left) * zoom))),
        )
        image = np.zeros((size, size, 3), np.float32)
        labels = np.zeros((size, size), np.int32)
        within = np.s_[: valid[0], : valid[1]]
        image[within] = _resize(Image.fromarray(source.image), valid, box, "bilinear")
        labels[within] = _resize(Image.fromarray(source.labels), valid, box, "nearest")
        return Crop(image, labels, valid)


def _choose_zoom(area: int, whole: float, rng: np.random.Generator) -> float:
    """Half of the time near the whole image's zoom, else to give the object a random size."""
    if rng.random() < 0.5:
        zoom = whole * np.exp(rng.uniform(-0.4, 0.5))
    else:
        diameter = np.exp(rng.uniform(*np.log(OBJECT_DIAMETERS)))
        zoom = diameter / np.sqrt(4 * area / np.pi)
    return float(np.clip(zoom, ZOOM_RANGE[0] * whole, ZOOM_RANGE[1] * whole))


def _place(position: int, side: float, length: int, rng: np.random.Generator) -> float:
    """Start of a crop that holds `position` and leaves the image as little as possible."""
    start = position - side * rng.uniform(0.1, 0.9)
    return float(np.clip(start, 0, max(0, length - side)))


def _resize(
    image: Image.Image, size: tuple[int, int], box: tuple[float, ...], method: str
) -> npt.NDArray[np.generic]:
    resampling = {"bilinear": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST}
    return np.asarray(image.resize(size[::-1], resampling[method], box=box))


def augment(crop: Crop, rng: np.random.Generator) -> Crop:
    """Change orientation and intensities at random."""
    image, labels = crop.image / 255, crop.labels
    valid = crop.valid_size
    if valid == labels.shape and rng.random() < 0.5:
        image, labels = image.transpose(1, 0, 2), labels.T
    rows, columns = np.s_[: valid[0]], np.s_[: valid[1]]
    for axis in (0, 1):
        if rng.random() < 0.5:
            image[rows, columns] = np.flip(image[rows, columns], axis).copy()
            labels[rows, columns] = np.flip(labels[rows, columns], axis).copy()
    image = _augment_colour(image, rng)
    image = _augment_quality(image, rng)
    return Crop((255 * np.clip(image, 0, 1)).astype(np.float32), labels, valid)


def _augment_colour(
    image: npt.NDArray[np.float32], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Inversion, channel shuffles, grey, gamma, brightness and contrast."""
    if rng.random() < 0.25:
        image = 1 - image
    if rng.random() < 0.25:
        image = image[..., rng.permutation(3)]
    if rng.random() < 0.25:
        image = np.repeat(image @ rng.dirichlet(np.ones(3))[:, None], 3, axis=2)
    if rng.random() < 0.5:
        image = image ** np.exp(rng.uniform(-0.6, 0.6))
    if rng.random() < 0.5:
        image = (image - 0.5) * rng.uniform(0.6, 1.3) + 0.5 + rng.uniform(-0.15, 0.15)
    return image.astype(np.float32)


def _augment_quality(
    image: npt.NDArray[np.float32], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Noise, blur and uneven illumination."""
    size = image.shape[0]
    if rng.random() < 0.2:
        small = Image.fromarray((255 * np.clip(image, 0, 1)).astype(np.uint8))
        side = int(size * rng.uniform(0.4, 0.9))
        small = small.resize((side, side), Image.Resampling.BILINEAR)
        image = np.asarray(small.resize((size, size), Image.Resampling.BILINEAR)) / 255.0
    if rng.random() < 0.3:
        noise = rng.standard_normal((size, size, 1), np.float32) * rng.uniform(0, 0.12)
        image = image + noise
    if rng.random() < 0.2:
        direction = rng.normal(size=2)
        ramp = np.linspace(-0.5, 0.5, size)
        shading = direction[0] * ramp[:, None] + direction[1] * ramp[None]
        image = image * (1 + 0.5 * np.tanh(shading))[..., None]
    return image
