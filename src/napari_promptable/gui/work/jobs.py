"""What the engine runs: loading a model, encoding a plane, answering a question.

Each function returns a callable for a worker thread. torch is imported in there, so that the
dock widget opens before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from napari_promptable.annotation.labels import find_extents
from napari_promptable.annotation.patches import Extent, LabelsArray
from napari_promptable.annotation.questions import Answer, Question
from napari_promptable.gui.work.worker import JobControl
from napari_promptable.planes import Index, PlaneAxes, PlaneSource
from napari_promptable.predict.cluster import RemoteSegmenter
from napari_promptable.predict.embedding_store import EmbeddingStore
from napari_promptable.predict.embeddings import EmbeddingCache, ImageEmbedding
from napari_promptable.prompts import PromptSet
from napari_promptable.weights.checkpoints import cache_root, fetch_checkpoint
from napari_promptable.weights.registry import MODELS

if TYPE_CHECKING:
    from napari_promptable.predict.predictor import PromptableModel

_MAX_BYTES_ON_DISK = 20 * 10**9


def load_model_job(name_or_path: str, device: str) -> Callable[[JobControl], PromptableModel]:
    """Fetch a model where it is not on disk, and load it."""

    def run(control: JobControl) -> PromptableModel:
        from napari_promptable.predict.predictor import load_model

        if name_or_path in MODELS:
            fetch_checkpoint(name_or_path, control.report, control.is_cancelled)
            return load_model(name_or_path, device=device)
        return load_model(Path(name_or_path), device=device)

    return run


class Embedder:
    """Embeddings of planes, by content and, for the plane in view, by index.

    Attributes
    ----------
    is_kept : bool
        Whether embeddings are kept on disk too.
    scheduler : str
        Address of a dask.distributed scheduler whose workers encode; empty: this process does.
    model_source : str
        What the workers load: the model's registry name, or the path of its weights.
    """

    def __init__(self) -> None:
        self.is_kept = False
        self.scheduler = ""
        self.model_source = ""
        self._cache = EmbeddingCache()
        self._remote: tuple[object, RemoteSegmenter] | None = None
        self._by_index: WeakValueDictionary[Index, ImageEmbedding] = WeakValueDictionary()

    def embed(
        self, model: PromptableModel, source: PlaneSource, index: Index, control: JobControl
    ) -> ImageEmbedding:
        """Encode a plane, or take its embedding from memory or disk; in a worker thread."""
        self._open_store()
        encoder = CancellableModel(model, control, self._encoder(model))
        plane = source.read(index)
        embedding = self._cache.embed(encoder, model.model_id, plane)
        self._by_index[index] = embedding
        return embedding

    def _open_store(self) -> None:
        """Open the store, or leave it, as the user wants."""
        if not self.is_kept:
            self._cache.store = None
        elif self._cache.store is None:
            self.is_kept = False  # unless it can be opened
            path = cache_root() / "embeddings.zarr"
            self._cache.store = EmbeddingStore(path, max_bytes=_MAX_BYTES_ON_DISK)
            self.is_kept = True

    def _encoder(self, model: PromptableModel) -> PromptableModel | RemoteSegmenter:
        """What encodes: the model itself, or workers of the scheduler."""
        if self._remote is not None and self._remote[0] != (self.scheduler, model.model_id):
            self.close()
        if not self.scheduler:
            return model
        if self._remote is None:
            address, self.scheduler = self.scheduler, ""  # unless it can be reached
            remote = RemoteSegmenter(model, address, self.model_source)
            self._remote = (address, model.model_id), remote
            self.scheduler = address
        return self._remote[1]

    def close(self) -> None:
        """Leave the scheduler."""
        if self._remote is not None:
            self._remote[1].close()
            self._remote = None

    def known(self, model: PromptableModel, index: Index) -> ImageEmbedding | None:
        """Embedding of a plane by a model, if there is one, without reading the plane."""
        embedding = self._by_index.get(index)
        return embedding if embedding and embedding.model_id == model.model_id else None

    def forget_indices(self) -> None:
        """Take note that planes hold other pixels."""
        self._by_index.clear()


def embed_job(
    model: PromptableModel, source: PlaneSource, index: Index, embedder: Embedder
) -> Callable[[JobControl], None]:
    """Encode a plane ahead of its first prompt."""

    def run(control: JobControl) -> None:
        embedder.embed(model, source, index, control)

    return run


def look_closer_job(
    model: PromptableModel, embedding: ImageEmbedding, prompts: PromptSet
) -> Callable[[JobControl], None]:
    """Encode the parts of a plane that a click would need, ahead of the click."""
    return lambda _: model.look_closer(embedding, prompts)


def answer_job(
    model: PromptableModel, source: PlaneSource, questions: list[Question], embedder: Embedder
) -> Callable[[JobControl], list[Answer]]:
    """Answer questions one after the other, encoding their planes where it is still to do."""

    def run(control: JobControl) -> list[Answer]:
        segmenter = CancellableModel(model, control)
        answers = []
        for number, question in enumerate(questions):
            embedding = embedder.embed(model, source, question.index, control)
            answers.append(question.resolve(segmenter, embedding))
            if len(questions) > 1:
                control.report(number + 1, len(questions))
        return answers

    return run


def scan_job(
    labels: LabelsArray, planes: PlaneAxes, index: Index
) -> Callable[[JobControl], dict[int, Extent]]:
    """Find the objects on a plane of the labels."""
    return lambda _: find_extents(labels[planes.region(index)])


class CancellableModel:
    """A model that stops in the middle of the encoder when its job is cancelled.

    Parameters
    ----------
    model : PromptableModel
        Answers prompts.
    control : JobControl
        Of the job.
    encoder : PromptableModel or RemoteSegmenter, optional
        Encodes; the model by default.
    """

    def __init__(
        self,
        model: PromptableModel,
        control: JobControl,
        encoder: PromptableModel | RemoteSegmenter | None = None,
    ) -> None:
        self._encoder = model if encoder is None else encoder
        self._control = control
        self.predict = model.predict
        self.predict_each = model.predict_each
        self.carries_masks = model.carries_masks

    def encode(
        self,
        image: npt.NDArray[np.generic],
        contrast_limits: tuple[float, float] | None = None,
    ) -> ImageEmbedding:
        """Encode, asking the job again and again whether to go on."""
        return self._encoder.encode(
            image, contrast_limits, is_cancelled=self._control.is_cancelled
        )
