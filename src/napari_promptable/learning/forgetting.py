"""How much of what a model knew it has forgotten by learning something else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from napari_promptable.evaluation.evaluate import MIN_AREA
from napari_promptable.learning.figures import Figures
from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.predict.predictor import PromptableModel

MOST_FORGOTTEN = 0.02
"""IoU that learning may cost, of the mean over objects of earlier training, for each prompt."""


@dataclass(frozen=True, eq=False)
class Memory:
    """What a model knew, asked for again after learning.

    Attributes
    ----------
    parent : PromptableModel
        The model before learning.
    images : sequence of LabelledImage
        From its training, each with the labels of the objects to ask about.
    measure : callable
        Asks a model about all objects of some images.
    """

    parent: PromptableModel
    images: Sequence[LabelledImage]
    measure: Callable[[PromptableModel, Sequence[LabelledImage]], Figures]

    @cached_property
    def _before(self) -> Figures:
        return self.measure(self.parent, self.images)

    def is_kept_by(self, model: PromptableModel) -> bool:
        """Whether a model has forgotten no more than `MOST_FORGOTTEN`."""
        if not self.images:
            return True
        after = self.measure(model, self.images)
        return after.largest_loss(self._before) <= MOST_FORGOTTEN


def hold_back(
    images: Sequence[LabelledImage],
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Keep two objects of each dataset to ask about.

    Parameters
    ----------
    images : sequence of LabelledImage
        From earlier training.

    Returns
    -------
    learned, asked : list of LabelledImage
        Images to learn from; and the last image of each dataset that has several, with two
        objects alone: a third of the others are smaller, or larger.
    """
    learned = list(images)
    asked: list[LabelledImage] = []
    for dataset in dict.fromkeys(image.dataset for image in images):
        group = [image for image in images if image.dataset == dataset]
        if len(group) < 2:
            continue
        chosen = _keep_two_objects(group[-1], source=str(len(asked)))
        if chosen is not None:
            learned.remove(group[-1])
            asked.append(chosen)
    return learned, asked


def _keep_two_objects(image: LabelledImage, source: str) -> LabelledImage | None:
    """Keep the labels of two objects of medium size, or return None if all are too small.

    `measure` tells objects apart by source and label.
    """
    areas = np.bincount(image.labels.ravel())
    areas[0] = 0
    by_size = np.argsort(areas)
    by_size = by_size[areas[by_size] >= MIN_AREA]
    if not len(by_size):
        return None
    chosen = by_size[[len(by_size) // 3, -1 - len(by_size) // 3]]
    labels = np.where(np.isin(image.labels, chosen), image.labels, 0).astype(np.int32)
    return replace(image, labels=labels, source=source)
