"""Running the image encoder: on a plane, and on pixels at the network's input size."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from napari_promptable.masks import FloatArray
from napari_promptable.models.sam import Sam
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.progress import IsCancelled, check_cancelled
from napari_promptable.transforms import resize_rgb8, resized_shape

_LOW_RES_SIDES = (256, 1024)  # least and greatest longest side of tiled models' logits


def encode_rgb(
    sam: Sam,
    model_id: str,
    rgb: npt.NDArray[np.uint8],
    is_cancelled: IsCancelled | None = None,
) -> ImageEmbedding:
    """Encode a plane of any size.

    Parameters
    ----------
    sam : Sam
        The network.
    model_id : str
        For the embedding to carry.
    rgb : ndarray of uint8, shape (H, W, 3)
        The plane.
    is_cancelled : callable, optional
        Asked before each layer; True stops by CancelledError.
    """
    original_size = (rgb.shape[0], rgb.shape[1])
    input_size, pixels = _to_input(sam, rgb)
    with _cancellation(sam.image_encoder, is_cancelled):
        features = encode_pixels(sam, pixels)
    if sam.tile_size is not None:
        size = _low_res_size_of_tiled(original_size)
        return ImageEmbedding(features, original_size, input_size, model_id, size, size, rgb)
    stride = sam.patch_stride // 4
    return ImageEmbedding(
        features,
        original_size,
        input_size,
        model_id,
        low_res_size=(4 * features.shape[1], 4 * features.shape[2]),
        low_res_valid=(-(-input_size[0] // stride), -(-input_size[1] // stride)),
    )


def _to_input(
    sam: Sam, rgb: npt.NDArray[np.uint8]
) -> tuple[tuple[int, int], npt.NDArray[np.uint8]]:
    """Size of an image in the network's input, and what the network is given of it."""
    if sam.squashes_images:
        return (sam.image_size, sam.image_size), rgb
    input_size = resized_shape((rgb.shape[0], rgb.shape[1]), sam.image_size)
    return input_size, resize_rgb8(rgb, input_size)


def _low_res_size_of_tiled(original_size: tuple[int, int]) -> tuple[int, int]:
    """Size of logits that cover the image: its own, within limits of the longest side."""
    longest_side = min(max(max(original_size), _LOW_RES_SIDES[0]), _LOW_RES_SIDES[1])
    return resized_shape(original_size, longest_side)


@contextmanager
def _cancellation(module: torch.nn.Module, is_cancelled: IsCancelled | None) -> Iterator[None]:
    """Raise CancelledError before the next layer of this thread's forward pass, when asked."""
    if is_cancelled is None:
        yield
        return
    thread = threading.get_ident()

    def stop_if_cancelled(*_: object) -> None:
        if threading.get_ident() == thread:
            check_cancelled(is_cancelled, "encoding")

    handles = [part.register_forward_pre_hook(stop_if_cancelled) for part in module.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def encode_pixels(sam: Sam, pixels: npt.NDArray[np.uint8]) -> FloatArray:
    """Encode an image at the network's input size.

    Parameters
    ----------
    sam : Sam
        The network.
    pixels : ndarray of uint8, shape (h, w, 3)
        RGB.

    Returns
    -------
    ndarray of float32, shape (C, rows, columns)
        Image embedding; in memory the channels of a cell lie together, for the decoder.
    """
    batch = torch.from_numpy(pixels.copy()).to(sam.device).permute(2, 0, 1)[None].float()
    embedding = sam.encode(batch).float().cpu()
    features: FloatArray = embedding.contiguous(memory_format=torch.channels_last)[0].numpy()
    return features
