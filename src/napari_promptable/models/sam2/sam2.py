"""The whole of SAM 2.1: what it does with one image, and with the memory of others.

Source: "SAM 2: Segment Anything in Images and Videos", arXiv 2408.00714; sizes and constants
from the configurations that the authors published with the weights of SAM 2.1.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.layers import MLP
from napari_promptable.models.mask_decoder import TwoWayTransformer
from napari_promptable.models.prompt_encoder import PromptEncoder, Window
from napari_promptable.models.sam import ObjectMasks, Sam
from napari_promptable.models.sam2.fpn_neck import FpnNeck
from napari_promptable.models.sam2.hiera import Hiera, HieraLayout
from napari_promptable.models.sam2.mask_decoder import (
    DecodedObjects,
    Sam2MaskDecoder,
    replace_unstable,
)
from napari_promptable.models.sam2.memory_attention import MemoryAttention
from napari_promptable.models.sam2.memory_encoder import MemoryEncoder

_MEMORY_SLOTS = 7  # of a spatial memory: six distances in time, and any prompted frame
_WIDTH, _MEMORY_WIDTH = 256, 64
_STRIDE = 16
ABSENT_LOGIT = -1024.0  # everywhere in the mask of an object that is not there
_LOGIT_LIMIT = 32.0
_MASK_SCALE, _MASK_SHIFT = 20.0, -10.0  # of probabilities, for the memory encoder


class Sam2(Sam):
    """Image encoder, prompt encoder, mask decoder and memory.

    Images are squashed to a square. The image embedding holds three levels, see
    `Sam2MaskDecoder.fold_levels`.

    Parameters
    ----------
    layout : HieraLayout
        Size of the image encoder.
    image_size : int, default 1024
        Side of the network's input in pixels.
    """

    squashes_images = True
    pads_boxes = True
    maskmem_tpos_enc: Tensor
    no_mem_embed: Tensor
    no_mem_pos_enc: Tensor  # published with the weights, though SAM 2.1 does not use it
    no_obj_ptr: Tensor
    no_obj_embed_spatial: Tensor
    mask_decoder: Sam2MaskDecoder

    def __init__(self, layout: HieraLayout, image_size: int = 1024) -> None:
        grid = (image_size // _STRIDE, image_size // _STRIDE)
        super().__init__(
            nn.Sequential(
                OrderedDict(trunk=Hiera(layout), neck=FpnNeck(layout.widths, _WIDTH))
            ),
            PromptEncoder(_WIDTH, grid, (image_size, image_size), mask_in_chans=16),
            Sam2MaskDecoder(
                _WIDTH,
                TwoWayTransformer(depth=2, embed_dim=_WIDTH, num_heads=8, mlp_dim=2048),
            ),
        )
        self.memory_attention = MemoryAttention(_WIDTH, _MEMORY_WIDTH, mlp_dim=2048, depth=4)
        self.memory_encoder = MemoryEncoder(_WIDTH, _MEMORY_WIDTH)
        self.mask_downsample = nn.Conv2d(1, 1, kernel_size=4, stride=4)
        self.obj_ptr_proj = MLP(_WIDTH, _WIDTH, _WIDTH, 3)
        self.obj_ptr_tpos_proj = nn.Linear(_WIDTH, _MEMORY_WIDTH)
        for name, shape in (
            ("maskmem_tpos_enc", (_MEMORY_SLOTS, 1, 1, _MEMORY_WIDTH)),
            ("no_mem_embed", (1, 1, _WIDTH)),
            ("no_mem_pos_enc", (1, 1, _WIDTH)),
            ("no_obj_ptr", (1, _WIDTH)),
            ("no_obj_embed_spatial", (1, _MEMORY_WIDTH)),
        ):
            parameter = nn.Parameter(nn.init.normal_(torch.empty(shape), std=0.02))
            self.register_parameter(name, parameter)

    @property
    def logits_size(self) -> tuple[int, int]:
        """Height and width of masks before they are brought to image pixels."""
        rows, columns = self.prompt_encoder.image_embedding_size
        return 4 * rows, 4 * columns

    def encode(self, image: Tensor) -> Tensor:
        """Encode images.

        Parameters
        ----------
        image : Tensor of float32, shape (N, 3, H, W)
            RGB, 0 to 255, of any size; they are squashed to the network's square input.

        Returns
        -------
        Tensor, shape (N, 4 * C, rows, columns)
            Image embeddings of three levels, see `Sam2MaskDecoder.fold_levels`.
        """
        square = (self.image_size, self.image_size)
        if image.shape[-2:] != square:
            image = F.interpolate(image, square, mode="bilinear", antialias=True)
        with self._autocast():
            levels = self.image_encoder(self.normalise(image))
            return self.mask_decoder.fold_levels(*levels).float()

    def decode(
        self,
        image_embedding: Tensor,
        points_xy: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor | None = None,
        window: Window | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Answer prompts with four masks each, wherever the objects are. See `Sam.decode`."""
        if mask_logits is not None:
            mask_logits = limit_logits(mask_logits)
        decoded = self.decode_objects(
            image_embedding, points_xy, point_labels, mask_logits, window
        )
        return decoded.logits, decoded.predicted_iou

    def find_objects(
        self,
        image_embedding: Tensor,
        points_xy: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor | None = None,
        window: Window | None = None,
    ) -> ObjectMasks:
        """Answer prompts. Masks of objects that are not there are empty and have an IoU of 0.

        Parameters as in `Sam.decode`.
        """
        if mask_logits is not None:
            mask_logits = limit_logits(mask_logits)
        decoded = self.decode_objects(
            image_embedding, points_xy, point_labels, mask_logits, window
        )
        logits, predicted_iou, score = (
            decoded.logits,
            decoded.predicted_iou,
            decoded.object_score,
        )
        is_there = score[:, None] > 0
        if not is_there.all():
            logits = torch.where(is_there[..., None, None], logits, ABSENT_LOGIT)
            predicted_iou = torch.where(is_there, predicted_iou, 0.0)
        return ObjectMasks(logits, predicted_iou, score)

    def decode_objects(
        self,
        image_embedding: Tensor,
        points_xy: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor | None = None,
        window: Window | None = None,
        *,
        is_conditioned: bool = False,
    ) -> DecodedObjects:
        """Answer prompts with four masks each, and say whether the object is there.

        Parameters
        ----------
        image_embedding, points_xy, point_labels, mask_logits, window
            As in `Sam.decode`.
        is_conditioned : bool, default False
            Whether the coarse level has looked at memories, see `recall`.

        Returns
        -------
        DecodedObjects
            Of N objects. In evaluation mode, mask 0 is the best of the others where it is not
            stable.
        """
        window = window or self.prompt_encoder.full_window
        sparse, dense = self.prompt_encoder(points_xy, point_labels, mask_logits, window)
        if not is_conditioned:
            dense = dense + self.no_mem_embed.reshape(1, -1, 1, 1)
        image_pe = self.prompt_encoder.dense_positional_encoding(window)
        with self._autocast():
            decoded = self.mask_decoder.decode_objects(image_embedding, image_pe, sparse, dense)
        decoded = DecodedObjects(*(part.float() for part in decoded))
        if self.training:
            return decoded
        logits, predicted_iou = replace_unstable(decoded.logits, decoded.predicted_iou)
        return decoded._replace(logits=logits, predicted_iou=predicted_iou)

    def recall(
        self, image_embedding: Tensor, memories: Tensor, positions: Tensor, num_pointers: int
    ) -> Tensor:
        """Let the coarse level of an image embedding look at memories.

        Parameters
        ----------
        image_embedding : Tensor, shape (N or 1, 4 * C, rows, columns)
            From `encode`.
        memories, positions, num_pointers
            As in `MemoryAttention.forward`.

        Returns
        -------
        Tensor, shape (N, 4 * C, rows, columns)
            Image embeddings whose coarse level is conditioned.
        """
        coarse, details = image_embedding.tensor_split([_WIDTH], dim=1)
        with self._autocast():
            conditioned = self.memory_attention(coarse, memories, positions, num_pointers)
        details = details.expand(len(conditioned), -1, -1, -1)
        return torch.cat([conditioned.float(), details], dim=1)

    def remember(
        self,
        image_embedding: Tensor,
        logits: Tensor,
        object_score: Tensor,
        *,
        is_prompted: bool,
    ) -> Tensor:
        """Turn masks into spatial memories.

        Parameters
        ----------
        image_embedding : Tensor, shape (N or 1, 4 * C, rows, columns)
            From `encode`, without any memory.
        logits : Tensor, shape (N, 1, 4 * rows, 4 * columns)
            Unthresholded masks.
        object_score : Tensor, shape (N,)
            Positive where the object is in the image.
        is_prompted : bool
            Whether a user's prompts led to the masks; they then are remembered thresholded, as
            the user saw them.

        Returns
        -------
        Tensor, shape (N, D, rows, columns)
            Spatial memories.
        """
        square = (self.image_size, self.image_size)
        masks = F.interpolate(logits, square, mode="bilinear")
        shares = (masks > self.mask_threshold).float() if is_prompted else masks.sigmoid()
        with self._autocast():
            memories = self.memory_encoder(
                image_embedding[:, :_WIDTH], shares * _MASK_SCALE + _MASK_SHIFT
            ).float()
        is_absent = (object_score <= 0).float().reshape(-1, 1, 1, 1)
        return memories + is_absent * self.no_obj_embed_spatial.reshape(1, -1, 1, 1)  # type: ignore[no-any-return]

    def point_to(self, mask_tokens: Tensor, object_score: Tensor) -> Tensor:
        """Turn the tokens of masks, (N, C), into object pointers, (N, C)."""
        pointers: Tensor = self.obj_ptr_proj(mask_tokens)
        return torch.where(object_score[:, None] > 0, pointers, self.no_obj_ptr)


def limit_logits(logits: Tensor) -> Tensor:
    """Limit earlier logits before they are asked about again, as the reference does."""
    return logits.clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)
