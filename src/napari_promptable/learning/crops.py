"""Windows of the network's input, cut from labelled images at the zoom that suits an object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from napari_promptable.learning.labelled_image import LabelledImage

USUAL_DIAMETERS = (36.0, 112.0)  # to which most crops bring their object: what `tiny` is shown
RARE_DIAMETERS = (12.0, 180.0)  # for the others, because a click does not tell the size
RARE_SHARE = 0.3
MAX_EXTENT = 0.9  # of the crop's side, that an object's longest side may take
MAX_ZOOM = 16.0
TURNED_SHARE = 0.5  # of magnified crops
MAX_LOG_STRETCH = 0.25  # of turned ones
MARGIN = 0.2  # of the side, that lies on both sides of the pixel that is cut around, at least

Int32Array = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]


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
    is_complete : bool
        Whether every visible object has a label.
    neighbour : ndarray of int32, shape (S, S), or None
        Labels of the same window on a nearby plane of the stack.
    hidden : ndarray of bool, shape (S, S), or None
        Pixels of held-out objects, which have no labels here and are no background either.
    """

    image: FloatArray
    labels: Int32Array
    valid: npt.NDArray[np.bool_]
    is_complete: bool = True
    neighbour: Int32Array | None = None
    hidden: npt.NDArray[np.bool_] | None = None


def cut_crop(source: LabelledImage, size: int, rng: np.random.Generator) -> Crop:
    """Cut around a random object at a random zoom. Half of the crops are turned and sheared."""
    ids = np.unique(source.labels[source.labels > 0])
    target = rng.choice(ids[~np.isin(ids, list(source.held_out))])
    rows, columns = np.nonzero(source.labels == target)
    extent = 1 + int(max(np.ptp(rows), np.ptp(columns)))
    zoom = choose_zoom(len(rows), extent, size, rng)
    pick = rng.integers(len(rows))
    neighbour = None
    if source.neighbours:
        neighbour = source.neighbours[rng.integers(len(source.neighbours))]
    cut = _cut_turned if zoom > 1 and rng.random() < TURNED_SHARE else _cut_straight
    return cut(source, neighbour, (rows[pick], columns[pick]), zoom, size, rng)


def choose_zoom(area: int, extent: int, size: int, rng: np.random.Generator) -> float:
    """Zoom that brings an object of some area and longest side to a random diameter."""
    limits = RARE_DIAMETERS if rng.random() < RARE_SHARE else USUAL_DIAMETERS
    diameter = np.exp(rng.uniform(*np.log(limits)))
    zoom = diameter / np.sqrt(4 * area / np.pi)
    return float(min(zoom, MAX_EXTENT * size / extent, MAX_ZOOM))


def _cut_straight(
    source: LabelledImage,
    neighbour: Int32Array | None,
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
    rest = ((0, size - shape[0]), (0, size - shape[1]))

    def cut(labels: Int32Array) -> Int32Array:
        return np.pad(_resize(Image.fromarray(labels), shape, box, "nearest"), rest)

    image = _resize(Image.fromarray(source.image), shape, box, "bilinear")
    return Crop(
        np.pad(image, (*rest, (0, 0))).astype(np.float32),
        cut(source.labels),
        np.pad(np.ones(shape, bool), rest),
        source.is_complete,
        None if neighbour is None else cut(neighbour),
    )


def _cut_turned(
    source: LabelledImage,
    neighbour: Int32Array | None,
    position: tuple[int, int],
    zoom: float,
    size: int,
    rng: np.random.Generator,
) -> Crop:
    """Turn by any angle and stretch. What lies outside the image is padding."""
    angle, stretch = (
        rng.uniform(0, 2 * np.pi),
        np.exp(rng.uniform(-MAX_LOG_STRETCH, MAX_LOG_STRETCH)),
    )
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([stretch, 1 / stretch]) / zoom
    offset = np.array(position) - matrix @ (size * rng.uniform(MARGIN, 1 - MARGIN, 2))
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
    if neighbour is not None:
        neighbour = np.where(valid, warp(neighbour[part], order=0), 0)
    return Crop(
        np.maximum(warped, 0),
        np.where(valid, labels, 0),
        valid,
        source.is_complete,
        neighbour,
    )


def _place(position: int, side: float, length: int, rng: np.random.Generator) -> float:
    """Start of a crop that holds `position` and leaves the image as little as possible."""
    start = position - side * rng.uniform(MARGIN, 1 - MARGIN)
    return float(np.clip(start, 0, max(0, length - side)))


def _resize(
    image: Image.Image,
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    method: str,
) -> npt.NDArray[np.generic]:
    resampling = {"bilinear": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST}
    return np.asarray(image.resize(size[::-1], resampling[method], box=box))
