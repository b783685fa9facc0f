"""Prepare a network for inference on a CPU: same answers, but for rounding, in less time.

The parts that cost time are exchanged for others that compute the same thing in another order,
or with constants worked out beforehand; everything around them stays the code it is. The
network cannot be trained or moved to another device afterwards.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_promptable.models.cpu.attention import (
    ImageToTokenAttention,
    TokenToImageAttention,
)
from napari_promptable.models.cpu.cells import Cells
from napari_promptable.models.cpu.hiera import HieraPlan
from napari_promptable.models.cpu.packed import (
    GeluConvolution,
    PackedBottleneck,
    PackedConvBlock,
    PackedLayer,
    PackedPatchUp,
    PackedPerceptron,
    PackedPointwise,
    PackedTransition,
)
from napari_promptable.models.cpu.vit import ViTPlan
from napari_promptable.models.layers import ConvBlock, PatchUp
from napari_promptable.models.mask_decoder import (
    Attention,
    ImageAttention,
    MaskDecoder,
    TwoWayAttentionBlock,
)
from napari_promptable.models.sam import Sam
from napari_promptable.models.sam2.fpn_neck import FpnNeck
from napari_promptable.models.sam2.hiera import Hiera
from napari_promptable.models.sam2.mask_decoder import Sam2MaskDecoder
from napari_promptable.models.sam2.sam2 import Sam2
from napari_promptable.models.tiny_vit import InvertedBottleneck, Perceptron, Transition
from napari_promptable.models.vit import ViTEncoder

_CELLS = 4096  # of an image embedding, for which products are laid out
_CELLS_AT_ONCE = 512  # in the decoder; they are 0.5 MB in SAM, 8 MB when upscaled

_PACKED: dict[type[nn.Module], Callable[..., nn.Module]] = {
    ConvBlock: PackedConvBlock,
    InvertedBottleneck: PackedBottleneck,
    Transition: PackedTransition,
    Perceptron: PackedPerceptron,
    nn.Linear: PackedLayer,
    nn.Conv2d: PackedPointwise,
}
"""What takes the place of what; the first kind that fits counts."""


@torch.no_grad()
def prepare_for_inference(sam: Sam, packed: bool | None = None) -> Sam:
    """Exchange the parts of a network that cost time.

    Parameters
    ----------
    sam : Sam
        In evaluation mode, on the CPU, in float32; it is changed.
    packed : bool, optional
        Whether to use oneDNN's own layout of weights; by default if it works here, see
        `PackedLinear`.

    Returns
    -------
    Sam
        The same object.
    """
    fold_batch_norms(sam)
    if isinstance(sam.image_encoder, ViTEncoder):
        sam.image_encoder = ViTPlan(sam.image_encoder, packed)
    elif isinstance(sam, Sam2):
        _prepare_hiera(sam, packed)
    else:
        pack_layers(sam.image_encoder, packed)
        sam.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sam.prompt_encoder.keep_positional_encodings()
    _prepare_decoder(sam.mask_decoder, packed)
    if sam.instance_head is not None:
        pack_layers(sam.instance_head, packed)
    return sam


def _prepare_hiera(sam: Sam2, packed: bool | None) -> None:
    """Exchange SAM 2's image encoder; it takes over the decoder's view of the fine levels."""
    trunk, neck = (
        sam.image_encoder.get_submodule("trunk"),
        sam.image_encoder.get_submodule("neck"),
    )
    assert isinstance(trunk, Hiera) and isinstance(neck, FpnNeck)
    decoder = sam.mask_decoder
    assert isinstance(decoder.conv_s0, nn.Conv2d) and isinstance(decoder.conv_s1, nn.Conv2d)
    details = (decoder.conv_s0, decoder.conv_s1)
    sam.image_encoder = HieraPlan(trunk, neck, details, sam.image_size, packed)
    decoder.conv_s0, decoder.conv_s1 = nn.Identity(), nn.Identity()


def pack_layers(network: nn.Module, packed: bool | None) -> None:
    """Exchange the layers inside a network for packed ones."""
    if isinstance(network, nn.Sequential):
        _fuse_gelus(network, packed)
    for name, layer in network.named_children():
        for kind, exchange in _PACKED.items():
            if isinstance(layer, kind) and _is_packable(layer):
                setattr(network, name, exchange(layer, _CELLS, packed))
                break
        else:
            if not isinstance(layer, GeluConvolution):  # already prepared
                pack_layers(layer, packed)


def _fuse_gelus(sequence: nn.Sequential, packed: bool | None) -> None:
    """Join convolutions with the GELU that follows them."""
    layers = [(n, part) for n, part in sequence.named_children() if not _is_idle(part)]
    for (name, layer), (next_name, next_layer) in pairwise(layers):
        if isinstance(next_layer, nn.GELU):
            setattr(sequence, name, GeluConvolution(layer, packed))
            setattr(sequence, next_name, nn.Identity())


def _is_idle(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Identity)


def _is_packable(layer: nn.Module) -> bool:
    """Whether a layer maps pixels one by one, if it is a convolution."""
    if not isinstance(layer, nn.Conv2d):
        return True
    return layer.kernel_size == layer.stride == (1, 1) and layer.groups == 1


def _prepare_decoder(decoder: MaskDecoder, packed: bool | None) -> None:
    """Exchange the attention between tokens and cells, the fusion and the upscaling."""
    pack_layers(decoder.fusion, packed)
    cells = decoder.cells = Cells(_CELLS_AT_ONCE)
    transformer = decoder.transformer
    for block in transformer.layers:
        assert isinstance(block, TwoWayAttentionBlock)
        block.cells = cells
        block.cross_attn_token_to_image = _prepare_look(block.cross_attn_token_to_image, cells)
        to_tokens = block.cross_attn_image_to_token
        assert isinstance(to_tokens, Attention)
        block.cross_attn_image_to_token = ImageToTokenAttention(to_tokens)
    transformer.final_attn_token_to_image = _prepare_look(
        transformer.final_attn_token_to_image, cells
    )
    first, norm, gelu, second, last_gelu = decoder.output_upscaling
    assert isinstance(first, PatchUp) and isinstance(second, PatchUp)
    adds_to_second = isinstance(decoder, Sam2MaskDecoder)  # details, before the last GELU
    decoder.output_upscaling = nn.Sequential(
        PackedPatchUp(first, _CELLS_AT_ONCE, with_gelu=False, packed=packed),
        norm,
        gelu,
        PackedPatchUp(second, 4 * _CELLS_AT_ONCE, with_gelu=not adds_to_second, packed=packed),
        last_gelu if adds_to_second else nn.Identity(),
    )


def _prepare_look(attention: nn.Module, cells: Cells) -> TokenToImageAttention:
    """Prepare a layer in which tokens look at the image."""
    assert isinstance(attention, ImageAttention)
    return TokenToImageAttention(attention, cells)


def fold_batch_norms(network: nn.Module) -> None:
    """Multiply batch norms, and gains of residual blocks, into convolutions beside them."""
    for part in network.modules():
        if isinstance(part, ConvBlock):
            assert isinstance(part.norm, nn.BatchNorm2d) and part.project.bias is not None
            part.depthwise = fuse_conv_bn_eval(part.depthwise, part.norm)
            part.norm = nn.Identity()
            gain = part.gain.detach()
            part.project.weight = _frozen(part.project.weight * gain[..., None])
            part.project.bias = _frozen(part.project.bias * gain.flatten())
            part.gain = _frozen(torch.ones_like(gain))
        elif isinstance(part, nn.Sequential):
            _fold_in_sequence(part)


def _fold_in_sequence(sequence: nn.Sequential) -> None:
    """Fold each batch norm that follows a convolution."""
    for (name, layer), (next_name, next_layer) in pairwise(sequence.named_children()):
        if isinstance(layer, nn.Conv2d) and isinstance(next_layer, nn.BatchNorm2d):
            setattr(sequence, name, fuse_conv_bn_eval(layer, next_layer))
            setattr(sequence, next_name, nn.Identity())


def _frozen(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)
