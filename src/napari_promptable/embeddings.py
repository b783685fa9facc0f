"""Image embeddings: the value, and a cache that keeps the newest of them in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xxhash


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """What the image encoder made of one plane.

    Attributes
    ----------
    features : ndarray of float32, shape (C, rows, columns)
        The image embedding.
    original_size : (int, int)
        Height and width of the plane in pixels.
    input_size : (int, int)
        Height and width after resizing, without padding.
    model_id : str
        Which weights made it, see `PromptableModel.model_id`.
    """

    features: npt.NDArray[np.float32]
    original_size: tuple[int, int]
    input_size: tuple[int, int]
    model_id: str

    @property
    def low_res_size(self) -> tuple[int, int]:
        """Height and width of low-res logits: four per cell of the embedding."""
        return 4 * self.features.shape[1], 4 * self.features.shape[2]


def plane_key(
    plane: npt.NDArray[np.generic], contrast_limits: tuple[float, float] | None, model_id: str
) -> str:
    """Name an embedding by the content it is made from.

    Parameters
    ----------
    plane : ndarray
        Pixels of the plane.
    contrast_limits : (float, float) or None
        As given to the encoder.
    model_id : str
        Which weights.

    Returns
    -------
    str
        The same for the same pixels, dtype, shape, limits and weights, and only then.
    """
    if contrast_limits is not None:
        contrast_limits = (float(contrast_limits[0]), float(contrast_limits[1]))
    digest = xxhash.xxh128(np.ascontiguousarray(plane).tobytes())
    digest.update(repr((plane.shape, plane.dtype.str, contrast_limits, model_id)).encode())
    return digest.hexdigest()


class EmbeddingCache:
    """The most recently used embeddings, up to a number of bytes; safe to share by threads.

    Parameters
    ----------
    max_bytes : int, default 1 GiB
        When more is held, the least recently used are dropped. One is always kept.
    """

    def __init__(self, max_bytes: int = 2**30) -> None:
        self._max_bytes = max_bytes
        self._embeddings: OrderedDict[str, ImageEmbedding] = OrderedDict()
        self._lock = threading.RLock()

    def get_or_make(self, key: str, make: Callable[[], ImageEmbedding]) -> ImageEmbedding:
        """Return the embedding of this name; make it first where it is not held."""
        with self._lock:
            if key in self._embeddings:
                self._embeddings.move_to_end(key)
                return self._embeddings[key]
        embedding = make()
        with self._lock:
            self._embeddings[key] = embedding
            while len(self._embeddings) > 1 and self.nbytes > self._max_bytes:
                self._embeddings.popitem(last=False)
        return embedding

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        with self._lock:
            return sum(embedding.features.nbytes for embedding in self._embeddings.values())

    def __contains__(self, key: str) -> bool:
        """Whether an embedding of this name is held."""
        return key in self._embeddings

    def __len__(self) -> int:
        """Count the embeddings held."""
        return len(self._embeddings)
