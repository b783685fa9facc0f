"""Prompts of a document → labels, as the dock widget would make them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.annotation.patches import LabelsArray
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.batch.answering import answer_open_questions
from napari_promptable.errors import PromptError
from napari_promptable.files.prompts_json import PromptDocument
from napari_promptable.planes import Index, PlaneAxes, SliceLine
from napari_promptable.predict.embeddings import EmbeddingCache, ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.progress import IsCancelled, Progress, report_each
from napari_promptable.prompts import PlanePrompts
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.propagation.volume import propagate_through

_MAX_BYTES_IN_MEMORY = 2**29  # of labels
_CHUNK = 1024  # rows and columns

Report = Callable[[int, Index, Prediction, int], None]
"""Called with object id, plane, candidates and the chosen one before they are committed."""


def segment_document(
    model: PromptableModel,
    image: Any,
    document: PromptDocument,
    *,
    cache: EmbeddingCache | None = None,
    labels: LabelsArray | None = None,
    report: Report | None = None,
    progress: Progress | None = None,
) -> LabelsArray:
    """Segment all objects of a prompts.json, in its order.

    Parameters
    ----------
    model : PromptableModel
        Answers the prompts.
    image : array of any kind
        With the document's shape, optionally followed by an RGB axis; only planes with prompts
        are read.
    document : PromptDocument
        The prompts.
    cache : EmbeddingCache, optional
        Cache to take embeddings from and keep them in.
    labels : LabelsArray, optional
        Array to write to, of the image's shape, all background; see `room_for_labels`. A new
        array in memory by default.
    report : callable, optional
        See `Report`.
    progress : callable, optional
        Called with the number of finished and of all objects.

    Returns
    -------
    LabelsArray, shape of the image without RGB axis
        `labels`, or an ndarray of uint32. 0 is background; where objects overlap, the earlier
        one keeps the pixels.

    Raises
    ------
    PromptError
        If the image has another shape, or the model cannot answer prompts.
    CacheError
        If the cache's store is damaged or cannot be written.
    """
    planes = PlaneAxes(document.image_shape, document.plane_axes)
    planes.check_image(tuple(image.shape))
    labels = np.zeros(planes.shape, np.uint32) if labels is None else labels
    session = SegmentationSession(planes, labels)
    cache = EmbeddingCache() if cache is None else cache

    def read_plane(index: Index) -> npt.NDArray[np.generic]:
        return np.asarray(image[planes.region(index)])

    for object_id in report_each(list(document.objects), progress):
        session.prompts.select(object_id)
        session.prompts.replace(_checked_prompts(object_id, document))
        answer_open_questions(session, model, model.model_id, read_plane, cache)
        if report is not None:
            for index in document.objects[object_id]:
                prediction = session.answers.prediction(index)
                candidate = session.answers.candidate(index)
                if prediction is not None and candidate is not None:
                    report(object_id, index, prediction, candidate)
        session.commit()
    return labels


@contextmanager
def room_for_labels(shape: tuple[int, ...]) -> Iterator[LabelsArray]:
    """Provide an empty labels array: in memory, or in a temporary zarr folder if it is large.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image, without RGB axis.

    Yields
    ------
    LabelsArray of uint32
        All background; a temporary folder is removed at the end.
    """
    if 4 * math.prod(shape) <= _MAX_BYTES_IN_MEMORY:
        yield np.zeros(shape, np.uint32)
        return
    import zarr

    chunks = (1,) * (len(shape) - 2) + tuple(min(length, _CHUNK) for length in shape[-2:])
    with TemporaryDirectory(prefix="napari-promptable-") as folder:
        yield zarr.create_array(folder, shape=shape, chunks=chunks, dtype="uint32")


def propagate_document(
    model: PromptableModel,
    image: Any,
    document: PromptDocument,
    settings: PropagationSettings,
    *,
    axis: int | None = None,
    cache: EmbeddingCache | None = None,
    labels: LabelsArray | None = None,
    progress: Progress | None = None,
) -> LabelsArray:
    """Propagate all objects of a prompts.json; gives the same labels as `propagate`.

    Parameters
    ----------
    model : PromptableModel
        Answers the prompts.
    image : array of any kind
        With the document's shape, optionally followed by an RGB axis; read plane by plane.
    document : PromptDocument
        The prompts.
    settings : PropagationSettings
        Range, prompts and stop rules.
    axis : int, optional
        The axis to propagate along; optional if the image has only one axis outside its
        planes.
    cache : EmbeddingCache, optional
        Cache to take embeddings from and keep them in.
    labels : LabelsArray, optional
        Array to write to, as in `segment_document`.
    progress : callable, optional
        As in `propagate`; called for each volume in turn if the image has more than three
        axes.

    Returns
    -------
    LabelsArray, shape of the image without RGB axis
        `labels`, or an ndarray of uint32. 0 is background.

    Raises
    ------
    PromptError
        If the image has another shape, there is no such axis, or as `propagate`.
    CacheError
        If the cache's store is damaged or cannot be written.
    """
    planes = PlaneAxes(document.image_shape, document.plane_axes)
    planes.check_image(tuple(image.shape))
    number = _number_of_axis(planes, axis)
    labels = np.zeros(planes.shape, np.uint32) if labels is None else labels
    segmenter = model if cache is None else CachedSegmenter(model, cache)
    volumes: dict[SliceLine, dict[int, dict[int, PlanePrompts]]] = {}
    for object_id in document.objects:
        for index, prompts in _checked_prompts(object_id, document).items():
            if not prompts.is_empty:
                volume = volumes.setdefault(SliceLine.through(planes, number, index), {})
                volume.setdefault(object_id, {})[index[number]] = prompts
    for line, objects in _with_present_objects(volumes):
        volume_of_line = _Volume(image, planes, line)
        masks = propagate_through(segmenter, volume_of_line, objects, settings, progress)
        for position in masks.positions:
            plane = np.zeros(planes.plane_shape, labels.dtype)
            masks.draw_labels(position, plane)
            labels[planes.region(line.at(position))] = plane
    return labels


def _with_present_objects(
    volumes: Mapping[SliceLine, Mapping[int, dict[int, PlanePrompts]]],
) -> Iterator[tuple[SliceLine, dict[int, dict[int, PlanePrompts]]]]:
    """Leave out objects that prompts on a line only exclude, and lines without any other."""
    for line, objects in volumes.items():
        present = {
            object_id: at
            for object_id, at in objects.items()
            if not all(prompts.says_absent for prompts in at.values())
        }
        if present:
            yield line, present


def _number_of_axis(planes: PlaneAxes, axis: int | None) -> int:
    """Find the place of an axis in the index of planes; PromptError if it is ambiguous."""
    others = planes.other_axes
    if not others:
        raise PromptError(
            f"an image of shape {planes.shape} has no axis besides its plane; leave the "
            "propagation out"
        )
    if axis is None and len(others) == 1:
        axis = others[0]
    if axis not in others:
        raise PromptError(
            f"axis {axis} was given to propagate along; besides the planes there are axes "
            f"{', '.join(map(str, others))} of shape {planes.shape}: name one of them"
        )
    return others.index(axis)


class CachedSegmenter:
    """A model that takes embeddings from a cache, where they are there.

    Parameters
    ----------
    model : PromptableModel
        What encodes and answers.
    cache : EmbeddingCache
        Cache to take embeddings from and keep them in.
    """

    def __init__(self, model: PromptableModel, cache: EmbeddingCache) -> None:
        self._model, self._cache = model, cache
        self.predict_many = model.predict_many
        self.carries_masks = model.carries_masks

    def encode(
        self,
        image: npt.NDArray[np.generic],
        contrast_limits: tuple[float, float] | None = None,
        *,
        is_cancelled: IsCancelled | None = None,
    ) -> ImageEmbedding:
        """Encode a plane, or take its embedding from the cache."""
        model = self._model
        return self._cache.embed(
            model, model.model_id, image, contrast_limits, is_cancelled=is_cancelled
        )


class _Volume:
    """The planes of an n-D image along one axis, each read when it is needed.

    Parameters
    ----------
    image : array of any kind
        The n-D image.
    planes : PlaneAxes
        How the image is cut into planes.
    line : SliceLine
        The planes of the volume.
    """

    def __init__(self, image: Any, planes: PlaneAxes, line: SliceLine) -> None:
        self._image, self._planes, self._line = image, planes, line
        colours = tuple(image.shape[len(planes.shape) :])
        self.shape = (line.length, *planes.plane_shape, *colours)

    def __getitem__(self, position: int) -> npt.NDArray[np.generic]:
        return np.asarray(self._image[self._planes.region(self._line.at(position))])


def _checked_prompts(object_id: int, document: PromptDocument) -> dict[Index, PlanePrompts]:
    """Return the prompts of one object; PromptError if it has background clicks only."""
    planes = document.objects[object_id]
    if planes and all(prompts.says_absent for prompts in planes.values()):
        raise PromptError(
            f"object {object_id} has only background clicks on plane {list(min(planes))}; add "
            "a foreground click or a box"
        )
    return dict(planes)
