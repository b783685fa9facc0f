"""All objects of an image at once: the public functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import UnknownModelError
from napari_promptable.instances.by_prompts import answer_grid, answer_seeds_by
from napari_promptable.instances.by_views import answer_views, plan_views, seeds_in
from napari_promptable.instances.found import FoundObject, IntArray, choose_objects
from napari_promptable.instances.place import Place, check_place
from napari_promptable.instances.settings import AutomaticSettings, Seeds
from napari_promptable.predict.load_model import load_model
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.progress import Progress, ignore_progress
from napari_promptable.transforms import to_rgb8

_TINY = "tiny"


@dataclass(frozen=True, eq=False)
class AutomaticResult:
    """All answers of the decoder on one plane, and the objects chosen from them.

    Attributes
    ----------
    objects : tuple of FoundObject
        All answers, before any threshold; several may show the same object.
    settings : AutomaticSettings
        Thresholds of the choice.
    place : Place
        Where objects may lie, and the labels that were there before.
    rejected : frozenset of FoundObject
        Objects that the user does not want. They still stand in the way of less sure answers
        that show the same.
    corner : (int, int)
        First row and column of what was searched, if it was cut out of a larger plane; all else
        is in pixels of this part.
    """

    objects: tuple[FoundObject, ...]
    settings: AutomaticSettings
    place: Place
    rejected: frozenset[FoundObject] = frozenset()
    corner: tuple[int, int] = (0, 0)

    @cached_property
    def _choice(self) -> tuple[IntArray, dict[int, FoundObject]]:
        """Labels of the new objects from 1, and the objects by label."""
        labels, chosen = choose_objects(self.objects, self.settings, self.place.taken)
        kept = [number for number, each in enumerate(chosen, 1) if each not in self.rejected]
        renumbered = np.zeros(len(chosen) + 1, np.int32)
        renumbered[kept] = np.arange(1, len(kept) + 1)
        return renumbered[labels], {
            label: chosen[number - 1] for label, number in enumerate(kept, start=1)
        }

    @property
    def new_labels(self) -> IntArray:
        """The new objects alone, ndarray of int32, shape (H, W): 1 is the surest."""
        return self._choice[0]

    @property
    def chosen(self) -> dict[int, FoundObject]:
        """The new objects by their label in `new_labels`."""
        return self._choice[1]

    @cached_property
    def labels(self) -> npt.NDArray[np.integer[Any]]:
        """The labels that were there before, and the new objects numbered after them."""
        return self.place.add(self.new_labels)

    @property
    def confidence(self) -> dict[int, float]:
        """Confidence of the new objects by their label in `labels`, the surest first."""
        first = self.place.first_id
        return {first + n: found.confidence for n, found in enumerate(self.chosen.values())}

    def with_settings(self, settings: AutomaticSettings) -> AutomaticResult:
        """Choose from the same answers by other thresholds. Nothing is decoded again."""
        return replace(self, settings=settings)

    def without(self, label: int) -> AutomaticResult:
        """Reject the object that has this label in `new_labels`."""
        return replace(self, rejected=self.rejected | {self.chosen[label]})

    def toggled(self, point_yx: npt.NDArray[np.floating]) -> AutomaticResult:
        """Reject the object at a position (row, col) of the plane, or take it back."""
        row, column = self._pixel(point_yx)
        if not (0 <= row < self.place.shape[0] and 0 <= column < self.place.shape[1]):
            return self
        label = int(self.new_labels[row, column])
        if label:
            return self.without(label)
        there = {found for found in self.rejected if found.covers(row, column)}
        return replace(self, rejected=self.rejected - there)

    def rejects(self, point_yx: npt.NDArray[np.floating]) -> bool:
        """Whether a rejected object lies at a position (row, col) of the plane."""
        row, column = self._pixel(point_yx)
        return any(found.covers(row, column) for found in self.rejected)

    def _pixel(self, point_yx: npt.NDArray[np.floating]) -> tuple[int, int]:
        """Row and column, in the searched part, of a position of the plane."""
        row, column = np.rint(point_yx).astype(int) - self.corner
        return int(row), int(column)


def find_objects(
    model: Segmenter,
    image: npt.ArrayLike,
    settings: AutomaticSettings | None = None,
    *,
    region: npt.ArrayLike | None = None,
    labels: npt.ArrayLike | None = None,
    progress: Progress | None = None,
) -> AutomaticResult:
    """Find all objects of a plane, and keep the answers to choose from.

    Parameters
    ----------
    model : PromptableModel
        From `load_model`; it answers the prompts. A `RemoteSegmenter` answers a grid of clicks.
    image : array_like, shape (H, W), (H, W, 3) or (H, W, 4), any real dtype
        As in `encode_image`.
    settings, region, labels, progress
        As in `generate_labels`.

    Returns
    -------
    AutomaticResult
        Labels, confidence of each object, and all answers.

    Raises
    ------
    ImageFormatError, PromptError, LabelError, UnknownModelError
        As in `generate_labels`.
    """
    settings = default_settings(model) if settings is None else settings
    rgb = to_rgb8(image)
    place = check_place((rgb.shape[0], rgb.shape[1]), region, labels)
    report = ignore_progress if progress is None else progress
    found = tuple(find_each(model, rgb, settings, place, report))
    return AutomaticResult(found, settings, place)


def find_each(
    model: Segmenter,
    rgb: npt.NDArray[np.uint8],
    settings: AutomaticSettings,
    place: Place,
    progress: Progress,
) -> Iterator[FoundObject]:
    """Find objects some at a time, so that other work can be done in between.

    Parameters
    ----------
    model, settings, progress
        As in `find_objects`.
    rgb : ndarray of uint8, shape (H, W, 3)
        The plane.
    place : Place
        Where objects may lie.

    Yields
    ------
    FoundObject
        All answers, for an `AutomaticResult`.
    """
    seeding = choose_seeding_model(model, settings.seeds)
    if seeding is None:
        embedding = model.encode(rgb, (0, 255))
        yield from answer_grid(model, embedding, settings, ~place.taken, progress)
    elif seeding is model:
        yield from answer_views(seeding, rgb, place, progress)
    else:
        points = plan_views(seeding, rgb, place)
        seeds = [seed for point in points for seed in seeds_in(seeding, rgb, place, point)]
        yield from answer_seeds_by(model, model.encode(rgb, (0, 255)), seeds, progress)


def default_settings(
    model: Segmenter, seeds: Seeds = Seeds.AUTO, **changes: Any
) -> AutomaticSettings:
    """Return the thresholds that suit a model and its seeds.

    Parameters
    ----------
    model : PromptableModel
        The one that answers.
    seeds : Seeds, default "auto"
        Where the prompts come from.
    **changes
        Other values of `AutomaticSettings`.

    Returns
    -------
    AutomaticSettings
        SAM's own for a grid of clicks.
    """
    is_grid = seeds is Seeds.GRID or (seeds is Seeds.AUTO and not has_maps(model))
    make = AutomaticSettings.for_grid if is_grid else AutomaticSettings
    return make(**{"seeds": seeds, **changes})


def choose_seeding_model(model: Segmenter, seeds: Seeds) -> PromptableModel | None:
    """Choose the model whose instance maps give the seeds.

    Parameters
    ----------
    model : PromptableModel
        The one that answers.
    seeds : Seeds
        The user's choice.

    Returns
    -------
    PromptableModel or None
        None for a grid of clicks.

    Raises
    ------
    UnknownModelError
        If that model has no instance maps.
    """
    if seeds is Seeds.GRID or (seeds is Seeds.AUTO and not has_maps(model)):
        return None
    if has_maps(model):
        return model
    seeding = _load_tiny() if seeds is Seeds.TINY else model
    if not has_maps(seeding):
        raise UnknownModelError(
            f"model {_TINY if seeding is not model else 'in use'} has no instance maps to find "
            "objects by; choose the seeds 'grid', or a model that has them"
        )
    return seeding


@cache
def _load_tiny() -> PromptableModel:
    """Load the bundled model once: views of large planes ask for it one by one."""
    return load_model(_TINY)


def has_maps(model: Segmenter) -> TypeGuard[PromptableModel]:
    """Whether a model can map all objects of an image at once."""
    if not isinstance(model, PromptableModel):
        return False
    return model.sam.instance_head is not None and model.sam.size_head is not None
