"""All objects of a stack or film: slice by slice, then linked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.instances.automatic import (
    AutomaticResult,
    find_objects,
)
from napari_promptable.instances.linking import link_slices
from napari_promptable.instances.place import check_stack_labels
from napari_promptable.instances.settings import AutomaticSettings
from napari_promptable.predict.embeddings import ImageEmbedding, SizedCache
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.progress import Progress
from napari_promptable.prompts import PromptSet
from napari_promptable.propagation.chains import Embed, PropagatedMask
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.propagation.volume import propagate_prompts

_STEPS_PER_SLICE = 1000  # of progress


@dataclass(frozen=True, eq=False)
class StackResult:
    """All objects of a stack.

    Attributes
    ----------
    slices : tuple of AutomaticResult
        Of each slice.
    labels : ndarray of int, shape (Z, Y, X)
        The labels that were there before, and the new objects numbered after them.
    confidence : dict of int to ndarray of float32, shape (Z,)
        By id of each new object; NaN where it is absent.
    """

    slices: tuple[AutomaticResult, ...]
    labels: npt.NDArray[np.integer[Any]]
    confidence: dict[int, npt.NDArray[np.float32]]

    def with_settings(self, settings: AutomaticSettings) -> StackResult:
        """Choose from the same answers by other thresholds. Nothing is decoded again."""
        return link_results([each.with_settings(settings) for each in self.slices])


def find_objects_in_stack(
    model: Segmenter,
    volume: Any,
    settings: AutomaticSettings | None = None,
    *,
    region: npt.ArrayLike | None = None,
    labels: Any = None,
    progress: Progress | None = None,
) -> StackResult:
    """Find all objects of a stack, and keep the answers to choose from.

    Parameters
    ----------
    model, settings, region, labels, progress
        As in `generate_labels`.
    volume : array of any kind, shape (Z, Y, X), (Z, Y, X, 3) or (Z, Y, X, 4)
        Read slice by slice. Z may be time.

    Returns
    -------
    StackResult
        Objects on neighbouring slices are one if their IoU is at least 0.3. One that is missing
        on a single slice is carried through it by propagation.

    Raises
    ------
    ImageFormatError, PromptError, LabelError, UnknownModelError
        As in `generate_labels`.
    """
    length = volume.shape[0]
    check_stack_labels(tuple(volume.shape[:3]), labels)
    results = []
    for position in range(length):
        results.append(
            find_objects(
                model,
                np.asarray(volume[position]),
                settings,
                region=region,
                labels=None if labels is None else np.asarray(labels[position]),
                progress=part_of(progress, position, length),
            )
        )
    return close_gaps(model, volume, link_results(results))


def part_of(progress: Progress | None, position: int, length: int) -> Progress | None:
    """Report the progress of one slice as a part of the stack's."""
    if progress is None:
        return None

    def report(done: int, total: int) -> None:
        share = _STEPS_PER_SLICE * done // total
        progress(_STEPS_PER_SLICE * position + share, _STEPS_PER_SLICE * length)

    return report


def link_results(results: Sequence[AutomaticResult]) -> StackResult:
    """Give the objects of all slices ids that run through the stack."""
    first_id = max(result.place.first_id for result in results)
    ids = link_slices([result.new_labels for result in results], first_id)
    highest = max((number for each in ids for number in each.values()), default=first_id)
    existing = [
        result.place.existing for result in results if result.place.existing is not None
    ]
    dtype = np.result_type(np.min_scalar_type(highest), np.uint16, *existing[:1])
    labels = np.zeros((len(results), *results[0].place.shape), dtype)
    confidence: dict[int, npt.NDArray[np.float32]] = {}
    for position, (result, numbers) in enumerate(zip(results, ids, strict=True)):
        table = np.zeros(len(numbers) + 1, dtype)
        for label, number in numbers.items():
            table[label] = number
            values = confidence.setdefault(number, np.full(len(results), np.nan, np.float32))
            values[position] = result.chosen[label].confidence
        labels[position] = table[result.new_labels]
        if result.place.existing is not None:
            labels[position] += result.place.existing.astype(dtype)
    return StackResult(tuple(results), labels, confidence)


def close_gaps(model: Segmenter, volume: Any, result: StackResult) -> StackResult:
    """Carry objects through single slices on which they were missed.

    Parameters
    ----------
    model : PromptableModel
        Answers prompts.
    volume : array of any kind
        As in `find_objects_in_stack`.
    result : StackResult
        From `link_results`.

    Returns
    -------
    StackResult
        With more labels, on free pixels only.
    """
    labels = result.labels.copy()
    confidence = {number: values.copy() for number, values in result.confidence.items()}
    embeddings: SizedCache[int, ImageEmbedding] = SizedCache()

    def embed(position: int) -> ImageEmbedding:
        return embeddings.get_or_make(
            position, lambda: model.encode(np.asarray(volume[position]))
        )

    for position, missing in _gaps(result.confidence).items():
        for number, value in fill_gap(
            model, embed, len(labels), position, missing, labels
        ).items():
            confidence[number][position] = value
    return replace(result, labels=labels, confidence=confidence)


def fill_gap(
    model: Segmenter,
    embed: Embed,
    length: int,
    position: int,
    missing: Collection[int],
    planes: Any,
) -> dict[int, float]:
    """Carry objects to a slice from both its neighbours, on free pixels only.

    Parameters
    ----------
    model : PromptableModel
        Answers prompts.
    embed : callable
        Given a slice, returns its embedding.
    length : int
        Number of slices.
    position : int
        The slice on which the objects are missing.
    missing : collection of int
        Their ids.
    planes : ndarray, or dict of int to ndarray of int, shape (H, W)
        Labels of this slice, which are changed, and of its neighbours.

    Returns
    -------
    dict of int to float
        Confidence of the objects that were found.
    """
    anchors = {
        number: {z: _box_of(planes[z], number) for z in (position - 1, position + 1)}
        for number in missing
    }
    found: dict[int, float] = {}
    if not anchors:
        return found
    around = PropagationSettings(first=position - 1, last=position + 1)
    masks = propagate_prompts(model, embed, length, anchors, around)
    for value in _last_of_each(masks, position).values():
        if value.packed.region is not None:
            under = planes[position][value.packed.region]
            under[value.packed.crop() & (under == 0)] = value.object_id
            found[value.object_id] = value.confidence
    return found


def _gaps(confidence: Mapping[int, npt.NDArray[np.float32]]) -> dict[int, list[int]]:
    """Ids that are missing on a slice and present on both its neighbours, by slice."""
    gaps: dict[int, list[int]] = {}
    for number, values in confidence.items():
        is_present = ~np.isnan(values)
        for before in np.flatnonzero(is_present[:-2] & ~is_present[1:-1] & is_present[2:]):
            gaps.setdefault(int(before) + 1, []).append(number)
    return gaps


def _box_of(labels: npt.NDArray[np.integer[Any]], number: int) -> PromptSet:
    """Prompt for an object by its bounding box."""
    rows, columns = (np.flatnonzero((labels == number).any(axis=axis)) for axis in (1, 0))
    return PromptSet(box_yxyx=[rows[0], columns[0], rows[-1], columns[-1]])


def _last_of_each(values: Iterator[PropagatedMask], position: int) -> dict[int, PropagatedMask]:
    """Final masks of objects on a slice: a later value replaces an earlier one."""
    return {value.object_id: value for value in values if value.position == position}
