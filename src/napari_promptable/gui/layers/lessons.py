"""What a model can learn from: planes of the viewer's images, and the objects on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image

from napari_promptable.annotation.records import confirmed_planes
from napari_promptable.gui.layers.adapters import full_resolution
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.ownership import images_sharing
from napari_promptable.plane_source import PlaneSource
from napari_promptable.planes import Channel, Index

Example = tuple[npt.NDArray[np.generic], npt.NDArray[np.integer[Any]]]
"""Planes of one image, (N, H, W) or (N, H, W, 3), and their labels, (N, H, W)."""

IMAGE = "image"
"""Key of a change's details for the name of the image that the objects were seen on."""

_View = tuple[str, str]  # image and channel, by name


def count_confirmed(job: AnnotationJob) -> int:
    """Count the objects that a person prompted, or said look right."""
    return sum(1 for _ in _confirmed_ids(job))


def has_confirmed(job: AnnotationJob, count: int) -> bool:
    """Whether there are at least so many such objects. Looks at no more than it needs."""
    return sum(1 for _ in islice(_confirmed_ids(job), count)) == count


def _confirmed_ids(job: AnnotationJob) -> Iterator[int]:
    records = job.session.records
    for object_id in records.object_ids:
        if any(record.is_confirmed for record in records.of(object_id).values()):
            yield object_id


def collect_examples(job: AnnotationJob, *, is_complete: bool) -> list[Example]:
    """Read all planes with confirmed objects, of each image on which they were seen.

    Parameters
    ----------
    job : AnnotationJob
        Its labels may hold objects of several images and channels.
    is_complete : bool
        Whether every object of these planes has a label. If so, all labels count; if not, only
        the ones of confirmed objects.

    Returns
    -------
    list of Example
        One for each image and channel.
    """
    planes = confirmed_planes(job.session.records)
    sources = _sources(job)
    views: dict[_View, dict[Index, set[int]]] = {}
    seen_on = _views_of_objects(job)
    present = (job.image.name, str(job.session.details.get("channel")))
    for index, ids in planes.items():
        for object_id in ids:
            view = seen_on.get(object_id, present)
            view = view if view in sources else present
            views.setdefault(view, {}).setdefault(index, set()).add(object_id)
    return [_read(job, sources[view], at, is_complete) for view, at in views.items()]


def _views_of_objects(job: AnnotationJob) -> dict[int, _View]:
    """Image and channel on which each object was last changed."""
    return {
        object_id: (str(change.details[IMAGE]), str(change.details.get("channel")))
        for change in job.session.history.changes
        if IMAGE in change.details
        for object_id in change.object_ids
    }


def _sources(job: AnnotationJob) -> Mapping[_View, PlaneSource]:
    """Readers of all images and channels whose objects are in the labels."""
    present = job.session.details.get("channel")
    noted = (change.details.get("channel") for change in job.session.history.changes)
    channels = {str(plain): plain for plain in (*noted, present)}
    images = {job.image, *images_sharing(job.labels_layer, job.viewer.layers)}
    return {
        (image.name, name): _source(job, image, Channel.from_plain(plain))
        for image in images
        for name, plain in channels.items()
    }


def _source(job: AnnotationJob, image: Image, channel: Channel | None) -> PlaneSource:
    return PlaneSource(full_resolution(image), job.planes, channel)


def _read(
    job: AnnotationJob,
    source: PlaneSource,
    planes: Mapping[Index, set[int]],
    is_complete: bool,
) -> Example:
    """Read the planes of one image, and the labels on them."""
    labels = job.labels_layer.data
    pixels: list[npt.NDArray[np.generic]] = []
    masks: list[npt.NDArray[np.integer[Any]]] = []
    last: Index | None = None
    for index, ids in sorted(planes.items()):
        plane = np.asarray(labels[job.planes.region(index)])
        if last is not None and not _are_neighbours(last, index):
            pixels.append(np.zeros_like(pixels[-1]))  # keeps masks from being carried over
            masks.append(np.zeros_like(plane))
        pixels.append(np.asarray(source.read(index)))
        masks.append(plane if is_complete else np.where(np.isin(plane, list(ids)), plane, 0))
        last = index
    return np.stack(pixels), np.stack(masks)


def _are_neighbours(first: Index, second: Index) -> bool:
    """Whether one plane follows the other along one axis."""
    return sum(abs(a - b) for a, b in zip(first, second, strict=True)) == 1
