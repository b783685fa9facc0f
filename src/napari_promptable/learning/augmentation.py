"""Augmentation of crops: orientation, colour and image quality."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from napari_promptable.learning.crops import Crop

FloatArray = npt.NDArray[np.floating[Any]]
Array = TypeVar("Array", bound=npt.NDArray[Any])


def augment(crop: Crop, rng: np.random.Generator) -> Crop:
    """Change orientation and intensities at random."""
    is_transposed = rng.random() < 0.5
    flipped = tuple(axis for axis in (0, 1) if rng.random() < 0.5)

    def turn(array: Array) -> Array:
        if is_transposed:
            array = array.swapaxes(0, 1)
        return np.ascontiguousarray(np.flip(array, flipped))  # type: ignore[return-value]

    image = _augment_quality(_augment_colour(turn(crop.image / 255), rng), rng)
    return replace(
        crop,
        image=(255 * np.clip(image, 0, 1)).astype(np.float32),
        labels=turn(crop.labels),
        valid=turn(crop.valid),
        neighbour=None if crop.neighbour is None else turn(crop.neighbour),
        hidden=None if crop.hidden is None else turn(crop.hidden),
    )


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
