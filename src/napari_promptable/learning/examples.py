"""The user's images and labels as training sees them, and which objects are held out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import LabelError
from napari_promptable.evaluation.evaluate import MIN_AREA
from napari_promptable.learning.labelled_image import Int32Array, LabelledImage
from napari_promptable.transforms import to_rgb8

HELD_OUT_SHARE = 0.2
HELD_OUT_GROUPS = 2  # so that the figures come from twice as many objects
FEWEST_HELD_OUT = 2
FEWEST_OBJECTS = 2
"""One is needed to learn from, another one to see what that was worth."""

FEWEST_TO_HOLD_OUT_A_GROUP = 5
"""With fewer objects, each is held out in turn."""

HIGHEST_ID = 1_000_000
"""Objects are counted in tables as long as the highest id."""

Example = tuple[npt.ArrayLike, npt.ArrayLike]
"""An image (H, W), (H, W, 3) or (H, W, 4), or a stack of such planes, and its labels."""


@dataclass(frozen=True, order=True)
class ObjectKey:
    """One object: the number of its example, and its label there."""

    example: int
    label: int


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled planes of all examples.

    Attributes
    ----------
    planes : tuple of LabelledImage
        Those with objects; `LabelledImage.source` is the number of the example.
    objects : tuple of ObjectKey
        All objects of at least `MIN_AREA` pixels, in ascending order.
    """

    planes: tuple[LabelledImage, ...]
    objects: tuple[ObjectKey, ...]

    def without(self, held_out: Collection[ObjectKey]) -> list[LabelledImage]:
        """Planes on which some objects are held out. Planes without one are left out."""
        hidden = [replace(p, held_out=_labels_of(p, held_out)) for p in self.planes]
        return [p for p in hidden if set(np.unique(p.labels)) - p.held_out - {0}]

    def only(self, wanted: Collection[ObjectKey]) -> list[LabelledImage]:
        """Planes with the labels of some objects only, each object on its largest plane."""
        largest: dict[ObjectKey, tuple[int, int]] = {}
        for number, plane in enumerate(self.planes):
            areas = np.bincount(plane.labels.ravel())
            for label in _labels_of(plane, wanted):
                key = ObjectKey(int(plane.source), label)
                largest[key] = max(largest.get(key, (0, 0)), (int(areas[label]), number))
        chosen = []
        for number, plane in enumerate(self.planes):
            labels = [key.label for key, (_, best) in largest.items() if best == number]
            if labels:
                shown = np.where(np.isin(plane.labels, labels), plane.labels, 0)
                chosen.append(replace(plane, labels=shown, neighbours=()))
        return chosen

    def labels_of(self, plane: LabelledImage) -> Int32Array:
        """All labels of a plane that `without` or `only` returned."""
        return next(
            each.labels
            for each in self.planes
            if (each.source, each.name) == (plane.source, plane.name)
        )


def _labels_of(plane: LabelledImage, keys: Collection[ObjectKey]) -> frozenset[int]:
    """Labels of the given objects that a plane shows."""
    shown = set(np.unique(plane.labels).tolist())
    return frozenset(k.label for k in keys if str(k.example) == plane.source) & shown


def read_examples(examples: Iterable[Example], is_complete: bool) -> Examples:
    """Take planes and objects from images and labels.

    Parameters
    ----------
    examples : iterable of (image, labels)
        Labels have one whole number per pixel, 0 where nothing is labelled. An image may have
        axes before (H, W), and 3 or 4 colours after it.
    is_complete : bool
        Whether every object is labelled.

    Returns
    -------
    found : Examples
        All planes with objects.

    Raises
    ------
    LabelError
        If examples are no pairs, images hold no numbers, labels are no whole numbers from 0 to
        `HIGHEST_ID` or have another shape than their image, or there are fewer than
        `FEWEST_OBJECTS` objects.
    """
    planes: list[LabelledImage] = []
    for number, example in enumerate(examples):
        image, labels = _check_example(example)
        planes += _read_example(number, image, labels, is_complete)
    areas: dict[ObjectKey, int] = {}
    for plane in planes:
        for label, area in enumerate(np.bincount(plane.labels.ravel())):
            key = ObjectKey(int(plane.source), label)
            areas[key] = max(areas.get(key, 0), int(area))
    objects = sorted(key for key, area in areas.items() if key.label and area >= MIN_AREA)
    if len(objects) < FEWEST_OBJECTS:
        count = "1 object" if objects else "no object"
        raise LabelError(
            f"the labels hold {count} of {MIN_AREA} pixels or more; label at least "
            f"{FEWEST_OBJECTS}, better five, then learn from them"
        )
    return Examples(tuple(planes), tuple(objects))


