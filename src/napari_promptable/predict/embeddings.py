"""Image embeddings: the value, its name, and a cache that keeps the newest in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Container, Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import xxhash

from napari_promptable.errors import CacheError
from napari_promptable.predict.tiling import Tile
from napari_promptable.progress import IsCancelled
from napari_promptable.transforms import check_dtype, to_rgb8

if TYPE_CHECKING:
    from napari_promptable.predict.segmenter import Segmenter

_MAX_TILE_BYTES = 2**27
"""Memory for the encoded parts of one plane: 128 tiles of the bundled model."""


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


Key = TypeVar("Key")
Value = TypeVar("Value", bound=_Sized)


class SizedCache(Generic[Key, Value]):
    """The most recently used values, up to a number of bytes. Safe to share by threads.

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
        """Return the value of this key, and make it if it is missing."""
        value = self.find(key)
        if value is None:
            value = make()
            self.keep(key, value)
        return value

    def get_or_read(
        self,
        key: Key,
        read: Callable[[], Value | None],
        make: Callable[[], Value],
        write: Callable[[Value], None],
    ) -> Value:
        """Return the value of this key: if it is missing, read it, or else make and write it.

        A new value is held before it is written, so that a full disk does not cost it.
        """
        value = self.find(key)
        if value is not None:
            return value
        value = read()
        is_new = value is None
        if value is None:
            value = make()
        self.keep(key, value)
        if is_new:
            write(value)
        return value

    def find(self, key: Key) -> Value | None:
        """Return the value of this name, None if it is not held."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def keep(self, key: Key, value: Value) -> None:
        """Hold a value, and drop the least recently used if there are too many."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > 1 and self.nbytes > self._max_bytes:
                self._values.popitem(last=False)

    def drop(self, values: Container[Value]) -> None:
        """Stop holding some values."""
        with self._lock:
            for key in [key for key, value in self._values.items() if value in values]:
                del self._values[key]

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
        `napari_promptable.predict.tiling`); None for the others.
    tiles : SizedCache of Tile to ndarray of float32
        Embeddings of parts, each made when a prompt first needs it. They are kept on disk, too,
        if the embedding comes from an `EmbeddingCache` with a store.
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


def plane_key(rgb: npt.NDArray[np.uint8], model_id: str) -> str:
    """Name an embedding by the content it is made from.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (H, W, 3)
        The plane as it is encoded, after contrast: see
        `napari_promptable.transforms.to_rgb8`.
    model_id : str
        Which weights.

    Returns
    -------
    str
        32 hexadecimal digits: the same for the same pixels, shape and weights, and only then.
    """
    return _hash(rgb, model_id)


def _hash(array: npt.NDArray[np.generic], about: object) -> str:
    """Hash an array without copying it, its shape and dtype, and the `repr` of `about`."""
    pixels = np.ascontiguousarray(array)
    digest = xxhash.xxh128(pixels.reshape(-1).view(np.uint8).data)
    digest.update(repr((array.shape, array.dtype.str, about)).encode())
    return digest.hexdigest()


class Storage(Protocol):
    """Where embeddings outlive the process. `EmbeddingStore` is one."""

    def get(self, key: str, rgb: npt.NDArray[np.uint8]) -> ImageEmbedding | None:
        """Read the embedding of a plane, None if there is none."""
        ...

    def put(self, key: str, embedding: ImageEmbedding) -> None:
        """Write an embedding, unless it is there."""
        ...

    def get_tile(self, key: str, tile: Tile) -> npt.NDArray[np.float32] | None:
        """Read the embedding of a part of a plane, None if there is none."""
        ...

    def put_tile(self, key: str, tile: Tile, features: npt.NDArray[np.float32]) -> None:
        """Write the embedding of a part of a plane, unless it is there."""
        ...


