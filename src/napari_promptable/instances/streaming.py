"""All objects of an image, written slice by slice: a stack may be larger than memory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import PromptError
from napari_promptable.files.label_images import highest_id
from napari_promptable.instances.automatic import (
    AutomaticResult,
    answer_view,
    choose_seeding_model,
    default_settings,
    find_objects,
    plan_views,
)
from napari_promptable.instances.found import FoundObject, choose_on
from napari_promptable.instances.large_plane import (
    LazyRgb,
    SparseCanvas,
    check_large_place,
    is_large,
)
from napari_promptable.instances.linking import iter_links
from napari_promptable.instances.place import (
    MAX_PIXELS,
    check_place,
    check_stack_labels,
    is_stack,
)
from napari_promptable.instances.settings import AutomaticSettings
from napari_promptable.instances.stack import fill_gap, part_of
from napari_promptable.predict.embeddings import ImageEmbedding, SizedCache
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.progress import Progress, ignore_progress, report_each
from napari_promptable.propagation.chains import Embed

if TYPE_CHECKING:  # imports dask
    from napari_promptable.instances.cluster import WorkerSearch

Plane = npt.NDArray[np.integer[Any]]


def write_objects(
    model: PromptableModel,
    image: Any,
    target: Any,
    settings: AutomaticSettings | None = None,
    *,
    region: npt.ArrayLike | None = None,
    labels: Any = None,
    search: WorkerSearch | None = None,
    progress: Progress | None = None,
) -> int:
    """Label all objects of an image as `generate_labels` does, with little of it in memory.

    Parameters
    ----------
    model, image, settings, region, progress
        As in `generate_labels`; of a stack, three slices are held, and a plane of more than
        `MAX_PIXELS` is read view by view.
    target : array of int that can be written by slice, shape ([Z,] H, W)
        Receives the existing labels and the new objects.
    labels : array of int of any kind, shape ([Z,] H, W), optional
        Existing labels; read slice by slice, or square by square.
    search : WorkerSearch, optional
        Finds the objects of the same image on workers.

    Returns
    -------
    int
        Number of new objects.

    Raises
    ------
    ImageFormatError, PromptError, LabelError, UnknownModelError
        As in `generate_labels`; PromptError also if the slices of a stack are larger than
        `MAX_PIXELS`, or such a plane is to be searched by a grid of clicks or by the maps of
        another model.
    ClusterError
        As `Workers.map`.
    """
    settings = default_settings(model) if settings is None else settings
    shape = tuple(image.shape)
    if is_stack(shape):
        check_stack_labels(shape[:3], labels)
        return _write_stack(model, image, target, settings, region, labels, search, progress)
    has_own_maps = choose_seeding_model(model, settings.seeds) is model
    if is_large(shape) or (search is not None and has_own_maps):
        return _write_plane(model, image, target, settings, region, labels, search, progress)
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


def _write_plane(
    model: PromptableModel,
    image: Any,
    target: Any,
    settings: AutomaticSettings,
    region: npt.ArrayLike | None,
    labels: Any,
    search: WorkerSearch | None,
    progress: Progress | None,
) -> int:
    """Label a plane of any size. See `write_objects`."""
    height, width = image.shape[:2]
    place = check_large_place((height, width), region, labels)
    if choose_seeding_model(model, settings.seeds) is not model:
        raise PromptError(
            f"a plane of {height:,} × {width:,} pixels is searched in parts, which needs a "
            "model with instance maps of its own, such as tiny; choose it with seeds 'auto', "
            f"or crop a part of {MAX_PIXELS:,} pixels at most"
        )
    rgb = LazyRgb(image)
    points = plan_views(model, rgb, place)
    views: Iterator[list[FoundObject]] = (
        list(answer_view(model, rgb, place, point, ignore_progress)) for point in points
    )
    if search is not None:
        views = search.find_in_views(points, rgb.limits, place)
    found = [one for view in report_each(views, progress, len(points)) for one in view]
    canvas = SparseCanvas(place)
    chosen = choose_on(canvas, found, settings)
    canvas.write_to(target)
    return len(chosen)


def _write_stack(
    model: PromptableModel,
    volume: Any,
    target: Any,
    settings: AutomaticSettings,
    region: npt.ArrayLike | None,
    labels: Any,
    search: WorkerSearch | None,
    progress: Progress | None,
) -> int:
    """Label a stack slice by slice. See `write_objects`."""
    length = volume.shape[0]
    _check_slices(volume.shape[1:3])
    embeddings: SizedCache[int, ImageEmbedding] = SizedCache()

    def existing(position: int) -> Plane | None:
        return None if labels is None else np.asarray(labels[position])

    def find(position: int) -> AutomaticResult:
        return find_objects(
            model,
            np.asarray(volume[position]),
            settings,
            region=region,
            labels=existing(position),
            progress=part_of(progress, position, length),
        )

    def take(position: int, objects: tuple[FoundObject, ...]) -> AutomaticResult:
        place = check_place(volume.shape[1:3], region, existing(position))
        return AutomaticResult(objects, settings, place)

    with ExitStack() as exits:
        encoder: Segmenter = model
        results: Iterator[AutomaticResult] = map(find, range(length))
        if search is not None:
            encoder = exits.enter_context(closing(search.segmenter(model)))
            objects = report_each(search.find_in_slices(length), progress, length)
            results = itertools.starmap(take, enumerate(objects))

        def embed(position: int) -> ImageEmbedding:
            return embeddings.get_or_make(
                position, lambda: encoder.encode(np.asarray(volume[position]))
            )

        first_id = 1 if labels is None else highest_id(labels) + 1
        return _write_linked(_linked(results, first_id), target, encoder, embed, length)


def _write_linked(
    slices: Iterator[tuple[Plane, set[int]]],
    target: Any,
    model: Segmenter,
    embed: Embed,
    length: int,
) -> int:
    """Write slices, and fill gaps of one slice. Returns the number of objects."""
    found: set[int] = set()
    recent: deque[tuple[Plane, set[int]]] = deque(maxlen=3)
    for position, (plane, ids) in enumerate(slices):
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


def _check_slices(shape: Sequence[int]) -> None:
    """Raise PromptError for a stack of slices that cannot be read as a whole."""
    if is_large(shape):
        raise PromptError(
            f"the stack has slices of {shape[0]:,} × {shape[1]:,} pixels; slices of up to "
            f"{MAX_PIXELS:,} pixels can be searched: give one slice at a time, or crop them"
        )


def _linked(
    results: Iterator[AutomaticResult], first_id: int
) -> Iterator[tuple[Plane, set[int]]]:
    """Number the objects of each slice through the stack. Yields labels and the new ids."""
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
