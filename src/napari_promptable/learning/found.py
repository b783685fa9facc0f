"""Whether held-out objects are found without a prompt, as far as sparse labels can tell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np

from napari_promptable.instances.automatic import find_objects, has_maps
from napari_promptable.learning.examples import Examples, ObjectKey
from napari_promptable.learning.labelled_image import Int32Array, LabelledImage
from napari_promptable.masks import mask_to_box_yxyx
from napari_promptable.predict.predictor import PromptableModel

LEAST_IOU = 0.5  # of a found object with the labelled one
_AROUND = 1.0  # of an object's height and width, that are looked at on each side
_MOSTLY = 0.5  # of a found object, that lies on labels


@dataclass(frozen=True)
class Found:
    """How many held-out objects are found in the regions around them.

    Attributes
    ----------
    objects, hits : int
        All held-out objects, and the ones that a found object shows with an IoU of 0.5.
    false : int or None
        Found objects there that have no label; None where labels are incomplete and such
        objects may be right.
    """

    objects: int
    hits: int
    false: int | None

    @property
    def score(self) -> float:
        """SA50: hits / (objects + false), or hits / objects if the false ones are unknown."""
        return self.hits / (self.objects + (self.false or 0))

    @staticmethod
    def join(several: Iterable[Found | None]) -> Found:
        """Count the objects of several searches together, without those that were not made."""
        made = [each for each in several if each is not None]
        false = [each.false for each in made if each.false is not None]
        return Found(
            sum(each.objects for each in made),
            sum(each.hits for each in made),
            sum(false) if false else None,
        )

    @property
    def title(self) -> str:
        """What the score is."""
        return "found (IoU 0.5)" if self.false is None else "automatic SA50"


def measure_found(
    model: PromptableModel,
    examples: Examples,
    held_out: Collection[ObjectKey],
    check: Callable[[], None] = lambda: None,
) -> Found | None:
    """Find objects around the held-out ones without any prompt.

    Parameters
    ----------
    model : PromptableModel
        Any.
    examples : Examples
        All labels.
    held_out : collection of ObjectKey
        Objects to find.
    check : callable, optional
        Called before each object; may raise CancelledError.

    Returns
    -------
    Found or None
        None if the model has no maps of all objects: a grid of clicks would take too long.
    """
    if not has_maps(model):
        return None
    hits = false = num_objects = 0
    for plane in examples.only(held_out):
        labels = examples.labels_of(plane)
        for label in np.unique(plane.labels[plane.labels > 0]):
            check()
            is_hit, num_false = _look_around(model, plane, labels, int(label))
            num_objects += 1
            hits += is_hit
            false += num_false
    is_complete = all(plane.is_complete for plane in examples.planes)
    return Found(num_objects, hits, false if is_complete else None)


def _look_around(
    model: PromptableModel, plane: LabelledImage, labels: Int32Array, label: int
) -> tuple[bool, int]:
    """Whether an object is found, and how many found objects around it have no label."""
    truth = labels == label
    box = mask_to_box_yxyx(truth)
    margin = _AROUND * (box[2:] - box[:2] + 1)
    limit = np.array(labels.shape) - 1
    region = np.concatenate(
        [np.maximum(box[:2] - margin, 0), np.minimum(box[2:] + margin, limit)]
    )
    found = find_objects(model, plane.image, region=region).new_labels
    areas = np.bincount(found.ravel())
    on_truth = np.bincount(found[truth], minlength=len(areas))
    on_labels = np.bincount(found[labels > 0], minlength=len(areas))
    iou = on_truth / (areas + np.count_nonzero(truth) - on_truth)
    is_false = on_labels < _MOSTLY * areas
    return bool((iou[1:] >= LEAST_IOU).any()), int(np.count_nonzero(is_false[1:]))
