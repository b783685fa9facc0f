"""Labelled images for training: loading by manifest, balanced sampling, crops, augmentation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from skimage.segmentation import relabel_sequential

from napari_promptable.evaluation.labelled_images import LabelledFile, read_manifest
from napari_promptable.transforms import to_rgb8

BALANCE = 0.25  # a dataset of n images is drawn in proportion to n ** BALANCE
MIN_OBJECT_AREA = 20  # in pixels of the crop; smaller objects are context, not targets
USUAL_DIAMETERS = (36.0, 112.0)  # to which most crops bring their object: what `tiny` is shown
RARE_DIAMETERS = (12.0, 180.0)  # for the others, because a click does not tell the size
RARE_SHARE = 0.3
MAX_EXTENT = 0.9  # of the crop's side, that an object's longest side may take
MAX_ZOOM = 16.0

UInt8Array = npt.NDArray[np.uint8]
Int32Array = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]


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


def manifest_sha256(root: Path) -> str:
    """Hash of manifest.csv, the name of the training data in the weights' metadata."""
    return hashlib.sha256((root / "manifest.csv").read_bytes()).hexdigest()


def _load_row(root: Path, row: dict[str, str]) -> list[LabelledImage]:
    file = LabelledFile(row["dataset"], root / row["file"], root / row["label"])
    return [
        LabelledImage(
            file.dataset,
            name,
            to_rgb8(plane),
            relabel_sequential(labels)[0].astype(np.int32),
        )
        for name, plane, labels in file.planes()
        if labels.any()
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
    valid : ndarray of bool, shape (S, S)
        Where there is image; the rest is padding.
    """

    image: FloatArray
    labels: Int32Array
    valid: npt.NDArray[np.bool_]


class CropSampler:
    """Draw augmented crops, datasets balanced.

    Parameters
    ----------
    images : dict of str to list of LabelledImage
        By dataset.
    synthetic : list of LabelledImage, optional
        Drawn images.
    synthetic_share : float, default 0
        Of the crops, that are cut from drawn images.
    """

    def __init__(
        self,
        images: dict[str, list[LabelledImage]],
        synthetic: list[LabelledImage] | None = None,
        synthetic_share: float = 0.0,
    ) -> None:
        self.images, self.synthetic = images, synthetic
        self._groups = list(images.values())
        weights = np.array([len(group) for group in self._groups]) ** BALANCE
        self._probabilities = weights / weights.sum()
        if synthetic:
            self._groups.append(synthetic)
            self._probabilities = np.append(
                (1 - synthetic_share) * self._probabilities, synthetic_share
            )

    def sample(self, size: int, rng: np.random.Generator) -> Crop:
        """Draw one crop of `size` pixels that holds at least one object."""
        while True:
            group = self._groups[rng.choice(len(self._groups), p=self._probabilities)]
            crop = cut_crop(group[rng.integers(len(group))], size, rng)
            if np.bincount(crop.labels.ravel())[1:].max(initial=0) >= MIN_OBJECT_AREA:
                return augment(crop, rng)


def cut_crop(source: LabelledImage, size: int, rng: np.random.Generator) -> Crop:
    """Cut around a random object at a random zoom; half of the crops are turned and sheared."""
    target = rng.integers(1, source.labels.max() + 1)
    rows, columns = np.nonzero(source.labels == target)
    extent = 1 + max(np.ptp(rows), np.ptp(columns))
    zoom = choose_zoom(len(rows), extent, size, rng)
    pick = rng.integers(len(rows))
    if zoom > 1 and rng.random() < 0.5:
        return _cut_turned(source, (rows[pick], columns[pick]), zoom, size, rng)
    return _cut_straight(source, (rows[pick], columns[pick]), zoom, size, rng)


def choose_zoom(area: int, extent: int, size: int, rng: np.random.Generator) -> float:
    """Zoom that brings an object of some area and longest side to a random diameter."""
    limits = RARE_DIAMETERS if rng.random() < RARE_SHARE else USUAL_DIAMETERS
    diameter = np.exp(rng.uniform(*np.log(limits)))
    zoom = diameter / np.sqrt(4 * area / np.pi)
    return float(min(zoom, MAX_EXTENT * size / extent, MAX_ZOOM))


def _cut_straight(
    source: LabelledImage,
    position: tuple[int, int],
    zoom: float,
    size: int,
    rng: np.random.Generator,
) -> Crop:
    """Resize a rectangle of the image, with antialiasing."""
    height, width = source.labels.shape
    side = size / zoom
    top = _place(position[0], side, height, rng)
    left = _place(position[1], side, width, rng)
    box = (left, top, min(left + side, width), min(top + side, height))
    shape = (
        min(size, max(1, round((box[3] - top) * zoom))),
        min(size, max(1, round((box[2] - left) * zoom))),
    )
    crop = _empty_crop(size)
    within = np.s_[: shape[0], : shape[1]]
    crop.image[within] = _resize(Image.fromarray(source.image), shape, box, "bilinear")
    crop.labels[within] = _resize(Image.fromarray(source.labels), shape, box, "nearest")
    crop.valid[within] = True
    return crop


def _cut_turned(
    source: LabelledImage,
    position: tuple[int, int],
    zoom: float,
    size: int,
    rng: np.random.Generator,
) -> Crop:
    """Turn by any angle and stretch; what lies outside the image is padding."""
    angle, stretch = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(-0.25, 0.25))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([stretch, 1 / stretch]) / zoom
    offset = np.array(position) - matrix @ (size * rng.uniform(0.2, 0.8, 2))
    low = np.floor(np.minimum(offset, offset + np.minimum(matrix * size, 0).sum(axis=1)))
    high = offset + np.maximum(matrix * size, 0).sum(axis=1)
    top, left = np.clip(low - 1, 0, None).astype(int)
    bottom, right = np.ceil(high).astype(int) + 2
    part = np.s_[top:bottom, left:right]
    warp = partial(
        ndimage.affine_transform,
        matrix=matrix,
        offset=offset - (top, left),
        output_shape=(size, size),
        cval=-1,
    )
    image, labels = source.image[part].astype(np.float32), source.labels[part]
    if (image[..., :1] == image).all():
        warped = np.repeat(warp(image[..., 0], order=1)[..., None], 3, axis=2)
    else:
        warped = np.stack([warp(channel, order=1) for channel in np.moveaxis(image, 2, 0)], 2)
    labels = warp(labels, order=0)
    valid = (labels >= 0) & (warped >= 0).all(axis=2)
    return Crop(np.maximum(warped, 0), np.where(valid, labels, 0), valid)


def _empty_crop(size: int) -> Crop:
    return Crop(
        np.zeros((size, size, 3), np.float32),
        np.zeros((size, size), np.int32),
        np.zeros((size, size), bool),
    )


def _place(position: int, side: float, length: int, rng: np.random.Generator) -> float:
    """Start of a crop that holds `position` and leaves the image as little as possible."""
    start = position - side * rng.uniform(0.2, 0.8)
    return float(np.clip(start, 0, max(0, length - side)))


def _resize(
    image: Image.Image, size: tuple[int, int], box: tuple[float, ...], method: str
) -> npt.NDArray[np.generic]:
    resampling = {"bilinear": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST}
    return np.asarray(image.resize(size[::-1], resampling[method], box=box))


def augment(crop: Crop, rng: np.random.Generator) -> Crop:
    """Change orientation and intensities at random."""
    image, labels, valid = crop.image / 255, crop.labels, crop.valid
    if rng.random() < 0.5:
        image, labels, valid = image.transpose(1, 0, 2), labels.T, valid.T
    for axis in (0, 1):
        if rng.random() < 0.5:
            image, labels, valid = (np.flip(array, axis) for array in (image, labels, valid))
    image = _augment_colour(image, rng)
    image = _augment_quality(image, rng)
    image = (255 * np.clip(image, 0, 1)).astype(np.float32)
    return Crop(image, np.ascontiguousarray(labels), np.ascontiguousarray(valid))


def _augment_colour(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Inversion, channel shuffles, grey, tint, gamma, brightness and contrast."""
    if rng.random() < 0.25:
        image = 1 - image
    if rng.random() < 0.25:
        image = image[..., rng.permutation(3)]
    if rng.random() < 0.25:
        image = np.repeat(image @ rng.dirichlet(np.ones(3))[:, None], 3, axis=2)
    if rng.random() < 0.15:
        image = image * rng.uniform(0.2, 1, 3)
    if rng.random() < 0.5:
        image = image ** np.exp(rng.uniform(-0.7, 0.7))
    if rng.random() < 0.5:
        image = (image - 0.5) * rng.uniform(0.4, 1.3) + 0.5 + rng.uniform(-0.2, 0.2)
    return image.astype(np.float32)


def _augment_quality(image: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Loss of resolution, blur, noise and uneven illumination."""
    size = image.shape[0]
    if rng.random() < 0.2:
        small = Image.fromarray((255 * np.clip(image, 0, 1)).astype(np.uint8))
        side = int(size * rng.uniform(0.3, 0.9))
        small = small.resize((side, side), Image.Resampling.BILINEAR)
        image = np.asarray(small.resize((size, size), Image.Resampling.BILINEAR)) / 255.0
    if rng.random() < 0.1:
        image = ndimage.uniform_filter(image, (*rng.integers(1, 5, 2), 1))
    if rng.random() < 0.3:
        noise = rng.standard_normal((size, size, 1), np.float32) * rng.uniform(0, 0.12)
        image = image + noise
    if rng.random() < 0.2:
        direction = rng.normal(size=2)
        ramp = np.linspace(-0.5, 0.5, size)
        shading = direction[0] * ramp[:, None] + direction[1] * ramp[None]
        image = image * (1 + 0.5 * np.tanh(shading))[..., None]
    return image
