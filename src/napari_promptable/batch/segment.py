"""Prompts of a document → labels, as the dock widget would make them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from napari_promptable.annotation.patches import LabelsArray
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.batch.answering import answer_open_questions
from napari_promptable.errors import PromptError
from napari_promptable.fields import Field
from napari_promptable.files.prompts_json import PromptDocument
from napari_promptable.plane_source import PlaneSource
from napari_promptable.planes import Index, PlaneAxes, SliceLine
from napari_promptable.predict.embeddings import EmbeddingCache, ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.progress import Progress, report_each
from napari_promptable.prompts import PlanePrompts
from napari_promptable.propagation.chains import PropagatedMask
from napari_promptable.propagation.fields import field_of, propagate_in_field
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.propagation.volume import VolumeMasks, check_prompts
from napari_promptable.wording import on_plane

_MAX_BYTES_IN_MEMORY = 2**29  # of labels
_CHUNK = 1024  # rows and columns

Report = Callable[[int, Index, Prediction, int], None]
"""Called with object id, plane, candidates and the chosen one before they are committed."""


ObjectsOnLine = Mapping[int, Mapping[int, PlanePrompts]]
"""Prompts by object id and slice."""

Carry = Callable[[SliceLine, ObjectsOnLine], Iterable[PropagatedMask]]
"""Propagates objects along a line of slices."""


def segment_document(
    model: PromptableModel,
    image: Any,
    document: PromptDocument,
    *,
    levels: Mapping[int, Any] | None = None,
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
    levels : dict of int to array of any kind, optional
        The image at reduced resolution, by step; see `PlaneSource`.
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
    source = PlaneSource(image, planes, levels=levels or {})

    for object_id in report_each(list(document.objects), progress):
        session.prompts.select(object_id)
        session.prompts.replace(_checked_prompts(object_id, document))
        answer_open_questions(session, model, model.model_id, source, cache)
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
    levels: Mapping[int, Any] | None = None,
    cache: EmbeddingCache | None = None,
    labels: LabelsArray | None = None,
    progress: Progress | None = None,
) -> LabelsArray:
    """Propagate all objects of a prompts.json. Gives the same labels as `propagate`.

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
    levels : dict of int to array of any kind, optional
        As in `segment_document`.
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
    labels = np.zeros(planes.shape, np.uint32) if labels is None else labels
    cache = EmbeddingCache() if cache is None else cache
    source = PlaneSource(image, planes, levels=levels or {})

    def carry(line: SliceLine, objects: ObjectsOnLine) -> Iterator[PropagatedMask]:
        return carry_on_line(
            model, source, cache, settings, line, objects, field_of(objects), progress
        )

    return write_carried(document, axis, carry, labels)


def write_carried(
    document: PromptDocument, axis: int | None, carry: Carry, labels: LabelsArray
) -> LabelsArray:
    """Write the labels of a propagation, however its masks are made.

    Parameters
    ----------
    document, axis, labels
        As in `propagate_document`.
    carry : callable
        Propagates objects along one line of slices.

    Returns
    -------
    LabelsArray
        `labels`.
    """
    planes = PlaneAxes(document.image_shape, document.plane_axes)
    number = _number_of_axis(planes, axis)
    volumes: dict[SliceLine, dict[int, dict[int, PlanePrompts]]] = {}
    for object_id in document.objects:
        for index, prompts in _checked_prompts(object_id, document).items():
            if not prompts.is_empty:
                volume = volumes.setdefault(SliceLine.through(planes, number, index), {})
                volume.setdefault(object_id, {})[index[number]] = prompts
    for line, objects in _with_present_objects(volumes):
        check_prompts(objects, line.length)
        masks = VolumeMasks()
        for value in carry(line, objects):
            masks.add(value)
        for position in masks.positions:
            plane = np.zeros(planes.plane_shape, labels.dtype)
            masks.draw_labels(position, plane)
            labels[planes.region(line.at(position))] = plane
    return labels


def carry_on_line(
    model: PromptableModel,
    source: PlaneSource,
    cache: EmbeddingCache,
    settings: PropagationSettings,
    line: SliceLine,
    objects: ObjectsOnLine,
    field: Field | None,
    progress: Progress | None,
) -> Iterator[PropagatedMask]:
    """Propagate objects along a line of slices in this process.

    Parameters
    ----------
    model, settings, cache, progress
        As in `propagate_document`.
    source : PlaneSource
        Reads the image.
    line : SliceLine
        The slices.
    objects : dict of int to dict of int to PlanePrompts
        By object id and slice.
    field : Field or None
        As in `propagate_in_field`.

    Yields
    ------
    PropagatedMask
        As `propagate_in_field` does.
    """

    def embed(position: int, field: Field | None) -> ImageEmbedding:
        pixels = source.read(line.at(position), field)
        return cache.embed(model, model.model_id, pixels)

    return propagate_in_field(
        model,
        embed,
        line.length,
        objects,
        settings,
        source.planes.plane_shape,
        field,
        progress=progress,
    )


def _with_present_objects(
    volumes: Mapping[SliceLine, ObjectsOnLine],
) -> Iterator[tuple[SliceLine, ObjectsOnLine]]:
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
    """Find an axis in the index of planes. Raises PromptError if it is ambiguous."""
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


def _checked_prompts(object_id: int, document: PromptDocument) -> dict[Index, PlanePrompts]:
    """Return the prompts of one object. Raises PromptError if it has background clicks only."""
    planes = document.objects[object_id]
    if planes and all(prompts.says_absent for prompts in planes.values()):
        raise PromptError(
            f"object {object_id} has only background clicks ({on_plane(min(planes))}); add a "
            "foreground click or a box"
        )
    return dict(planes)
