"""How an object differs in colour from its surroundings (numpy only).

A box carried from slice to slice tells the model that the object fills it, and the model
believes that: where an object tapers off, its masks hardly shrink. The pixels know better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_promptable.masks import BoolArray, FloatArray, mask_region
from napari_promptable.predict.embeddings import ImageEmbedding

_SMOOTHING = 1.0  # standard deviation of a Gaussian in pixels, against noise
_RING = (1, 5)  # the surroundings begin and end at these distances from the mask, in pixels
_MIN_ACCURACY = 0.8  # of telling object and surroundings apart; below, colour misleads
_MARGIN = 0.05  # share of the diameter by which an object may move or grow in a step


@dataclass(frozen=True, eq=False)
class Appearance:
    """A plane in colour space with the object on one side.

    Attributes
    ----------
    direction : ndarray of float32, shape (3,)
        From the mean colour of the surroundings to the mean colour of the object.
    threshold : float
        Projection of the point halfway between the two colours.
    """

    direction: FloatArray
    threshold: float

    def find_similar(self, image: npt.NDArray[np.uint8]) -> BoolArray:
        """Find pixels of the object's colour: (H, W, 3) → ndarray of bool, (H, W)."""
        similar: BoolArray = _smooth(image) @ self.direction > self.threshold
        return similar


def _smooth(image: npt.NDArray[np.uint8]) -> FloatArray:
    from scipy import ndimage  # a dock widget opens without it

    smooth: FloatArray = ndimage.gaussian_filter(
        image.astype(np.float32), (_SMOOTHING, _SMOOTHING, 0)
    )
    return smooth


def appearance_of(embedding: ImageEmbedding, mask: BoolArray) -> Appearance | None:
    """Learn how an object looks.

    Parameters
    ----------
    embedding : ImageEmbedding
        Of its slice.
    mask : ndarray of bool, shape (H, W)
        The object.

    Returns
    -------
    Appearance or None
        None if its colour does not tell the object from its surroundings, or the model keeps no
        image.
    """
    window = _window(mask, _RING[1])
    if embedding.image is None or window is None:
        return None
    from scipy import ndimage  # a dock widget opens without it

    inside = mask[window]
    near, far = (ndimage.binary_dilation(inside, iterations=reach) for reach in _RING)
    ring = far & ~near
    if not ring.any():
        return None
    colours = _smooth(embedding.image[window])
    object_colour, ring_colour = colours[inside].mean(axis=0), colours[ring].mean(axis=0)
    direction = object_colour - ring_colour
    threshold = float((object_colour + ring_colour) @ direction / 2)
    is_similar = colours @ direction > threshold
    accuracy = (is_similar[inside].mean() + 1 - is_similar[ring].mean()) / 2
    return Appearance(direction, threshold) if accuracy >= _MIN_ACCURACY else None


def follow_appearance(
    mask: BoolArray, appearance: Appearance | None, embedding: ImageEmbedding
) -> BoolArray:
    """Adapt the mask of one slice to the colours of the next slice.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        On the slice before; not empty.
    appearance : Appearance or None
        Of the object; None leaves the mask unchanged.
    embedding : ImageEmbedding
        Of the next slice.

    Returns
    -------
    ndarray of bool, shape (H, W)
        Pixels in and next to the mask that look like the object; may be empty.
    """
    if appearance is None or embedding.image is None:
        return mask
    reach = max(1, round(_MARGIN * float(np.sqrt(np.count_nonzero(mask)))))
    window = _window(mask, reach)
    assert window is not None
    from scipy import ndimage  # a dock widget opens without it

    near = ndimage.binary_dilation(mask[window], iterations=reach)
    found = np.zeros_like(mask)
    found[window] = near & appearance.find_similar(embedding.image[window])
    return found


def likeness_of(
    mask: BoolArray, appearance: Appearance | None, embedding: ImageEmbedding
) -> float:
    """Measure how much a mask looks like the object.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        On any slice.
    appearance : Appearance or None
        Of the object on its prompted slice.
    embedding : ImageEmbedding
        Of the mask's slice.

    Returns
    -------
    float
        1 for the object's mean colour, 0 for the mean colour of its surroundings, linear in
        between and beyond; 1 if unknown.
    """
    window = _window(mask, 2)
    if appearance is None or embedding.image is None or window is None:
        return 1.0
    colour = _smooth(embedding.image[window])[mask[window]].mean(axis=0)
    direction = appearance.direction
    return float((colour @ direction - appearance.threshold) / (direction @ direction) + 0.5)


def _window(mask: BoolArray, margin: int) -> tuple[slice, slice] | None:
    """Rows and columns of a mask and a margin, or None for an empty mask."""
    region = mask_region(mask)
    if region is None:
        return None
    rows, columns = (
        slice(max(0, part.start - margin), min(size, part.stop + margin))
        for part, size in zip(region, mask.shape, strict=True)
    )
    return rows, columns
