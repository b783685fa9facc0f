"""All objects of an image, written slice by slice: a stack may be larger than memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.instances.automatic import AutomaticResult, find_objects
from napari_promptable.instances.linking import iter_links
from napari_promptable.instances.place import check_stack_labels, is_stack
from napari_promptable.instances.settings import AutomaticSettings
from napari_promptable.instances.stack import fill_gap, part_of
from napari_promptable.predict.embeddings import ImageEmbedding, SizedCache
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.progress import Progress

Plane = npt.NDArray[np.integer[Any]]


def write_objects(
    model: Segmenter,
    image: Any,
    target: Any,
    settings: AutomaticSettings | None = None,
    *,
    region: npt.ArrayLike | None = None,
    labels: Any = None,
    progress: Progress | None = None,
) -> int:
    """Label all objects of an image as `generate_labels` does, with three slices in memory.

    Parameters
    ----------
    model, image, settings, region, progress
        As in `generate_labels`; a stack is read slice by slice.
    target : array of int that can be written by slice, shape ([Z,] H, W)
        Receives the existing labels and the new objects.
    labels : array of int of any kind, shape ([Z,] H, W), optional
        Existing labels; read slice by slice.

    Returns
    -------
    int
        Number of new objects.

    Raises
    ------
    ImageFormatError, PromptError, LabelError, UnknownModelError
        As in `generate_labels`.
    """
    if is_stack(tuple(image.shape)):
        check_stack_labels(tuple(image.shape[:3]), labels)
        return _write_stack(model, image, target, settings, region, labels, progress)
    result = find_objects(
        model,
        np.asarray(image),
        settings,
        region=region,
        labels=None if labels is None else np.asarray(labels),
        progress=progress,
    )
    target[...] = result.labels
    return len(result.chosen)


def _write_stack(
    model: Segmenter,
    volume: Any,
    target: Any,
    settings: AutomaticSettings | None,
    region: npt.ArrayLike | None,
    labels: Any,
    progress: Progress | None,
) -> int:
    """Label a stack slice by slice; see `write_objects`."""
    length = volume.shape[0]
    embeddings: SizedCache[int, ImageEmbedding] = SizedCache()

    def find(position: int) -> AutomaticResult:
        return find_objects(
            model,
            np.asarray(volume[position]),
            settings,
            region=region,
            labels=None if labels is None else np.asarray(labels[position]),
            progress=part_of(progress, position, length),
        )

    def embed(position: int) -> ImageEmbedding:
        return embeddings.get_or_make(
            position, lambda: model.encode(np.asarray(volume[position]))
        )

    found: set[int] = set()
    recent: deque[tuple[Plane, set[int]]] = deque(maxlen=3)
    first_id = _highest_id(labels, length) + 1
    for position, (plane, ids) in enumerate(_linked(map(find, range(length)), first_id)):
        found |= ids
        target[position] = plane
        recent.append((plane, ids))
        if len(recent) == recent.maxlen:
            before, between, after = (each for _, each in recent)
            planes = dict(enumerate((each for each, _ in recent), start=position - 2))
            missing = sorted((before & after) - between)
            if fill_gap(model, embed, length, position - 1, missing, planes):
                target[position - 1] = planes[position - 1]
    return len(found)


def _highest_id(labels: Any, length: int) -> int:
    """Highest id of existing labels, read slice by slice; 0 without any."""
    if labels is None:
        return 0
    return max(int(np.asarray(labels[position]).max(initial=0)) for position in range(length))


def _linked(
    results: Iterator[AutomaticResult], first_id: int
) -> Iterator[tuple[Plane, set[int]]]:
    """Number the objects of each slice through the stack; yields labels and the new ids."""
    waiting: deque[tuple[npt.NDArray[np.int32], Plane | None]] = deque()

    def new_labels() -> Iterator[npt.NDArray[np.int32]]:
        for result in results:
            waiting.append((result.new_labels, result.place.existing))
            yield result.new_labels

    for numbers in iter_links(new_labels(), first_id):
        labels, existing = waiting.popleft()
        table = np.zeros(len(numbers) + 1, np.int64)
        table[list(numbers)] = list(numbers.values())
        plane = table[labels]
        yield plane if existing is None else plane + existing, set(numbers.values())