class _StoredTiles(SizedCache[Tile, npt.NDArray[np.float32]]):
    """Embeddings of parts of one plane: in memory, and below that in a store, if there is one.

    Parameters
    ----------
    plane : str
        The plane's `plane_key`.
    find_store : callable
        Returns the store in use, or None. After an error the store gets no more parts of this
        plane, so that a full disk costs one answer and not one at each place.
    """

    def __init__(self, plane: str, find_store: Callable[[], Storage | None]) -> None:
        super().__init__(_MAX_TILE_BYTES)
        self._plane, self._find_store = plane, find_store

    def get_or_make(
        self, key: Tile, make: Callable[[], npt.NDArray[np.float32]]
    ) -> npt.NDArray[np.float32]:
        """Take a part's embedding from memory, else from the store, else make and keep it."""
        store = self._find_store()
        if store is None:
            return super().get_or_make(key, make)
        try:
            return self.get_or_read(
                key,
                partial(store.get_tile, self._plane, key),
                make,
                partial(store.put_tile, self._plane, key),
            )
        except CacheError:
            self._find_store = lambda: None
            raise


class EmbeddingCache(SizedCache[str, ImageEmbedding]):
    """Embeddings by `plane_key`: in memory, and below that in a store, if there is one.

    Parameters
    ----------
    max_bytes : int, default 1 GiB
        Of memory; see `SizedCache`.
    store : EmbeddingStore, optional
        Read where memory lacks an embedding; every new embedding is written to it.
    """

    def __init__(self, max_bytes: int = 2**30, store: Storage | None = None) -> None:
        super().__init__(max_bytes)
        self.store = store
        self._keys: dict[str, str] = {}
        self._names: dict[Hashable, str] = {}

    def find_named(self, name: Hashable) -> ImageEmbedding | None:
        """Return the embedding that `embed` gave this name, or None if it is not in memory."""
        key = self._names.get(name)
        return None if key is None else self.find(key)

    def forget_names(self) -> None:
        """Drop all names, also of planes that threads are encoding now: pixels have changed."""
        self._names = {}

    def embed(
        self,
        segmenter: Segmenter,
        model_id: str,
        plane: npt.NDArray[np.generic],
        contrast_limits: tuple[float, float] | None = None,
        *,
        name: Hashable = None,
        is_cancelled: IsCancelled | None = None,
    ) -> ImageEmbedding:
        """Take a plane's embedding from memory, else from the store, else encode the plane.

        Parameters
        ----------
        segmenter : Segmenter
            The model.
        model_id : str
            Which weights it has.
        plane, contrast_limits, is_cancelled
            As in `encode_image`.
        name : hashable, optional
            Lets `find_named` find the embedding without the pixels, until `forget_names`.

        Returns
        -------
        ImageEmbedding
            Now in memory and in the store.

        Raises
        ------
        CacheError
            If the store's embedding is damaged, or it cannot be written; in the latter case it
            is kept in memory, so that the next call succeeds.
        CancelledError, ImageFormatError
            As in `encode_image`.
        """
        names = self._names
        check_dtype(plane.dtype)
        as_given = _hash(plane, (contrast_limits, model_id))
        key = self._keys.get(as_given)  # spares finding the contrast at every click
        embedding = None if key is None else self.find(key)
        if key is None or embedding is None:
            rgb = to_rgb8(plane, contrast_limits)
            key = self._keys[as_given] = plane_key(rgb, model_id)
            encode = partial(segmenter.encode, rgb, (0, 255), is_cancelled=is_cancelled)
            embedding = self._find_or_encode(key, rgb, encode)
        if name is not None:
            names[name] = key
        return embedding

    def _find_or_encode(
        self, key: str, rgb: npt.NDArray[np.uint8], encode: Callable[[], ImageEmbedding]
    ) -> ImageEmbedding:
        """Take an embedding from memory, else from the store, else encode, and keep it."""

        def with_tiles(embedding: ImageEmbedding) -> ImageEmbedding:
            return replace(embedding, tiles=_StoredTiles(key, lambda: self.store))

        def read() -> ImageEmbedding | None:
            stored = None if self.store is None else self.store.get(key, rgb)
            return None if stored is None else with_tiles(stored)

        def write(embedding: ImageEmbedding) -> None:
            if self.store is not None:
                self.store.put(key, embedding)

        return self.get_or_read(key, read, lambda: with_tiles(encode()), write)
