"""What a cell attends to in the image encoder, if that is a vision transformer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from napari_promptable.errors import PromptError, UnknownModelError
from napari_promptable.models.encoder_attention import global_blocks, record_cell
from napari_promptable.predict.encoding import encode_rgb
from napari_promptable.predict.explanation import EncoderAttention, FloatArray
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.progress import IsCancelled
from napari_promptable.transforms import resized_shape, to_rgb8


def has_encoder_attention(model: PromptableModel) -> bool:
    """Whether `explain_encoder` works with a model."""
    return bool(global_blocks(model.sam.image_encoder))


@torch.inference_mode()
def explain_encoder(
    model: PromptableModel,
    image: npt.ArrayLike,
    position_yx: npt.ArrayLike,
    contrast_limits: tuple[float, float] | None = None,
    *,
    is_cancelled: IsCancelled | None = None,
) -> EncoderAttention:
    """Show what the cell at a position attends to while the image is encoded.

    The image is encoded once more, which takes as long as `encode_image`.

    Parameters
    ----------
    model : PromptableModel
        With ViT-B, ViT-L, ViT-H or SAM 2.1's Hiera, whose cells attend to the whole image.
    image, contrast_limits, is_cancelled
        As for `encode_image`.
    position_yx : array_like of float, shape (2,)
        (row, col) in image pixels.

    Returns
    -------
    EncoderAttention
        The same weights as in the pass that encodes the image.

    Raises
    ------
    UnknownModelError
        If the model's encoder has no attention over the whole image.
    PromptError
        If the position lies outside the image.
    ImageFormatError, CancelledError
        As in `encode_image`.
    """
    if not has_encoder_attention(model):
        raise UnknownModelError(
            f"the image encoder of {model.name} has no attention over the whole image; choose "
            "a model with ViT-B, ViT-L or ViT-H, or of SAM 2.1"
        )
    rgb = to_rgb8(image, contrast_limits)
    size, stride = (rgb.shape[0], rgb.shape[1]), model.sam.patch_stride
    side = model.sam.image_size
    shown = (side, side) if model.sam.squashes_images else resized_shape(size, side)
    zoom = np.array(shown) / size
    origin, cell_size = (0.5 * stride - 0.5) / zoom, stride / zoom
    row, column = _find_cell(position_yx, size, origin, cell_size)
    with record_cell(model.sam.image_encoder, row, column) as weights:
        encode_rgb(model.sam, model.model_id, rgb, is_cancelled)
    found = [each.float().cpu().numpy() for each in weights.values()]
    return EncoderAttention((row, column), tuple(weights), np.stack(found), origin, cell_size)


def _find_cell(
    position_yx: npt.ArrayLike, size: tuple[int, int], origin: FloatArray, cell_size: FloatArray
) -> tuple[int, int]:
    """Row and column of the cell at a position. PromptError outside the image."""
    position = np.asarray(position_yx, float)
    if (
        position.shape != (2,)
        or not ((position > -0.5) & (position < np.array(size) - 0.5)).all()
    ):
        raise PromptError(
            f"the position {position.tolist()} is not in an image of {size[0]} x {size[1]} "
            "pixels; give (row, col) inside it"
        )
    row, column = np.maximum(np.floor((position - origin) / cell_size + 0.5), 0).astype(int)
    return int(row), int(column)
