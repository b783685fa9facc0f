"""Propagation on the workers of a dask.distributed scheduler.

First the workers encode the slices into a store, a task each; then they carry the objects, a
task each, and read the slices from it. An object's masks do not depend on other objects, so
labels are the same as without a cluster. Only `max_overlap` ties objects together: with it,
all of them are one task.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from napari_promptable.annotation.patches import LabelsArray
from napari_promptable.batch.segment import (
    ObjectsOnLine,
    carry_on_line,
    write_carried,
)
from napari_promptable.fields import Field
from napari_promptable.files.prompts_json import PromptDocument
from napari_promptable.planes import SliceLine
from napari_promptable.predict.cluster_worker import ImageSource, Weights, embed_plane
from napari_promptable.predict.embedding_store import EmbeddingStore
from napari_promptable.predict.embeddings import EmbeddingCache
from napari_promptable.predict.scheduler import Workers, connect
from napari_promptable.progress import Progress, report_each
from napari_promptable.propagation.chains import PropagatedMask
from napari_promptable.propagation.fields import field_of
from napari_promptable.propagation.gaps import slices_in_range
from napari_promptable.propagation.settings import PropagationSettings


class Carrying(NamedTuple):
    """What workers need to carry objects.

    Attributes
    ----------
    image : ImageSource
        The stack.
    weights : Weights
        Of the model.
    cache_path : str
        Folder of embeddings, on a disk that all workers see.
    max_bytes : int or None
        Its limit, see `EmbeddingStore`.
    settings : PropagationSettings
        Range, prompts and stop rules.
    """

    image: ImageSource
    weights: Weights
    cache_path: str
    max_bytes: int | None
    settings: PropagationSettings


def propagate_on_workers(
    address: str,
    image: ImageSource,
    document: PromptDocument,
    settings: PropagationSettings,
    weights: Weights,
    labels: LabelsArray,
    *,
    axis: int | None = None,
    cache_path: str | Path | None = None,
    max_bytes: int | None = None,
    scratch: str | Path,
    progress: Progress | None = None,
) -> LabelsArray:
    """Propagate all objects of a prompts.json on workers, as `propagate_document` does here.

    Parameters
    ----------
    address : str
        Of the scheduler, or "local"; see `connect`.
    image : ImageSource
        On a disk that all workers see.
    document, settings, axis
        As in `propagate_document`.
    weights : Weights
        Of the model that answers.
    labels : LabelsArray
        Array to write to, of the image's shape, all background.
    cache_path : str or Path, optional
        Folder of embeddings to use and fill, on a disk that all workers see.
    max_bytes : int, optional
        Limit of that folder, or of the one in `scratch`; see `EmbeddingStore`.
    scratch : str or Path
        Folder on such a disk; embeddings are kept in it meanwhile if there is no cache.
    progress : callable, optional
        Called with the number of finished and of all tasks of a line of slices.

    Returns
    -------
    LabelsArray
        `labels`.

    Raises
    ------
    ClusterError
        As `connect` and `Workers.map`.
    PromptError, CacheError, CheckpointError, DeviceError, ImageFormatError, UnknownModelError
        As `propagate_document` and the model raise them, here or on a worker.
    """
    with ExitStack() as exits:
        if cache_path is None:
            folder = TemporaryDirectory(prefix=".embeddings-", dir=scratch)
            cache_path = exits.enter_context(folder)
        EmbeddingStore(cache_path)  # its errors come before any process is started
        store = str(Path(cache_path).absolute())
        carrying = Carrying(image, weights, store, max_bytes, settings)
        workers = Workers(exits.enter_context(connect(address)))

        def carry(line: SliceLine, objects: ObjectsOnLine) -> Iterator[PropagatedMask]:
            return _carry(workers, carrying, line, objects, progress)

        return write_carried(document, axis, carry, labels)


def _carry(
    workers: Workers,
    carrying: Carrying,
    line: SliceLine,
    objects: ObjectsOnLine,
    progress: Progress | None,
) -> Iterator[PropagatedMask]:
    """Encode the slices of a line, then carry its objects."""
    slices = slices_in_range(line.length, carrying.settings)
    field = field_of(objects)
    groups = [{object_id: at} for object_id, at in objects.items()]
    if carrying.settings.max_overlap < 1:
        groups = [dict(objects)]
    total = len(slices) + len(groups)

    def tasks() -> Iterator[list[PropagatedMask]]:
        for _ in workers.map(
            embed_plane,
            map(line.at, slices),
            image=carrying.image,
            field=field,
            cache_path=carrying.cache_path,
            max_bytes=carrying.max_bytes,
            weights=carrying.weights,
        ):
            yield []
        yield from workers.map(
            _carry_objects, groups, in_order=True, carrying=carrying, line=line, field=field
        )

    for values in report_each(tasks(), progress, total):
        yield from values


def _carry_objects(
    objects: ObjectsOnLine, carrying: Carrying, line: SliceLine, field: Field | None
) -> list[PropagatedMask]:
    """Carry objects through a line of slices, in a worker."""
    model, source = carrying.weights.load(), carrying.image.open().source
    store = EmbeddingStore(carrying.cache_path, max_bytes=carrying.max_bytes)
    cache = EmbeddingCache(store=store)
    values = carry_on_line(model, source, cache, carrying.settings, line, objects, field, None)
    return list(values)
