"""Encoding on the workers of a dask.distributed scheduler: volumes, or single planes.

Every worker opens the image, loads the model once, and writes to the store itself; a task is
one plane.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import (
    CancelledError,
    ClusterError,
    EmbeddingMismatchError,
)
from napari_promptable.files.images import open_channel
from napari_promptable.masks import BoolArray
from napari_promptable.planes import Index
from napari_promptable.predict.cluster_worker import (
    ImageSource,
    Weights,
    embed_plane,
    encode_plane,
)
from napari_promptable.predict.embedding_store import EmbeddingStore
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.scheduler import (
    NO_WORKERS,
    RETRIES,
    Workers,
    connect,
    errors_named,
)
from napari_promptable.progress import IsCancelled
from napari_promptable.prompts import PromptSet
from napari_promptable.transforms import to_rgb8

if TYPE_CHECKING:
    from napari_promptable.predict.object_memory import Trail
    from napari_promptable.predict.predictor import PromptableModel

_POLL_S = 0.1  # between two questions whether to go on
_POLLS_TO_CHECK = 100  # until it is asked again whether there are workers


def embed_volume(
    image_path: str | Path,
    cache_path: str | Path,
    *,
    model: str = "tiny",
    address: str | None = None,
    device: str = "auto",
    precision: str = "float32",
    dtype: str | None = None,
    max_bytes: int | None = None,
    num_workers: int | None = None,
    axes: str | None = None,
    channel: int | None = None,
) -> Iterator[tuple[Index, bool]]:
    """Encode the planes of an image that are not in a store yet, on many processes.

    The caller may stop after any plane: encoded planes stay, and the next call resumes after
    them. If a worker is lost, another one encodes its planes.

    Parameters
    ----------
    image_path : str or Path
        See `napari_promptable.files.images.open_channel`; on a disk that all workers see. For
        large volumes, zarr or OME-Zarr.
    cache_path : str or Path
        See `EmbeddingStore`; on a disk that all workers see.
    model : str, default "tiny"
        Registry name, or the path of a weights file that all workers see.
    address : str, optional
        Of the scheduler, such as "tcp://192.168.0.7:8786"; by default, processes are started
        on this computer.
    device, precision : str
        As in `load_model`, on the workers.
    dtype, max_bytes
        As for `EmbeddingStore`.
    num_workers : int, optional
        Processes to start where there is no address; as many as cores by default, at most 4.
    axes, channel
        As in `napari_promptable.files.images.open_channel`.

    Yields
    ------
    index : Index
        The plane that is now in the store, in the order in which they are completed.
    was_encoded : bool
        False if it had been there.

    Raises
    ------
    ClusterError
        If dask.distributed is not installed, there is no scheduler at the address, it has no
        workers, or several were lost with the same plane.
    CacheError, CheckpointError, DeviceError, ImageFormatError, UnknownModelError
        As the store, the model and the image raise them, here or on a worker.
    """
    opened = open_channel(image_path, axes, channel)
    EmbeddingStore(cache_path, dtype=dtype)  # its errors come before any process is started
    with connect(address, num_workers) as client:
        yield from Workers(client).map(
            embed_plane,
            opened.planes.indices(),
            image=ImageSource.named(image_path, axes, channel),
            field=opened.overview,
            cache_path=str(Path(cache_path).absolute()),
            max_bytes=max_bytes,
            weights=Weights.named(model, device, precision),
        )


class RemoteSegmenter:
    """A model whose image encoder runs on a worker, and all else here.

    Parameters
    ----------
    model : PromptableModel
        Answers prompts, in this process.
    address : str
        Of the scheduler.
    name_or_path : str, optional
        The same model, for the worker: a registry name or the path of a weights file that the
        worker sees. By default the model's name.
    device : str, default "auto"
        Of the worker.

    Raises
    ------
    ClusterError
        If dask.distributed is not installed or there is no scheduler at the address.
    """

    def __init__(
        self,
        model: PromptableModel,
        address: str,
        name_or_path: str | None = None,
        device: str = "auto",
    ) -> None:
        precision = "bfloat16" if model.model_id.endswith("-bfloat16") else "float32"
        self._weights = Weights.named(name_or_path or model.name, device, precision)
        self._model = model
        self._exits = ExitStack()
        self._client = self._exits.enter_context(connect(address, None))

    @property
    def model_id(self) -> str:
        """Which weights."""
        return self._model.model_id

    @property
    def carries_masks(self) -> bool:
        """Whether it finds an object better by a neighbouring slice's mask than by a box."""
        return self._model.carries_masks

    def close(self) -> None:
        """Leave the scheduler."""
        self._exits.close()

    def encode(
        self,
        image: npt.NDArray[np.generic],
        contrast_limits: tuple[float, float] | None = None,
        *,
        is_cancelled: IsCancelled | None = None,
    ) -> ImageEmbedding:
        """Encode a plane on a worker.

        Parameters
        ----------
        image, contrast_limits
            As in `encode_image`; 8-bit RGB is what travels.
        is_cancelled : callable, optional
            Asked ten times a second; True gives up waiting.

        Returns
        -------
        ImageEmbedding
            As if it had been made here.

        Raises
        ------
        ClusterError
            If there are no workers, or scheduler or workers are lost.
        EmbeddingMismatchError
            If the worker has other weights under this name.
        CancelledError
            If it was given up.
        ImageFormatError
            As in `encode_image`.
        """
        rgb = to_rgb8(image, contrast_limits)
        with errors_named():
            future = self._client.submit(
                encode_plane, rgb, self._weights, pure=False, retries=RETRIES
            )
            self._wait(future, is_cancelled)
            values, sizes = future.result()
        if sizes["model_id"] != self.model_id:
            raise EmbeddingMismatchError(
                f"the worker's weights are {sizes['model_id']}, those here {self.model_id}; "
                "give name_or_path of the same file"
            )
        return ImageEmbedding(
            np.moveaxis(values, -1, 0),
            **sizes,
            image=rgb if self._model.looks_closer else None,
        )

    def predict_many(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[PromptSet],
        multimask_output: bool | None = True,
    ) -> list[Prediction]:
        """Answer prompts in this process, see the function `predict_many`."""
        return self._model.predict_many(embedding, prompts, multimask_output)

    @property
    def has_memory(self) -> bool:
        """See `MemorySegmenter.has_memory`."""
        return self._model.has_memory

    def remember(self, embedding: ImageEmbedding, mask: BoolArray) -> Trail:
        """Begin with a plane in this process, see `MemorySegmenter.remember`."""
        return self._model.remember(embedding, mask)

    def follow(
        self, embedding: ImageEmbedding, trails: Sequence[Trail], num_planes: int
    ) -> list[tuple[Prediction, Trail]]:
        """Find objects in this process, see `MemorySegmenter.follow`."""
        return self._model.follow(embedding, trails, num_planes)

    def _wait(self, future: Any, is_cancelled: IsCancelled | None) -> None:
        """Wait for a worker while there is one. A cancelled encoding raises even if done."""
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        for poll in itertools.count(1):
            is_done = done.wait(_POLL_S)
            if is_cancelled is not None and is_cancelled():
                future.cancel()
                raise CancelledError("encoding was cancelled")
            if is_done:
                return
            if poll % _POLLS_TO_CHECK == 0 and not self._client.nthreads():
                future.cancel()
                raise ClusterError(NO_WORKERS)
