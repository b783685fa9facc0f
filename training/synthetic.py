"""Drawn images with exact labels, for looks that the labelled data lack.

Rods, touching and overlapping blobs, rings, filaments and polygonal tissue, shaded as
fluorescence, membranes, shells or DIC-like relief, on flat, cloudy or photographic backgrounds.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage import data
from skimage.color import rgb2gray
from skimage.draw import line
from skimage.segmentation import find_boundaries, relabel_sequential
from skimage.transform import resize

from napari_promptable.learning.labelled_image import LabelledImage

SIDE = 256  # pixels of a drawn image
BACKGROUNDS = ("brick", "camera", "coins", "grass", "gravel", "moon", "astronaut", "coffee")
"""Photographs that scikit-image carries in its wheel."""

FloatArray = npt.NDArray[np.floating]
Int32Array = npt.NDArray[np.int32]


def draw_images(count: int, seed: int) -> list[LabelledImage]:
    """Draw images; the same for the same seed.

    Parameters
    ----------
    count : int
        How many.
    seed : int
        Of the random numbers.

    Returns
    -------
    list of LabelledImage
        All kinds of objects in turn.
    """
    photographs = [_load_photograph(name) for name in BACKGROUNDS]
    kinds = list(OBJECTS)
    images = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        rng = np.random.default_rng([seed, number])
        labels = relabel_sequential(OBJECTS[kind](rng))[0].astype(np.int32)
        image = _paint(labels, kind, rng, photographs)
        images.append(LabelledImage("synthetic", f"{kind}-{number}", image, labels))
    return images


def _load_photograph(name: str) -> FloatArray:
    photograph = getattr(data, name)()
    return resize(rgb2gray(photograph) if photograph.ndim == 3 else photograph, (512, 512))


# shapes: labels of shape (SIDE, SIDE)


def _draw_blobs(rng: np.random.Generator) -> Int32Array:
    """Wobbly ellipses that may touch and overlap; the later one is on top."""
    labels = np.zeros((SIDE, SIDE), np.int32)
    radius = np.exp(rng.uniform(np.log(6), np.log(40)))
    spacing = rng.uniform(1.5, 3.5) * radius
    for number in range(1, int(min(80, (SIDE / spacing) ** 2)) + 1):
        centre = rng.uniform(0, SIDE, 2)
        labels[_blob(centre, radius * rng.uniform(0.7, 1.3), rng)] = number
    return labels


def _blob(centre_yx: FloatArray, radius: float, rng: np.random.Generator) -> tuple:
    """Rows and columns of an ellipse whose radius wobbles with the angle."""
    rows, columns, y, x = _patch(centre_yx, 2 * radius)
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(1, 1.7)
    u = (np.cos(turn) * x + np.sin(turn) * y) / stretch
    v = (np.cos(turn) * y - np.sin(turn) * x) * stretch
    angle = np.arctan2(v, u)
    wobble = sum(
        rng.uniform(0, 0.3) / k * np.cos(k * angle + rng.uniform(0, 7)) for k in range(2, 6)
    )
    inside = np.hypot(u, v) < radius * (1 + wobble)
    return rows[inside], columns[inside]


def _patch(centre_yx: FloatArray, reach: float) -> tuple[np.ndarray, ...]:
    """Rows and columns around a centre, and their distances to it."""
    (top, left), (bottom, right) = (
        np.clip(np.asarray(centre_yx) + side * reach, 0, SIDE).astype(int) for side in (-1, 1)
    )
    rows, columns = np.mgrid[top:bottom, left:right]
    return rows, columns, rows - centre_yx[0], columns - centre_yx[1]


def _draw_rods(rng: np.random.Generator) -> Int32Array:
    """Straight and bent capsules, like bacteria, often in touching chains."""
    labels = np.zeros((SIDE, SIDE), np.int32)
    radius = rng.uniform(2.5, 9)
    length = radius * rng.uniform(3, 12)
    turn = rng.uniform(0, np.pi)
    number = 0
    for _ in range(int(rng.integers(5, 50))):
        position, angle = rng.uniform(0, SIDE, 2), turn + rng.normal(0, rng.choice([0.2, 2]))
        for _ in range(int(rng.integers(1, 4))):
            number += 1
            path = _walk(position, angle, length * rng.uniform(0.6, 1.3), 0.01, rng)
            labels[_thicken(path, radius) & (labels == 0)] = number
            position = path[-1] + 2.1 * radius * np.array([np.sin(angle), np.cos(angle)])
    return labels


def _draw_filaments(rng: np.random.Generator) -> Int32Array:
    """Long thin curves; the later one is on top."""
    labels = np.zeros((SIDE, SIDE), np.int32)
    for number in range(1, int(rng.integers(3, 14)) + 1):
        path = _walk(
            rng.uniform(0, SIDE, 2), rng.uniform(0, 7), rng.uniform(60, 300), 0.012, rng
        )
        labels[_thicken(path, rng.uniform(1.2, 4))] = number
    return labels


def _walk(
    start_yx: FloatArray, angle: float, length: float, bend: float, rng: np.random.Generator
) -> FloatArray:
    """Points one pixel apart on a smooth curve, shape (P, 2)."""
    curvature = rng.normal(0, bend)
    turns = angle + np.cumsum(curvature + rng.normal(0, bend, max(2, int(length))))
    steps = np.stack([np.sin(turns), np.cos(turns)], axis=1)
    return np.asarray(start_yx) + np.cumsum(steps, axis=0)


def _thicken(path_yx: FloatArray, radius: float) -> npt.NDArray[np.bool_]:
    """All pixels within a radius of a path."""
    canvas = np.zeros((SIDE, SIDE), bool)
    for first, second in pairwise(np.rint(path_yx[:: max(1, int(radius))]).astype(int)):
        rows, columns = line(*first, *second)
        keep = (rows >= 0) & (rows < SIDE) & (columns >= 0) & (columns < SIDE)
        canvas[rows[keep], columns[keep]] = True
    if not canvas.any():
        return canvas
    return ndimage.distance_transform_edt(~canvas) <= radius


def _draw_tissue(rng: np.random.Generator) -> Int32Array:
    """Polygonal cells that fill the plane, with membranes or gaps between them."""
    cell = rng.uniform(16, 60)
    count = int((SIDE / cell) ** 2) + 4
    centres = rng.uniform(-cell, SIDE + cell, (count * 2, 2))
    stretch = np.array([1, rng.uniform(1, 2)])
    grid = np.stack(np.mgrid[:SIDE, :SIDE], axis=-1)
    shift = 0.2 * cell * np.stack([_clouds(cell, rng) for _ in range(2)], axis=-1)
    _, nearest = cKDTree(centres * stretch).query((grid + shift) * stretch)
    labels = (nearest + 1).astype(np.int32)
    gap = int(rng.integers(0, 3))
    if gap:
        is_gap = ndimage.binary_dilation(
            find_boundaries(labels, mode="inner"), iterations=gap - 1 or 1
        )
        labels[is_gap] = 0
    labels[np.isin(labels, rng.permutation(count * 2)[: count // 3])] = 0
    return labels


OBJECTS: dict[str, Callable[[np.random.Generator], Int32Array]] = {
    "blobs": _draw_blobs,
    "rods": _draw_rods,
    "tissue": _draw_tissue,
    "filaments": _draw_filaments,
}
"""Kinds of drawn images, by name."""


# looks


def _paint(
    labels: Int32Array, kind: str, rng: np.random.Generator, photographs: list[FloatArray]
) -> npt.NDArray[np.uint8]:
    """Shade objects, put them on a background, blur and add noise; RGB."""
    shades = ["filled", "shell", "membrane", "relief"] + ["textured"] * (kind != "tissue")
    shade = rng.choice(shades)
    depth = ndimage.distance_transform_edt(labels > 0)
    inner = ndimage.distance_transform_edt(~find_boundaries(labels, mode="inner"))
    inner = np.where(labels > 0, inner, 0)
    brightness = np.concatenate([[0], rng.uniform(0.35, 1, labels.max())])[labels]
    if shade == "filled":
        profile = brightness * (1 - np.exp(-(inner + 1) / rng.uniform(0.3, 6)))
    elif shade == "shell":
        profile = brightness * (0.15 + np.exp(-inner / rng.uniform(1, 4)))
    elif shade == "membrane":
        edges = find_boundaries(labels, mode="thick")
        profile = ndimage.gaussian_filter(edges.astype(float), rng.uniform(0.5, 1.5)) * 2
    elif shade == "relief":
        height = np.sqrt(np.where(kind == "tissue", inner, depth))
        angle = rng.uniform(0, 7)
        slopes = [ndimage.gaussian_filter(height, 1.2, order=o) for o in ((1, 0), (0, 1))]
        profile = np.cos(angle) * slopes[0] + np.sin(angle) * slopes[1]
    else:
        profile = brightness * (0.5 + 0.5 * _clouds(rng.uniform(1, 5), rng))
    image = rng.uniform(0.15, 0.8) * profile + _background(rng, photographs)
    image = ndimage.gaussian_filter(image, rng.uniform(0, 1.2))
    image = image + rng.normal(0, rng.uniform(0, 0.08), image.shape)
    image = (image - image.min()) / max(np.ptp(image), 1e-6)
    if rng.random() < 0.3:  # transmitted light: dark on bright
        image = 1 - image
    return _colour(image, labels, rng)


def _background(rng: np.random.Generator, photographs: list[FloatArray]) -> FloatArray:
    """Flat, cloudy or photographic, shape (SIDE, SIDE)."""
    choice = rng.random()
    if choice < 0.35:
        return np.zeros((SIDE, SIDE))
    if choice < 0.7:
        return rng.uniform(0.05, 0.4) * _clouds(np.exp(rng.uniform(0.5, 4)), rng)
    photograph = photographs[rng.integers(len(photographs))]
    top, left = rng.integers(0, 512 - SIDE, 2)
    return rng.uniform(0.05, 0.4) * photograph[top : top + SIDE, left : left + SIDE]


def _clouds(size: float, rng: np.random.Generator) -> FloatArray:
    """Smooth noise, about −1 to 1, with structure of about `size` pixels."""
    noise = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), size / 2)
    return np.clip(noise / (2 * noise.std() + 1e-9), -1, 1)


def _colour(
    image: FloatArray, labels: Int32Array, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Grey, or a stain and a counterstain."""
    rgb = np.repeat(image[..., None], 3, axis=2)
    if rng.random() < 0.25:
        stains = rng.uniform(0.3, 1, (2, 3))
        rgb = rgb * np.where((labels > 0)[..., None], stains[0], stains[1])
    return np.rint(255 * np.clip(rgb, 0, 1)).astype(np.uint8)
