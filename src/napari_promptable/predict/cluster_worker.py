"""The part of encoding on a cluster that runs in the worker processes.

A worker opens the image and loads the model once, and again when their files change.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_promptable.files.image_file import ImageFile
from napari_promptable.files.images import open_channel
from napari_promptable.planes import Index
from napari_promptable.predict.embedding_store import EmbeddingStore, embed_planes

_loading = threading.Lock()


class ImageSource(NamedTuple):
    """Which image a worker opens, and how."""

    path: str
    axes: str | None
    channel: int | None


class Weights(NamedTuple):
    """Which model a worker loads."""

    source: str
    device: str
    precision: str


def embed_plane(
    index: Index, image: ImageSource, cache_path: str, max_bytes: int | None, weights: Weights
) -> tuple[Index, bool]:
    """Encode one plane into the store."""
    opened = _kept(_open_image, *image)
    model = _kept(_load_model, weights.source, weights.device, weights.precision)
    planes = opened.planes
    [done] = embed_planes(
        model,
        model.model_id,
        lambda index: np.asarray(opened.data[planes.region(index)]),
        [index],
        EmbeddingStore(cache_path, max_bytes=max_bytes),
    )
    return done


def encode_plane(
    rgb: npt.NDArray[np.uint8], weights: Weights
) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
    """Encode one plane; an embedding as plain values, its channels last."""
    model = _kept(_load_model, weights.source, weights.device, weights.precision)
    embedding = model.encode(rgb, (0, 255))
    sizes = {
        name: getattr(embedding, name)
        for name in ("original_size", "input_size", "model_id", "low_res_size", "low_res_valid")
    }
    return np.moveaxis(embedding.features, 0, -1), sizes


def _kept(load: Callable[..., Any], source: str, *options: Any) -> Any:
    """Load a file once per process and version of the file."""
    changed = os.stat(source).st_mtime_ns if os.path.exists(source) else None
    with _loading:
        return load(source, changed, *options)


@lru_cache(maxsize=1)
def _open_image(
    path: str, _changed: int | None, axes: str | None, channel: int | None
) -> ImageFile:
    return open_channel(path, axes, channel)


@lru_cache(maxsize=1)
def _load_model(source: str, _changed: int | None, device: str, precision: str) -> Any:
    from napari_promptable.predict.load_model import load_model

    return load_model(source, device=device, precision=precision)
