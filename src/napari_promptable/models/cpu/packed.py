"""Layers whose linear maps and 1 × 1 convolutions are packed products, for inference.

Each takes the place of a layer of the networks, is made from it, and gives the same answer but
for rounding. Batch norms have been folded into convolutions before. Feature maps are
(N, C, H, W) in memory that holds the channels of a pixel together, so that a map is a matrix
with a row per pixel.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.cpu.packed_linear import PackedLinear, can_pack, convolve_gelu
from napari_promptable.models.layers import ConvBlock, PatchUp
from napari_promptable.models.tiny_vit import InvertedBottleneck, Perceptron, Transition


def to_rows(feature_map: Tensor) -> Tensor:
    """(N, C, H, W) → (N × H × W, C)."""
    return feature_map.permute(0, 2, 3, 1).flatten(0, 2)


def to_map(rows: Tensor, like: Tensor) -> Tensor:
    """(N × H × W, C) → (N, C, H, W), with N, H and W of another map."""
    n, _, height, width = like.shape
    return rows.view(n, height, width, -1).permute(0, 3, 1, 2)


def pack_convolution(layer: nn.Module, rows: int, packed: bool | None) -> PackedLinear:
    """Pack a 1 × 1 convolution, or a sequence of one and of what does nothing."""
    convolution = layer[0] if isinstance(layer, nn.Sequential) else layer
    assert isinstance(convolution, nn.Conv2d)
    return PackedLinear(convolution.weight.flatten(1), convolution.bias, rows, packed)


class GeluConvolution(nn.Module):
    """A convolution of any kind and the GELU that follows it, in one pass over memory.

    Parameters
    ----------
    layer : torch.nn.Module
        A convolution, or a sequence of one and of what does nothing.
    packed : bool, optional
        Whether oneDNN does both, see `PackedLinear`.
    """

    def __init__(self, layer: nn.Module, packed: bool | None) -> None:
        super().__init__()
        convolution = layer[0] if isinstance(layer, nn.Sequential) else layer
        assert isinstance(convolution, nn.Conv2d)
        self.convolution = convolution
        self.packed = can_pack() if packed is None else packed

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H', W')."""
        layer = self.convolution
        if not self.packed:
            return F.gelu(layer(x))
        return convolve_gelu(x, layer)


class PackedPointwise(nn.Module):
    """A 1 × 1 convolution.

    Parameters
    ----------
    layer : Conv2d
        The layer to prepare.
    rows : int
        About how many pixels it is given.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(self, layer: nn.Conv2d, rows: int, packed: bool | None) -> None:
        super().__init__()
        self.product = pack_convolution(layer, rows, packed)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H, W)."""
        return to_map(self.product(to_rows(x)), like=x)


class PackedConvBlock(nn.Module):
    """`ConvBlock`.

    Parameters
    ----------
    block : ConvBlock
        The layer to prepare.
    rows : int
        About how many pixels it is given.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(self, block: ConvBlock, rows: int, packed: bool | None) -> None:
        super().__init__()
        self.depthwise = block.depthwise
        self.expand = pack_convolution(block.expand, rows, packed)
        self.project = pack_convolution(block.project, rows, packed)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        hidden = self.expand.gelu(to_rows(self.depthwise(x)))
        return to_map(self.project.add(hidden, to_rows(x)), like=x)


class PackedBottleneck(nn.Module):
    """`InvertedBottleneck` of TinyViT.

    Parameters
    ----------
    block : InvertedBottleneck
        The layer to prepare.
    rows : int
        About how many pixels it is given.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(self, block: InvertedBottleneck, rows: int, packed: bool | None) -> None:
        super().__init__()
        self.conv1 = pack_convolution(block.conv1, rows, packed)
        self.conv2 = GeluConvolution(block.conv2, packed)
        self.conv3 = pack_convolution(block.conv3, rows, packed)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        wide = self.conv2(to_map(self.conv1.gelu(to_rows(x)), like=x))
        return to_map(F.gelu(self.conv3.add(to_rows(wide), to_rows(x))), like=x)


class PackedTransition(nn.Module):
    """`Transition` of TinyViT.

    Parameters
    ----------
    layer : Transition
        The layer to prepare.
    rows : int
        About how many pixels it is given.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(self, layer: Transition, rows: int, packed: bool | None) -> None:
        super().__init__()
        self.conv1 = pack_convolution(layer.conv1, rows, packed)
        self.conv2 = GeluConvolution(layer.conv2, packed)
        self.conv3 = pack_convolution(layer.conv3, rows, packed)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H / stride, W / stride)."""
        y = self.conv2(to_map(self.conv1.gelu(to_rows(x)), like=x))
        return to_map(self.conv3(to_rows(y)), like=y)


class PackedLayer(nn.Module):
    """`Linear` on any number of leading axes, as a packed product.

    Parameters
    ----------
    layer : Linear
        The layer to prepare.
    rows : int
        About how many rows it is given.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(self, layer: nn.Linear, rows: int, packed: bool | None) -> None:
        super().__init__()
        self.product = PackedLinear.of(layer, rows, packed)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        flat: Tensor = self.product(x.flatten(0, -2))
        return flat.view(*x.shape[:-1], -1)


class PackedPerceptron(nn.Module):
    """`Perceptron` of TinyViT, as packed products.

    Parameters
    ----------
    layer : Perceptron
        The layer to prepare.
    rows : int
        About how many rows it is given.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(self, layer: Perceptron, rows: int, packed: bool | None) -> None:
        super().__init__()
        self.norm = layer.norm
        self.fc1 = PackedLinear.of(layer.fc1, rows, packed)
        self.fc2 = PackedLinear.of(layer.fc2, rows, packed)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to the same shape."""
        hidden = self.fc1.gelu(self.norm(x).flatten(0, -2))
        return self.fc2(hidden).view(x.shape)


class PackedPatchUp(nn.Module):
    """`PatchUp`, with the GELU that follows it or without, as a packed product.

    Parameters
    ----------
    layer : PatchUp
        The layer to prepare.
    rows : int
        About how many cells it is given.
    with_gelu : bool
        Whether a GELU follows.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(self, layer: PatchUp, rows: int, with_gelu: bool, packed: bool | None) -> None:
        super().__init__()
        weight = layer.weight.detach().permute(2, 3, 1, 0).flatten(0, 2)
        assert layer.bias is not None
        linear = PackedLinear(weight, layer.bias.detach().repeat(4), rows, packed)
        self.product = linear.gelu if with_gelu else linear

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., 2, 2, C')."""
        patches: Tensor = self.product(x.reshape(-1, x.shape[-1]))
        return patches.reshape(*x.shape[:-1], 2, 2, -1)
