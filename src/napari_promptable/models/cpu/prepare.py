"""Prepare a network for inference on a CPU: the same answers, up to rounding, in less time.

The parts that cost time are exchanged for others that compute the same thing in another order,
or with constants computed once. The rest of the network runs its plain code. A prepared network
can no longer be trained or moved to another device.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_promptable.models.cpu.decoder import (
    HypernetworksPlan,
    MapDownscaling,
    MaskUpscalingPlan,
    TwoWayTransformerPlan,
)
from napari_promptable.models.cpu.hiera import HieraPlan
from napari_promptable.models.cpu.memory_attention import RotaryAttentionPlan
from napari_promptable.models.cpu.packed import (
    GeluConvolution,
    PackedBottleneck,
    PackedConvBlock,
    PackedLayer,
    PackedPerceptron,
    PackedPointwise,
    PackedTransition,
)
from napari_promptable.models.cpu.vit import ViTPlan
from napari_promptable.models.layers import ConvBlock
from napari_promptable.models.mask_decoder import (
    Hypernetworks,
    MaskUpscaling,
    TwoWayTransformer,
)
from napari_promptable.models.sam import Sam
from napari_promptable.models.sam2.fpn_neck import FpnNeck
from napari_promptable.models.sam2.hiera import Hiera
from napari_promptable.models.sam2.memory_attention import RotaryAttention
from napari_promptable.models.sam2.sam2 import Sam2
from napari_promptable.models.tiny_vit import InvertedBottleneck, Perceptron, Transition
from napari_promptable.models.vit import ViTEncoder

_CELLS = 4096  # of an image embedding, for which products are laid out

_PACKED: dict[type[nn.Module], Callable[..., nn.Module]] = {
    ConvBlock: PackedConvBlock,
    InvertedBottleneck: PackedBottleneck,
    Transition: PackedTransition,
    Perceptron: PackedPerceptron,
    nn.Linear: PackedLayer,
    nn.Conv2d: PackedPointwise,
}
"""Replacements by kind of layer; the first kind that fits counts."""


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
    fold_batch_norms(sam.image_encoder)
    if isinstance(sam.image_encoder, ViTEncoder):
        sam.image_encoder = ViTPlan(sam.image_encoder, packed)
    elif isinstance(sam, Sam2):
        _prepare_sam2(sam, packed)
    else:
        pack_layers(sam.image_encoder, packed)
        sam.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return prepare_decoder(sam, packed)


@torch.no_grad()
def prepare_decoder(sam: Sam, packed: bool | None = None) -> Sam:
    """Prepare everything but the image encoder. See `prepare_for_inference`."""
    for name, part in sam.named_children():
        if name != "image_encoder":
            fold_batch_norms(part)
    prompt_encoder, decoder = sam.prompt_encoder, sam.mask_decoder
    assert isinstance(prompt_encoder.mask_downscaling, nn.Sequential)
    prompt_encoder.mask_downscaling = MapDownscaling(prompt_encoder.mask_downscaling)
    prompt_encoder.keep_positional_encodings()
    assert isinstance(decoder.transformer, TwoWayTransformer)
    assert isinstance(decoder.output_upscaling, MaskUpscaling)
    pack_layers(decoder.fusion, packed)
    num_outputs = len(decoder.output_tokens)
    decoder.transformer = TwoWayTransformerPlan(decoder.transformer, num_outputs, packed)
    decoder.output_upscaling = MaskUpscalingPlan(decoder.output_upscaling, packed)
    assert isinstance(decoder.output_hypernetworks_mlps, Hypernetworks)
    decoder.output_hypernetworks_mlps = HypernetworksPlan(decoder.output_hypernetworks_mlps)
    if sam.instance_head is not None:
        pack_layers(sam.instance_head, packed)
    return sam


def _prepare_sam2(sam: Sam2, packed: bool | None) -> None:
    """Exchange SAM 2's image encoder and memory attention.

    The encoder takes over the decoder's view of the fine levels.
    """
    trunk, neck = (sam.image_encoder.get_submodule(part) for part in ("trunk", "neck"))
    assert isinstance(trunk, Hiera) and isinstance(neck, FpnNeck)
    decoder = sam.mask_decoder
    assert isinstance(decoder.conv_s0, nn.Conv2d) and isinstance(decoder.conv_s1, nn.Conv2d)
    details = (decoder.conv_s0, decoder.conv_s1)
    sam.image_encoder = HieraPlan(trunk, neck, details, sam.image_size, packed)
    decoder.conv_s0, decoder.conv_s1 = nn.Identity(), nn.Identity()
    for layer in sam.memory_attention.layers:
        for name in ("self_attn", "cross_attn_image"):
            attention = layer.get_submodule(name)
            assert isinstance(attention, RotaryAttention)
            setattr(layer, name, RotaryAttentionPlan(attention, packed))
    pack_layers(sam.memory_attention, packed)


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
