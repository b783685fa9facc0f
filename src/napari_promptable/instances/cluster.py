"""Automatic segmentation on the workers of a dask.distributed scheduler.

A task is one slice of a stack, or one view of a large plane. Workers open the image themselves
and return the objects they found; choosing, numbering and linking them happens here, so that
labels are the same as without a cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_promptable.instances.automatic import choose_seeding_model, find_objects
from napari_promptable.instances.by_views import answer_view
from napari_promptable.instances.found import FoundObject
from napari_promptable.instances.large_plane import LargePlace, LazyRgb
from napari_promptable.instances.settings import AutomaticSettings
from napari_promptable.instances.views import Viewpoint
from napari_promptable.predict.cluster import RemoteSegmenter
from napari_promptable.predict.cluster_worker import ImageSource, Weights, open_pixels
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.predict.scheduler import Workers, connect
from napari_promptable.progress import ignore_progress


class Search(NamedTuple):
    """What workers look for.

    Attributes
    ----------
    image : ImageSource
        A plane or a stack.
    weights : Weights
        Of the model that answers.
    settings : AutomaticSettings
        Seeds and thresholds.
    region : array_like or None
        As in `generate_labels`.
    labels : str or None
        Path of existing labels.
    """

    image: ImageSource
    weights: Weights
    settings: AutomaticSettings
    region: npt.ArrayLike | None = None
    labels: str | None = None


class WorkerSearch:
    """Finds objects on workers.

    Parameters
    ----------
    workers : Workers
        Connected.
    search : Search
        What to look for; its paths are seen by all workers.
    """

    def __init__(self, workers: Workers, search: Search) -> None:
        self._workers, self._search = workers, search

    def find_in_slices(self, length: int) -> Iterator[tuple[FoundObject, ...]]:
        """Yield the answers on each slice of a stack, in order."""
        return self._workers.map(
            _find_in_slice, range(length), in_order=True, search=self._search
        )

    def find_in_views(
        self, viewpoints: Iterable[Viewpoint], limits: tuple[float, float], place: LargePlace
    ) -> Iterator[list[FoundObject]]:
        """Yield the answers in each view of a plane, in order."""
        return self._workers.map(
            _find_in_view,
            viewpoints,
            in_order=True,
            limits=limits,
            box=place.box,
            search=self._search,
        )

    def segmenter(self, model: PromptableModel) -> RemoteSegmenter:
        """Return a model that encodes on the workers and answers prompts here."""
        weights = self._search.weights
        return RemoteSegmenter(model, self._workers.address, weights.source, weights.device)


@contextmanager
def search_on(address: str | None, search: Search) -> Iterator[WorkerSearch | None]:
    """Connect to a scheduler for a search, or None without an address.

    Raises
    ------
    ClusterError
        As `connect`.
    """
    if address is None:
        yield None
        return
    with connect(address) as client:
        yield WorkerSearch(Workers(client), search)


def _find_in_slice(position: int, search: Search) -> tuple[FoundObject, ...]:
    """Find objects on a slice, in a worker."""
    labels = None if search.labels is None else open_pixels(search.labels)
    result = find_objects(
        search.weights.load(),
        np.asarray(search.image.open().data[position]),
        search.settings,
        region=search.region,
        labels=None if labels is None else np.asarray(labels[position]),
    )
    return result.objects


def _find_in_view(
    viewpoint: Viewpoint, limits: tuple[float, float], box: Any, search: Search
) -> list[FoundObject]:
    """Find objects in a view, in a worker."""
    rgb = LazyRgb(search.image.open().data, limits)
    labels = None if search.labels is None else open_pixels(search.labels)
    place = LargePlace(rgb.shape[:2], box, labels)
    model = search.weights.load()
    seeding = choose_seeding_model(model, search.settings.seeds)
    assert seeding is not None  # a grid of clicks has no views
    return list(answer_view(model, seeding, rgb, place, viewpoint, ignore_progress))