def _check_example(example: Example) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return image and labels as arrays that match, or raise a LabelError."""
    if not isinstance(example, tuple | list) or len(example) != 2:
        raise LabelError(
            f"an example of type {type(example).__name__} was given; give pairs of an image "
            "and its labels in a list: [(image, labels)]"
        )
    image, labels = (np.asarray(part) for part in example)
    if image.dtype.kind not in "buif":
        raise LabelError(
            f"an image of dtype {image.dtype} was given; give integers, floats or booleans"
        )
    if labels.dtype.kind not in "bui" or labels.ndim < 2:
        raise LabelError(
            f"labels of dtype {labels.dtype} and shape {labels.shape} were given; labels are "
            "whole numbers, one per pixel, 0 where nothing is labelled"
        )
    is_rgb = image.ndim == labels.ndim + 1 and image.shape[-1] in (3, 4)
    if image.shape[: labels.ndim] != labels.shape or not (is_rgb or image.ndim == labels.ndim):
        raise LabelError(
            f"an image of shape {image.shape} was given with labels of shape {labels.shape}; "
            "give labels with one value per pixel of the image"
        )
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high > HIGHEST_ID:
        raise LabelError(
            f"the labels hold the id {low if low < 0 else high}; number the objects from 1 to "
            f"{HIGHEST_ID:,} at most, for example with skimage.segmentation.relabel_sequential"
        )
    return image, labels


def _read_example(
    number: int, image: npt.NDArray[Any], labels: npt.NDArray[Any], is_complete: bool
) -> list[LabelledImage]:
    """Take the planes with objects from one image and its labels."""
    return [
        LabelledImage(
            dataset="examples",
            name=f"{number}{list(index) if index else ''}",
            image=to_rgb8(image[index]),
            labels=labels[index].astype(np.int32),
            source=str(number),
            is_complete=is_complete,
            neighbours=_around(labels, index),
        )
        for index in np.ndindex(labels.shape[:-2])
        if labels[index].any()
    ]


def _around(labels: npt.NDArray[Any], index: tuple[int, ...]) -> tuple[Int32Array, ...]:
    """Labels of the planes before and after one, along the last axis before the plane."""
    if not index:
        return ()
    *others, last = index
    near = [n for n in (last - 1, last + 1) if 0 <= n < labels.shape[-3]]
    return tuple(labels[(*others, n)].astype(np.int32) for n in near)


def hold_out(objects: Sequence[ObjectKey], seed: int) -> list[tuple[ObjectKey, ...]]:
    """Choose the objects that show what learning was worth.

    Parameters
    ----------
    objects : sequence of ObjectKey
        At least `FEWEST_OBJECTS`.
    seed : int
        Seed of the choice.

    Returns
    -------
    list of tuple of ObjectKey
        Groups to hold out in turn: two with a fifth of the objects each, at least two; below
        five objects a group of each.
    """
    if len(objects) < FEWEST_TO_HOLD_OUT_A_GROUP:
        return [(key,) for key in objects]
    count = max(FEWEST_HELD_OUT, round(HELD_OUT_SHARE * len(objects)))
    order = np.random.default_rng(seed).permutation(len(objects))
    starts = range(0, HELD_OUT_GROUPS * count, count)
    return [tuple(objects[n] for n in sorted(order[at : at + count])) for at in starts]
