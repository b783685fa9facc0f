"""Image embeddings: the value, and a cache that keeps the newest of them in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import xxhash

from napari_promptable.tiling import Tile

_MAX_TILE_BYTES = 2**27
"""Of the parts of one plane that are kept encoded; 128 tiles of the bundled model."""


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


Key = TypeVar("Key")
Value = TypeVar("Value", bound=_Sized)


class SizedCache(Generic[Key, Value]):
    """The most recently used values, up to a number of bytes; safe to share by threads.

    Parameters
    ----------
    max_bytes : int, default 1 GiB
        When more is held, the least recently used are dropped. One is always kept.
    """

    def __init__(self, max_bytes: int = 2**30) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.RLock()

    def get_or_make(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return the value of this name; make it first where it is not held."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            while len(self._values) > 1 and self.nbytes > self._max_bytes:
                self._values.popitem(last=False)
        return value

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        with self._lock:
            return sum(value.nbytes for value in self._values.values())

    def __contains__(self, key: object) -> bool:
        """Whether a value of this name is held."""
        return key in self._values

    def __len__(self) -> int:
        """Count the values held."""
        return len(self._values)


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
    low_res_size : (int, int)
        Height and width of low-res logits.
    low_res_valid : (int, int)
        Rows and columns of these that hold image, the others are padding.
    image : ndarray of uint8, shape (H, W, 3), or None
        The plane itself, for models that look at parts of it (see
        `napari_promptable.tiling`); None for the others.
    tiles : SizedCache of Tile to ndarray of float32
        Embeddings of parts, each made when a prompt first needs it.
    """

    features: npt.NDArray[np.float32]
    original_size: tuple[int, int]
    input_size: tuple[int, int]
    model_id: str
    low_res_size: tuple[int, int]
    low_res_valid: tuple[int, int]
    image: npt.NDArray[np.uint8] | None = None
    tiles: SizedCache[Tile, npt.NDArray[np.float32]] = field(
        default_factory=lambda: SizedCache(_MAX_TILE_BYTES)
    )

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        image_bytes = 0 if self.image is None else self.image.nbytes
        return self.features.nbytes + image_bytes + self.tiles.nbytes


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


class EmbeddingCache(SizedCache[str, ImageEmbedding]):
    """Embeddings by `plane_key`."""
