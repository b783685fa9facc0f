"""The whole Segment Anything Model, and functions that build it in any size.

Source: "Segment Anything" (SAM), arXiv 2304.02643; sizes of the encoders from its appendix A
and from MobileSAM, arXiv 2306.14289.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from napari_promptable.models.conv_encoder import ConvEncoder
from napari_promptable.models.instance_head import InstanceHead
from napari_promptable.models.mask_decoder import MaskDecoder, TwoWayTransformer
from napari_promptable.models.prompt_encoder import PromptEncoder, Window
from napari_promptable.models.size_head import SizeHead
from napari_promptable.models.tiny_vit import TinyViTEncoder
from napari_promptable.models.vit import ViTEncoder

_PIXEL_MEAN = (123.675, 116.28, 103.53)  # of ImageNet in 8-bit RGB, as SAM uses them
_PIXEL_STD = (58.395, 57.12, 57.375)


class ObjectMasks(NamedTuple):
    """All four masks of N objects.

    Attributes
    ----------
    logits : Tensor, shape (N, 4, h, w)
        Unthresholded masks; positive is foreground.
    predicted_iou : Tensor, shape (N, 4)
        Predicted IoU of each mask.
    object_score : Tensor, shape (N,), or None
        Positive where the object is in the image; None from networks that do not say.
    """

    logits: Tensor
    predicted_iou: Tensor
    object_score: Tensor | None


class Sam(nn.Module):
    """Image encoder, prompt encoder and mask decoder.

    Attributes
    ----------
    image_size : int
        Side of the network's input in pixels; the longest side of an image is resized to it.
    patch_stride : int
        Input pixels per cell of the image embedding.
    padding_multiple : int
        Inputs are padded on the bottom and right to a multiple of this many pixels.
    tile_size : int or None
        Side in pixels of the parts of the input that the decoder is shown, each at the zoom
        that suits the object; None for a decoder that is shown the whole image.
    with_second_look : bool
        Whether the decoder is shown its best mask once more, as an earlier answer.
    instance_head : InstanceHead or None
        Maps of all objects at once; None for networks without.
    with_carried_masks : bool
        Whether it finds an object better by its mask on a neighbouring slice than by a box.
    compares_levels : bool
        Whether the surest of the three levels answers a bare click; otherwise the mask that
        answers clear prompts does.
    squashes_images : bool
        Whether images of any size are squashed to a square by `encode`; SAM keeps their sides'
        ratio, and is given resized ones.
    pads_boxes : bool
        Whether a padding point follows a box, too; SAM leaves it out.
    precision : torch.dtype
        Of the products in image encoder and mask decoder, by autocast; float32 unless it is
        set. Weights, prompts, norms' statistics and answers are float32 in any case.

    Parameters
    ----------
    image_encoder : torch.nn.Module
        Maps (N, 3, H, W) to (N, C, H / stride, W / stride).
    prompt_encoder : PromptEncoder
        Maps prompts to embeddings.
    mask_decoder : MaskDecoder
        Maps both to masks.
    padding_multiple : int, optional
        As above; by default `image_size`, so that every input is a square.
    tile_size : int, optional
        As above; by default None.
    size_head : SizeHead, optional
        Estimates object sizes; needed with `tile_size`.
    with_second_look : bool, default False
        As above.
    instance_head : InstanceHead, optional
        As above; by default None.
    with_carried_masks : bool, default False
        As above.
    compares_levels : bool, default True
        As above.
    """

    mask_threshold = 0.0
    squashes_images = False
    pads_boxes = False
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        padding_multiple: int | None = None,
        tile_size: int | None = None,
        size_head: SizeHead | None = None,
        with_second_look: bool = False,
        instance_head: InstanceHead | None = None,
        with_carried_masks: bool = False,
        compares_levels: bool = True,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.image_size = prompt_encoder.input_image_size[0]
        self.patch_stride = self.image_size // prompt_encoder.image_embedding_size[0]
        self.padding_multiple = padding_multiple or self.image_size
        self.tile_size = tile_size
        self.size_head = size_head
        self.with_second_look = with_second_look
        self.instance_head = instance_head
        self.with_carried_masks = with_carried_masks
        self.compares_levels = compares_levels
        self.precision = torch.float32
        for name, values in (("pixel_mean", _PIXEL_MEAN), ("pixel_std", _PIXEL_STD)):
            # They are in no checkpoint: real numbers even if the model is built on "meta".
            constants = torch.tensor(values, device="cpu").view(-1, 1, 1)
            self.register_buffer(name, constants, persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.pixel_mean.device

    def normalise(self, image: Tensor) -> Tensor:
        """Bring RGB values, 0 to 255, to the range that the encoder is trained on."""
        return (image - self.pixel_mean) / self.pixel_std

    def preprocess(self, image: Tensor) -> Tensor:
        """Normalise and pad resized images.

        Parameters
        ----------
        image : Tensor, shape (N, 3, H, W)
            RGB, 0 to 255; the longest side is `image_size`.

        Returns
        -------
        Tensor, shape (N, 3, H', W')
            H' and W' are the next multiples of `padding_multiple`, and at least `tile_size`;
            padding is zero.
        """
        image = self.normalise(image)
        step, least = self.padding_multiple, self.tile_size or 0
        bottom, right = (max(least - n, -n % step) for n in image.shape[-2:])
        return nn.functional.pad(image, (0, right, 0, bottom))

    def encode(self, image: Tensor) -> Tensor:
        """Encode resized images (see `preprocess`). Returns (N, C, rows, columns)."""
        image = self.preprocess(image)
        with self._autocast():
            features: Tensor = self.image_encoder(image)
        return features.float()

    def _autocast(self) -> AbstractContextManager[object]:
        """Lower the precision, or leave it as it is."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.precision)

    def decode(
        self,
        image_embedding: Tensor,
        points_xy: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor | None = None,
        window: Window | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Answer prompts with four masks each.

        Parameters
        ----------
        image_embedding : Tensor, shape (N or 1, C, rows, columns)
            From `encode`.
        points_xy, point_labels, mask_logits
            Prompts in input pixels, see `PromptEncoder.forward`.
        window : (top, left, rows, columns), optional
            Where in the network's input the embedding lies, in cells; its top-left corner by
            default.

        Returns
        -------
        low_res_logits : Tensor, shape (N, 4, 4 * rows, 4 * columns)
            Unthresholded masks.
        predicted_iou : Tensor, shape (N, 4)
            Predicted IoU of each mask.
        """
        rows, columns = image_embedding.shape[-2:]
        window = window or (0, 0, rows, columns)
        sparse, dense = self.prompt_encoder(points_xy, point_labels, mask_logits, window)
        image_pe = self.prompt_encoder.dense_positional_encoding(window)
        with self._autocast():  # not the positions: 8 bits are too few for a pixel in 1024
            logits, predicted_iou = self.mask_decoder(image_embedding, image_pe, sparse, dense)
        return logits.float(), predicted_iou.float()

    def find_objects(
        self,
        image_embedding: Tensor,
        points_xy: Tensor,
        point_labels: Tensor,
        mask_logits: Tensor | None = None,
        window: Window | None = None,
    ) -> ObjectMasks:
        """Answer prompts, and say whether the objects are there. See `decode`."""
        logits, predicted_iou = self.decode(
            image_embedding, points_xy, point_labels, mask_logits, window
        )
        return ObjectMasks(logits, predicted_iou, None)


def build_tiny_sam(
    width: int = 128,
    encoder_widths: Sequence[int] = (48, 96, 192, 320),
    encoder_depths: Sequence[int] = (2, 3, 6, 2),
    with_details: bool = True,
    with_instance_maps: bool = True,
    with_quality_head: bool = True,
    with_carried_masks: bool = False,
    compares_levels: bool = False,
) -> Sam:
    """Build a small SAM: convolutional encoder, input of 512 pixels, stride 8.

    The defaults build the second generation of the bundled model, "conv_tiny_2".

    Parameters
    ----------
    width : int, default 128
        Channels of the image embedding and of the decoder, a multiple of 32.
    encoder_widths, encoder_depths
        Layout of the image encoder, see `ConvEncoder`.
    with_details : bool, default True
        Whether the decoder also sees features of stride 4.
    with_instance_maps : bool, default True
        Whether there is a head that maps all objects at once.
    with_quality_head : bool, default True
        Whether predicted IoUs depend on features under the masks.
    with_carried_masks : bool, default False
        Whether propagation shows it masks of neighbouring slices; off until weights are shipped
        with which that is better than boxes.
    compares_levels : bool, default False
        As of `Sam`; the first generation needs it.

    Returns
    -------
    Sam
        In training mode, with random weights, on the CPU.
    """
    image_size, stride = 512, 8
    grid = (image_size // stride, image_size // stride)
    return Sam(
        ConvEncoder(encoder_widths, encoder_depths, width, width // 4 if with_details else 0),
        PromptEncoder(
            width, grid, (image_size, image_size), mask_in_chans=32, with_prompt_maps=True
        ),
        MaskDecoder(
            width,
            TwoWayTransformer(depth=2, embed_dim=width, num_heads=4, mlp_dim=4 * width),
            iou_head_hidden_dim=width,
            fusion_depth=2,
            with_details=with_details,
            with_quality_head=with_quality_head,
        ),
        padding_multiple=32,
        tile_size=256,
        size_head=SizeHead(width),
        with_second_look=True,
        instance_head=InstanceHead(width) if with_instance_maps else None,
        with_carried_masks=with_carried_masks,
        compares_levels=compares_levels,
    )


def build_vit_sam(
    embed_dim: int,
    depth: int,
    num_heads: int,
    global_attn_indexes: Collection[int],
    image_size: int = 1024,
) -> Sam:
    """Build SAM around a vision transformer of any size, with random weights.

    Parameters
    ----------
    embed_dim, depth, num_heads, global_attn_indexes
        Layout of the image encoder, see `ViTEncoder`.
    image_size : int, default 1024
        Side of the network's input in pixels, a multiple of 16.

    Returns
    -------
    Sam
        In training mode, on the CPU.
    """
    encoder = ViTEncoder(embed_dim, depth, num_heads, global_attn_indexes, image_size)
    return _complete_sam(encoder, image_size)


def build_mobile_sam() -> Sam:
    """Build MobileSAM: SAM with another image encoder."""
    return _complete_sam(TinyViTEncoder(), image_size=1024)


def _complete_sam(image_encoder: nn.Module, image_size: int) -> Sam:
    """Give an image encoder of stride 16 SAM's own prompt encoder and mask decoder."""
    width, stride = 256, 16
    grid = (image_size // stride, image_size // stride)
    return Sam(
        image_encoder,
        PromptEncoder(width, grid, (image_size, image_size), mask_in_chans=16),
        MaskDecoder(
            width,
            TwoWayTransformer(depth=2, embed_dim=width, num_heads=8, mlp_dim=2048),
            iou_head_hidden_dim=256,
        ),
    )
