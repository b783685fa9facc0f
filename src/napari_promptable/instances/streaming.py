"""All objects of an image, written slice by slice: a stack may be larger than memory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import PromptError
from napari_promptable.files.label_images import highest_id
from napari_promptable.instances.automatic import (
    AutomaticResult,
    choose_seeding_model,
    find_objects,
)
from napari_promptable.instances.by_views import answer_view, plan_views
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


@dataclass(frozen=True, eq=False)
class Labelling:
    """The task of labelling all objects of an image, which may be larger than memory.

    Attributes
    ----------
    model : PromptableModel
        Answers the prompts.
    image : array of any kind
        As in `generate_labels`; of a stack, three slices are held, and a plane of more than
        `MAX_PIXELS` is read view by view.
    settings : AutomaticSettings
        Where the prompts come from, and thresholds.
    region : array_like, optional
        As in `generate_labels`.
    labels : array of int of any kind, shape ([Z,] H, W), optional
        Existing labels; read slice by slice, or square by square.
    search : WorkerSearch, optional
        Finds the objects of the same image on workers.
    progress : callable, optional
        As in `generate_labels`.
    """

    model: PromptableModel
    image: Any
    settings: AutomaticSettings
    region: npt.ArrayLike | None = None
    labels: Any = None
    search: WorkerSearch | None = None
    progress: Progress | None = None

    @property
    def seeding(self) -> PromptableModel | None:
        """The model whose maps give the seeds, or None for a grid of clicks."""
        return choose_seeding_model(self.model, self.settings.seeds)

    def labels_on(self, position: int) -> Plane | None:
        """Existing labels of a slice."""
        return None if self.labels is None else np.asarray(self.labels[position])

    def find_on(self, position: int) -> AutomaticResult:
        """Find the objects of a slice."""
        return find_objects(
            self.model,
            np.asarray(self.image[position]),
            self.settings,
            region=self.region,
            labels=self.labels_on(position),
            progress=part_of(self.progress, position, self.image.shape[0]),
        )

    def take_found(self, position: int, objects: tuple[FoundObject, ...]) -> AutomaticResult:
        """Take the objects of a slice that a worker found."""
        place = check_place(self.image.shape[1:3], self.region, self.labels_on(position))
        return AutomaticResult(objects, self.settings, place)


def write_objects(task: Labelling, target: Any) -> int:
    """Label all objects of an image as `generate_labels` does, with little of it in memory.

    Parameters
    ----------
    task : Labelling
        What to label.
    target : array of int that can be written by slice, shape ([Z,] H, W)
        Receives the existing labels and the new objects.

    Returns
    -------
    int
        Number of new objects.

    Raises
    ------
    ImageFormatError, PromptError, LabelError, UnknownModelError
        As in `generate_labels`; PromptError also if the slices of a stack are larger than
        `MAX_PIXELS`, or such a plane is to be searched by a grid of clicks.
    ClusterError
        As `Workers.map`.
    """
    shape = tuple(task.image.shape)
    if is_stack(shape):
        check_stack_labels(shape[:3], task.labels)
        return _write_stack(task, target)
    if is_large(shape) or (task.search is not None and task.seeding is task.model):
        return _write_plane(task, target)
    result = find_objects(
        task.model,
        np.asarray(task.image),
        task.settings,
        region=task.region,
        labels=None if task.labels is None else np.asarray(task.labels),
        progress=task.progress,
    )
    target[...] = result.labels
    return len(result.chosen)


def _write_plane(task: Labelling, target: Any) -> int:
    """Label a plane of any size. See `write_objects`."""
    height, width = task.image.shape[:2]
    place = check_large_place((height, width), task.region, task.labels)
    seeding = task.seeding
    if seeding is None:
        raise PromptError(
            f"a plane of {height:,} × {width:,} pixels is too large for a grid of clicks; find "
            f"the objects by the maps of tiny (seeds 'tiny'), which {task.model.name} then "
            f"answers, or crop a part of {MAX_PIXELS:,} pixels at most"
        )
    rgb = LazyRgb(task.image)
    points = plan_views(seeding, rgb, place)
    views: Iterator[list[FoundObject]] = (
        list(answer_view(task.model, seeding, rgb, place, point, ignore_progress))
        for point in points
    )
    if task.search is not None:
        views = task.search.find_in_views(points, rgb.limits, place)
    found = [one for view in report_each(views, task.progress, len(points)) for one in view]
    canvas = SparseCanvas(place)
    chosen = choose_on(canvas, found, task.settings)
    canvas.write_to(target)
    return len(chosen)


def _write_stack(task: Labelling, target: Any) -> int:
    """Label a stack slice by slice. See `write_objects`."""
    length = task.image.shape[0]
    _check_slices(task.image.shape[1:3])
    embeddings: SizedCache[int, ImageEmbedding] = SizedCache()
    with ExitStack() as exits:
        encoder: Segmenter = task.model
        results: Iterator[AutomaticResult] = map(task.find_on, range(length))
        if task.search is not None:
            encoder = exits.enter_context(closing(task.search.segmenter(task.model)))
            objects = report_each(task.search.find_in_slices(length), task.progress, length)
            results = itertools.starmap(task.take_found, enumerate(objects))

        def embed(position: int) -> ImageEmbedding:
            return embeddings.get_or_make(
                position, lambda: encoder.encode(np.asarray(task.image[position]))
            )

        first_id = 1 if task.labels is None else highest_id(task.labels) + 1
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
