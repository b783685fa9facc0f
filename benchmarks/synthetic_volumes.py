"""Volumes made in code: ellipsoids, tubes, touching and splitting objects."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage

SHAPE = (32, 128, 128)

Labels = npt.NDArray[np.uint16]


def make_volumes() -> Iterator[tuple[str, npt.NDArray[np.float32], Labels]]:
    """Make all volumes; yields name, image and labels."""
    for seed, (name, make) in enumerate(
        (
            ("ellipsoids", make_ellipsoids),
            ("touching", make_touching),
            ("tubes", make_tubes),
            ("splitting", make_splitting),
        )
    ):
        rng = np.random.default_rng(seed)
        labels = make(rng)
        yield name, take_image(labels, rng), labels


def take_image(labels: Labels, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Image labels as a microscope would: each object's own brightness, blur, noise."""
    brightness = np.concatenate([[0.1], rng.uniform(0.45, 0.9, labels.max())])
    image = ndimage.gaussian_filter(brightness[labels], (1.5, 1.2, 1.2))
    image += rng.normal(0, 0.06, image.shape)
    return image.astype(np.float32)


def _ellipsoid(
    centre: npt.ArrayLike, radii: npt.ArrayLike, angle: float = 0.0
) -> npt.NDArray[np.bool_]:
    """Ellipsoid of given (z, y, x) radii, turned in the plane."""
    z, y, x = (g - c for g, c in zip(np.indices(SHAPE), np.asarray(centre), strict=True))
    radii = np.asarray(radii, float)
    along = np.cos(angle) * y + np.sin(angle) * x
    across = np.cos(angle) * x - np.sin(angle) * y
    inside = (z / radii[0]) ** 2 + (along / radii[1]) ** 2 + (across / radii[2]) ** 2 <= 1
    return np.asarray(inside)


def make_ellipsoids(rng: np.random.Generator) -> Labels:
    """Ellipsoids of all sizes, with some background between them."""
    labels = np.zeros(SHAPE, np.uint16)
    object_id = 0
    for row in range(18, 128, 30):
        for column in range(18, 128, 30):
            object_id += 1
            centre = (rng.uniform(10, 22), *(np.array([row, column]) + rng.uniform(-3, 3, 2)))
            radii = (rng.uniform(5, 12), *rng.uniform(6, 13, 2))
            inside = _ellipsoid(centre, radii, rng.uniform(0, np.pi))
            labels[inside & (labels == 0)] = object_id
    return labels


def make_touching(rng: np.random.Generator) -> Labels:
    """Cells that fill a tissue: each pixel belongs to the nearest centre."""
    centres = [
        (z, row + rng.uniform(-4, 4), column + rng.uniform(-4, 4))
        for z in (8, 24)
        for row in range(24, 112, 27)
        for column in range(24, 112, 27)
    ]
    seeds = np.array(centres)
    grid = np.stack(np.indices(SHAPE), axis=-1)
    distance = np.stack([np.linalg.norm(grid - seed, axis=-1) for seed in seeds])
    labels = (distance.argmin(axis=0) + 1).astype(np.uint16)
    labels[distance.min(axis=0) > 14] = 0
    return labels


def make_tubes(rng: np.random.Generator) -> Labels:
    """Tubes that go through all slices and lean to a side; some curve and some widen."""
    labels = np.zeros(SHAPE, np.uint16)
    _, rows, columns = np.indices(SHAPE)
    height = np.arange(SHAPE[0])[:, None, None] / SHAPE[0]
    starts = [(24, 20), (24, 64), (64, 24), (64, 84), (104, 30), (104, 74)]
    for object_id, (row, column) in enumerate(starts, 1):
        lean, curve = rng.uniform(-12, 28), rng.uniform(0, 6)
        radius = rng.uniform(6, 10) + rng.uniform(-3, 4) * height
        centre_y = row + curve * np.sin(2 * np.pi * height)
        inside = np.hypot(rows - centre_y, columns - column - lean * height) <= radius
        labels[inside & (labels == 0)] = object_id
    return labels


def make_splitting(rng: np.random.Generator) -> Labels:
    """Trunks that fork into two branches of one object halfway through."""
    labels = np.zeros(SHAPE, np.uint16)
    _, rows, columns = np.indices(SHAPE)
    height = np.arange(SHAPE[0])[:, None, None] / SHAPE[0]
    for object_id, (row, column) in enumerate([(34, 34), (34, 94), (94, 34), (94, 94)], 1):
        radius = rng.uniform(7, 9)
        apart = 22 * np.clip(height - rng.uniform(0.3, 0.5), 0, None)
        for side in (-1, 1):
            inside = np.hypot(rows - row, columns - column - side * apart) <= radius - apart / 4
            labels[inside] = object_id
    return labels
