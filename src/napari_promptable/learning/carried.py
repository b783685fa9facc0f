"""Masks carried from a neighbouring slice, the first prompts of a propagation's steps.

Stacks have real neighbours. On single images a deformed mask stands for the neighbour's; where
an object has ended, the mask lies on background and the right answer is empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_promptable.learning.crops import Crop
from napari_promptable.learning.sampling import MIN_OBJECT_AREA

ABSENT_SHARE = 0.1  # of the carried masks, whose object is not on this slice
NEIGHBOUR_SHARE = 0.7  # of the masks on planes of stacks, that come from a real neighbour
SHIFT = 0.08  # standard deviation, relative to the object's diameter
GROWTH, RARE_GROWTH, RARE_SHARE = 0.12, 0.3, 0.25  # most, relative to the diameter
RAGGEDNESS = 0.12  # most amplitude of the border's noise, relative to the diameter
NOISE_GRID = 6  # cells of the border's noise along a side of the crop
LOGIT_SCALE = (3.0, 10.0)  # logits in the middle of a mask
LOGIT_WIDTH = (1.0, 4.0)  # pixels from the border, at which they get there
MAX_COVERED = 0.05  # share of an absent object's mask, that other objects may cover
ABSENT_TRIES = 10

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CarriedMask:
    """An object on this slice and on a neighbouring one.

    Attributes
    ----------
    target : ndarray of bool, shape (S, S)
        On this slice; empty if it is not there.
    logits : ndarray of float32, shape (S / 2, S / 2)
        On the neighbouring slice, as the network would have answered there.
    """

    target: BoolArray
    logits: FloatArray


def choose_carried_masks(crop: Crop, count: int, rng: np.random.Generator) -> list[CarriedMask]:
    """Choose objects of a crop and masks that were carried to it.

    Parameters
    ----------
    crop : Crop
        With labels, and with a neighbour's labels if it is a plane of a stack.
    count : int
        At most so many.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    list of CarriedMask
        Of different objects.
    """
    shown = crop.labels
    if crop.neighbour is not None and rng.random() < NEIGHBOUR_SHARE:
        shown = crop.neighbour
    areas = np.bincount(shown.ravel())
    areas[0] = 0
    carried = []
    for label in rng.permutation(np.flatnonzero(areas >= MIN_OBJECT_AREA))[:count]:
        mask, target = shown == label, crop.labels == label
        if shown is crop.labels:
            mask, target = _imagine_neighbour(crop, target, rng)
        elif not target.any() and not crop.is_complete:
            continue  # it may be there without a label
        carried.append(CarriedMask(target, to_logits(mask, rng)))
    return carried


def _imagine_neighbour(
    crop: Crop, target: BoolArray, rng: np.random.Generator
) -> tuple[BoolArray, BoolArray]:
    """Deform an object's mask, or move it to where there is no object."""
    mask = deform_mask(target, rng)
    if crop.is_complete and rng.random() < ABSENT_SHARE:
        moved = _move_to_background(mask, crop, rng)
        if moved is not None:
            return moved, np.zeros_like(target)
    return mask, target


def deform_mask(mask: BoolArray, rng: np.random.Generator) -> BoolArray:
    """Shift, grow or shrink a mask and make its border ragged.

    Parameters
    ----------
    mask : ndarray of bool, shape (S, S)
        Not empty.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    ndarray of bool, shape (S, S)
        Not empty.
    """
    diameter = np.sqrt(4 * np.count_nonzero(mask) / np.pi)
    limit = RARE_GROWTH if rng.random() < RARE_SHARE else GROWTH
    noise = ndimage.zoom(
        rng.standard_normal((NOISE_GRID, NOISE_GRID)), mask.shape[0] / NOISE_GRID, order=1
    )
    distance = signed_distance(mask) + diameter * (
        rng.uniform(0, RAGGEDNESS) * noise + rng.uniform(-limit, limit)
    )
    shift = rng.normal(0, SHIFT * diameter, 2)
    deformed = ndimage.shift(distance, shift, order=1, mode="nearest") > 0
    return deformed if deformed.any() else mask


def signed_distance(mask: BoolArray) -> FloatArray:
    """Distance to the mask's border in pixels, positive inside."""
    inside, outside = (ndimage.distance_transform_edt(part) for part in (mask, ~mask))
    distance: FloatArray = (inside - outside).astype(np.float32)
    return distance


def _move_to_background(
    mask: BoolArray, crop: Crop, rng: np.random.Generator
) -> BoolArray | None:
    """Move a mask to where it covers hardly any object, or None if no place was found."""
    rows, columns = ndimage.find_objects(mask.astype(np.int8))[0]
    shape = mask[rows, columns]
    is_covered = crop.labels > 0
    if crop.hidden is not None:
        is_covered |= crop.hidden
    for _ in range(ABSENT_TRIES):
        top, left = rng.integers(0, np.array(mask.shape) - shape.shape + 1)
        moved = np.zeros_like(mask)
        moved[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
        is_free = is_covered[moved].mean() <= MAX_COVERED
        if is_free and crop.valid[moved].all():
            return moved
    return None


def to_logits(mask: BoolArray, rng: np.random.Generator) -> FloatArray:
    """Logits at half resolution of a network that answers with this mask."""
    size, width = rng.uniform(*LOGIT_SCALE), rng.uniform(*LOGIT_WIDTH)
    logits = size * np.tanh(signed_distance(mask) / width)
    half = mask.shape[0] // 2
    averaged: FloatArray = logits.reshape(half, 2, half, 2).mean(axis=(1, 3)).astype(np.float32)
    return averaged
