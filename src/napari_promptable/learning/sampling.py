"""Balanced sampling of augmented crops."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from napari_promptable.learning.augmentation import augment
from napari_promptable.learning.crops import Crop, cut_crop
from napari_promptable.learning.labelled_image import LabelledImage

BALANCE = 0.25  # a dataset of n images or stacks is drawn in proportion to n ** BALANCE
MIN_OBJECT_AREA = 20  # in pixels of the crop; smaller objects are context, not targets


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
    shares : dict of str to float, optional
        Relative to each other, how often datasets are drawn; by default see `BALANCE`.

    Attributes
    ----------
    groups : list of list of list of LabelledImage
        Planes of the sources of each dataset; each drawn image is a source of its own.
    probabilities : ndarray of float64
        Chance of each group.
    """

    def __init__(
        self,
        images: dict[str, list[LabelledImage]],
        synthetic: list[LabelledImage] | None = None,
        synthetic_share: float = 0.0,
        shares: Mapping[str, float] | None = None,
    ) -> None:
        self.images, self.synthetic = images, synthetic
        self.groups = [by_source(group) for group in images.values()]
        if shares is None:
            weights = np.array([len(group) for group in self.groups]) ** BALANCE
        else:
            weights = np.array([shares[name] for name in images])
        self.probabilities = weights / weights.sum()
        if synthetic:
            self.groups.append([[image] for image in synthetic])
            self.probabilities = np.append(
                (1 - synthetic_share) * self.probabilities, synthetic_share
            )

    def sample(self, size: int, rng: np.random.Generator) -> Crop:
        """Draw one crop of `size` pixels that holds at least one object."""
        while True:
            group = self.groups[rng.choice(len(self.groups), p=self.probabilities)]
            planes = group[rng.integers(len(group))]
            plane = planes[rng.integers(len(planes))]
            crop = hide(cut_crop(plane, size, rng), plane.held_out)
            if np.bincount(crop.labels.ravel())[1:].max(initial=0) >= MIN_OBJECT_AREA:
                return augment(crop, rng)


def hide(crop: Crop, held_out: Collection[int]) -> Crop:
    """Take labels out of a crop and mark their pixels as unknown."""
    if not held_out:
        return crop
    labels = list(held_out)
    hidden = np.isin(crop.labels, labels)
    neighbour = crop.neighbour
    if neighbour is not None:
        neighbour = np.where(np.isin(neighbour, labels), 0, neighbour)
    shown = np.where(hidden, 0, crop.labels)
    return replace(crop, labels=shown, neighbour=neighbour, hidden=hidden)


def by_source(images: list[LabelledImage]) -> list[list[LabelledImage]]:
    """Group the planes of each stack. An image of its own is a group of one."""
    groups: dict[str, list[LabelledImage]] = {}
    for image in images:
        groups.setdefault(image.source or image.name, []).append(image)
    return list(groups.values())
