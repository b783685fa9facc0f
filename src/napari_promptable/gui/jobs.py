"""What the engine runs: loading a model, encoding a plane, answering a question.

Each function returns a callable for a worker thread. torch is imported in there, so that the
dock widget opens before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from napari_promptable.checkpoints import fetch_checkpoint
from napari_promptable.commits import Extent, LabelsArray
from napari_promptable.embeddings import EmbeddingCache, ImageEmbedding
from napari_promptable.gui.engine import JobControl
from napari_promptable.object_labels import find_extents
from napari_promptable.planes import Channel, Index, PlaneAxes, read_plane
from napari_promptable.prompts import PromptSet
from napari_promptable.questions import Answer, Question
from napari_promptable.registry import MODELS

if TYPE_CHECKING:
    from napari_promptable.predictor import PromptableModel


@dataclass(frozen=True, eq=False)
class PlaneSource:
    """Where planes are read from: the data of an image layer, as chosen.

    Attributes
    ----------
    data : array of any kind
        At full resolution, with the RGB axis last.
    planes : PlaneAxes
        How it is cut.
    channel : Channel or None
        The channel that the model sees, or what is shown.
    """

    data: Any
    planes: PlaneAxes
    channel: Channel | None

    def read(self, index: Index) -> npt.NDArray[np.generic]:
        """Read one plane; see `read_plane`."""
        return read_plane(self.data, self.planes, index, self.channel)


def load_model_job(name_or_path: str, device: str) -> Callable[[JobControl], PromptableModel]:
    """Fetch a model where it is not on disk, and load it."""

    def run(control: JobControl) -> PromptableModel:
        from napari_promptable.predictor import load_model

        if name_or_path in MODELS:
            fetch_checkpoint(name_or_path, control.report, control.is_cancelled)
            return load_model(name_or_path, device=device)
        return load_model(Path(name_or_path), device=device)

    return run


class Embedder:
    """Embeddings of planes, by content and, for the plane in view, by index."""

    def __init__(self) -> None:
        self._cache = EmbeddingCache()
        self._by_index: WeakValueDictionary[Index, ImageEmbedding] = WeakValueDictionary()

    def embed(
        self, model: PromptableModel, source: PlaneSource, index: Index, control: JobControl
    ) -> ImageEmbedding:
        """Encode a plane, or take its embedding from the cache."""
        segmenter = CancellableModel(model, control)
        plane = source.read(index)
        embedding = self._cache.embed(segmenter, model.model_id, plane)
        self._by_index[index] = embedding
        return embedding

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
    """A model that stops in the middle of the encoder when its job is cancelled."""

    def __init__(self, model: PromptableModel, control: JobControl) -> None:
        self._model = model
        self._control = control
        self.predict = model.predict
        self.predict_each = model.predict_each

    def encode(
        self,
        image: npt.NDArray[np.generic],
        contrast_limits: tuple[float, float] | None = None,
    ) -> Any:
        """Encode, asking the job before each layer whether to go on."""
        from napari_promptable.predictor import encode_image

        return encode_image(
            self._model, image, contrast_limits, is_cancelled=self._control.is_cancelled
        )
