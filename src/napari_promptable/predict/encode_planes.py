"""Encoding the planes of an image ahead of time, into a store (without torch)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from napari_promptable.planes import Index, ReadPlane
from napari_promptable.predict.embedding_store import EmbeddingStore
from napari_promptable.predict.embeddings import Encoder, plane_key
from napari_promptable.transforms import to_rgb8


def embed_planes(
    encoder: Encoder,
    model_id: str,
    read_plane: ReadPlane,
    indices: Iterable[Index],
    store: EmbeddingStore,
    contrast_limits: tuple[float, float] | None = None,
) -> Iterator[tuple[Index, bool]]:
    """Encode planes that are not in the store yet, one after the other.

    Whoever iterates may stop after any plane; what is encoded stays.

    Parameters
    ----------
    encoder : Encoder
        The model.
    model_id : str
        Which weights it has.
    read_plane : callable
        Returns the pixels of a plane, see `napari_promptable.planes.ReadPlane`.
    indices : iterable of Index
        Which planes, in the order in which they are wanted.
    store : EmbeddingStore
        Where to.
    contrast_limits : (float, float), optional
        As in `encode_image`.

    Yields
    ------
    index : Index
        The plane that is now in the store.
    was_encoded : bool
        False if it had been there.

    Raises
    ------
    CacheError
        If the store cannot be written.
    ImageFormatError
        As in `encode_image`.
    """
    for index in indices:
        rgb = to_rgb8(read_plane(index), contrast_limits)
        key = plane_key(rgb, model_id)
        is_missing = key not in store
        if is_missing:
            store.put(key, encoder.encode(rgb, (0, 255)))
        yield index, is_missing
