"""Embeddings of planes: where they come from, and the task that encodes another plane."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID
from weakref import WeakSet

from napari_promptable.errors import PromptableError
from napari_promptable.fields import Field
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.fields import Fields
from napari_promptable.gui.work.loading import ModelLoading
from napari_promptable.gui.work.worker import Task, TaskControl
from napari_promptable.plane_source import PlaneSource
from napari_promptable.planes import Channel, Index
from napari_promptable.predict.cluster import RemoteSegmenter
from napari_promptable.predict.embedding_store import EmbeddingStore, kept_embeddings_path
from napari_promptable.predict.embeddings import EmbeddingCache, ImageEmbedding
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.wording import name_plane

if TYPE_CHECKING:
    from napari_promptable.predict.predictor import PromptableModel

_MAX_BYTES_ON_DISK = 20 * 10**9


class Embedder:
    """Takes embeddings from memory, disk, this computer or a cluster. Used in threads.

    Attributes
    ----------
    is_kept : bool
        Whether embeddings are kept on disk, too.
    cluster_address : str
        Address of the dask scheduler whose workers encode; empty: this process encodes.
    model_source : str
        Loaded by the cluster's workers: the model's registry name or the path of its weights.
    """

    def __init__(self) -> None:
        self.is_kept = False
        self.cluster_address = ""
        self.model_source = ""
        self._cache = EmbeddingCache()
        self._remote: tuple[object, RemoteSegmenter] | None = None
        self._by_image: dict[UUID, WeakSet[ImageEmbedding]] = {}

    def embed(
        self,
        model: PromptableModel,
        image_id: UUID,
        source: PlaneSource,
        index: Index,
        control: TaskControl,
        field: Field | None = None,
    ) -> ImageEmbedding:
        """Return the embedding of a plane or a field, from memory or disk if it is there.

        Pixels in memory are compared each time, because they may change in place. Lazy arrays
        are read once, until `forget_names`.
        """
        known = self.known(model, image_id, source, index, field) if source.is_lazy else None
        if known is not None:
            return known
        self._open_store()
        embedding = self._cache.embed(
            self._encoder(model),
            model.model_id,
            source.read(index, field),
            name=_name(model, image_id, source, index, field),
            is_cancelled=control.is_cancelled,
        )
        self._by_image.setdefault(image_id, WeakSet()).add(embedding)
        return embedding

    def forget_image(self, image_id: UUID) -> None:
        """Free the embeddings of an image in memory, except ones that others share."""
        embeddings = set(self._by_image.pop(image_id, ()))
        for others in list(self._by_image.values()):
            embeddings.difference_update(others)
        self._cache.drop(embeddings)

    def known(
        self,
        model: PromptableModel,
        image_id: UUID,
        source: PlaneSource,
        index: Index,
        field: Field | None = None,
    ) -> ImageEmbedding | None:
        """Return a plane's embedding, or a field's, without reading it, if possible."""
        return self._cache.find_named(_name(model, image_id, source, index, field))

    def forget_names(self) -> None:
        """Read all planes again when they are needed: their pixels may have changed."""
        self._cache.forget_names()

    def close(self) -> None:
        """Disconnect from the cluster."""
        if self._remote is not None:
            self._remote[1].close()
            self._remote = None

    def _open_store(self) -> None:
        """Open or leave the store on disk, as the user wants."""
        if not self.is_kept:
            self._cache.store = None
        elif self._cache.store is None:
            self.is_kept = False  # stays so if opening fails
            path = kept_embeddings_path()
            self._cache.store = EmbeddingStore(path, max_bytes=_MAX_BYTES_ON_DISK)
            self.is_kept = True

    def _encoder(self, model: PromptableModel) -> Segmenter:
        """Return the model itself, or the cluster with that model."""
        if self._remote is not None:
            if self._remote[0] == (self.cluster_address, model.model_id):
                return self._remote[1]
            self.close()
        if not self.cluster_address:
            return model
        address, self.cluster_address = self.cluster_address, ""  # stays so if it fails
        remote = RemoteSegmenter(model, address, self.model_source)
        self._remote = (address, model.model_id), remote
        self.cluster_address = address
        return remote


def _name(
    model: PromptableModel,
    image_id: UUID,
    source: PlaneSource,
    index: Index,
    field: Field | None,
) -> Hashable:
    """Name a plane without its pixels, until the image gets new data or is refreshed."""
    return model.model_id, image_id, source.planes.axes, source.channel, index, field


@dataclass(frozen=True, eq=False)
class PlaneEncoder:
    """What one task needs: a model and the planes it is shown.

    Attributes
    ----------
    model : PromptableModel
        The model in use when the task was made.
    image_id : UUID
        `unique_id` of the image layer.
    planes : PlaneSource
        Reads the image.
    embedder : Embedder
        Keeps embeddings.
    """

    model: PromptableModel
    image_id: UUID
    planes: PlaneSource
    embedder: Embedder

    def embed(
        self, index: Index, control: TaskControl, field: Field | None = None
    ) -> ImageEmbedding:
        """Return the embedding of a plane or a field. Encodes it if necessary."""
        return self.embedder.embed(
            self.model, self.image_id, self.planes, index, control, field
        )

    def known(self, index: Index, field: Field | None = None) -> ImageEmbedding | None:
        """Return a plane's embedding, or a field's, without reading it, if possible."""
        return self.embedder.known(self.model, self.image_id, self.planes, index, field)


class Encoding:
    """Encodes planes of the job's image with the model in use.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    loading : ModelLoading
        Holds the model.
    report : callable
        Called with the error of a plane that cannot be encoded.

    Attributes
    ----------
    embedder : Embedder
        Keeps embeddings.
    channel : Channel or None
        Shown to the model; None shows all.
    fields : Fields
        Chooses what the model is shown.
    encoded : set of (Index, Field or None)
        Planes and fields that need no encoding ahead of prompts.
    """

    def __init__(
        self,
        workspace: Workspace,
        loading: ModelLoading,
        report: Callable[[PromptableError], None],
    ) -> None:
        self._workspace, self._loading, self.report = workspace, loading, report
        self.embedder = Embedder()
        self.channel: Channel | None = None
        self.fields = Fields(workspace, loading)
        self.encoded: set[tuple[Index, Field | None]] = set()

    def encoder(self) -> PlaneEncoder | None:
        """Return what a task on the current job needs, or None without a job or a model."""
        job, model = self._workspace.job, self._loading.model
        if job is None or model is None:
            return None
        return PlaneEncoder(model, job.image.unique_id, job.source(self.channel), self.embedder)

    def forget_planes(self) -> None:
        """Take no plane for encoded: pixels, channel or model have changed."""
        self.encoded.clear()
        self.embedder.forget_names()

    def skip_visible(self) -> None:
        """Encode the plane in view only when a prompt needs it."""
        index = self._workspace.visible_index()
        if index is not None:
            self.encoded.add((index, self.fields.in_view()))

    def task(self, index: Index, field: Field | None) -> Task | None:
        """Return the task that encodes a plane, or a field, ahead of its first prompt."""
        encoder = self.encoder()
        if encoder is None:
            return None

        def failed(error: PromptableError) -> None:
            self.encoded.add((index, field))  # do not try again before a prompt needs it
            self.report(error)

        return Task(
            f"encoding{describe_index(index)}",
            lambda control: encoder.embed(index, control, field),
            lambda _: self.encoded.add((index, field)),
            failed,
        )


def describe_index(index: Index) -> str:
    """Name a plane in a task's text, empty for a 2D image."""
    return f" {name_plane(index)}" if index else ""
