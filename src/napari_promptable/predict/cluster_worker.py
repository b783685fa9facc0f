"""What worker processes open and load, and how they encode planes.

A worker opens an image and loads a model once, and again when their files change.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_promptable.fields import Field
from napari_promptable.files.image_file import ImageFile
from napari_promptable.files.images import open_channel, open_image, read_image
from napari_promptable.planes import Index
from napari_promptable.predict.embedding_store import EmbeddingStore, embed_planes
from napari_promptable.weights.registry import MODELS

if TYPE_CHECKING:
    from napari_promptable.predict.predictor import PromptableModel

_loading = threading.Lock()


class ImageSource(NamedTuple):
    """Which image a worker opens, and which view of it: see `open_channel` and `fitted`.

    Attributes
    ----------
    path, axes, channel
        As in `napari_promptable.files.images.open_channel`.
    shape, layer_name
        Of the prompts' image, as in `ImageFile.fitted`; by default, one channel is seen.
    """

    path: str
    axes: str | None = None
    channel: int | None = None
    shape: tuple[int, ...] | None = None
    layer_name: str = ""

    @classmethod
    def named(
        cls, path: str | Path, axes: str | None = None, channel: int | None = None
    ) -> ImageSource:
        """Make the path absolute: workers have another working folder."""
        return cls(str(Path(path).absolute()), axes, channel)

    def open(self) -> ImageFile:
        """Open the image, once per process and version of the file."""
        image: ImageFile = _kept(_open_image, *self)
        return image


def open_pixels(path: str) -> Any:
    """Open the pixels of an image with all axes, once per process and version of the file."""
    return _kept(_read_image, path)


class Weights(NamedTuple):
    """Which model a worker loads, see `load_model`."""

    source: str
    device: str = "auto"
    precision: str = "float32"

    @classmethod
    def named(cls, name_or_path: str | Path, device: str, precision: str) -> Weights:
        """Make paths absolute. Registry names stay."""
        is_name = str(name_or_path) in MODELS or not Path(name_or_path).exists()
        source = name_or_path if is_name else Path(name_or_path).absolute()
        return cls(str(source), device, precision)

    def load(self) -> PromptableModel:
        """Load the model, once per process and version of the file."""
        model: PromptableModel = _kept(_load_model, *self)
        return model


def embed_plane(
    index: Index,
    image: ImageSource,
    field: Field | None,
    cache_path: str,
    max_bytes: int | None,
    weights: Weights,
) -> tuple[Index, bool]:
    """Encode a plane, or a field of it, into the store."""
    model, source = weights.load(), image.open().source
    [done] = embed_planes(
        model,
        model.model_id,
        lambda index: source.read(index, field),
        [index],
        EmbeddingStore(cache_path, max_bytes=max_bytes),
    )
    return done


def encode_plane(
    rgb: npt.NDArray[np.uint8], weights: Weights
) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
    """Encode one plane. Returns the embedding as plain values, its channels last."""
    embedding = weights.load().encode(rgb, (0, 255))
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
def _read_image(path: str, _changed: int | None) -> Any:
    return read_image(path)


@lru_cache(maxsize=1)
def _open_image(
    path: str,
    _changed: int | None,
    axes: str | None,
    channel: int | None,
    shape: tuple[int, ...] | None,
    layer_name: str,
) -> ImageFile:
    if shape is None:
        return open_channel(path, axes, channel)
    return open_image(path, axes).fitted(shape, layer_name, channel)


@lru_cache(maxsize=1)
def _load_model(
    source: str, _changed: int | None, device: str, precision: str
) -> PromptableModel:
    from napari_promptable.predict.load_model import load_model

    return load_model(source, device=device, precision=precision)
