"""Layers whose linear maps and 1 × 1 convolutions are packed products, for inference.

torch holds the weights of a linear layer row by row, and its matrix product rearranges them
each time. oneDNN can rearrange them once and fuse the operation that follows, but torch offers
this to its own compiler only, under private names. So they are tried out before they are used;
where they are missing or wrong, public operations take their place.

Each layer here replaces a layer of the networks, is made from it, and gives the same answer up
to rounding. Batch norms have been folded into convolutions before. Feature maps are
(N, C, H, W) in memory that holds the channels of a pixel together, so that a map is a matrix
with a row per pixel.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.layers import ConvBlock
from napari_promptable.models.tiny_vit import InvertedBottleneck, Perceptron, Transition

_TRIAL = (3, 16, 32)  # rows, inputs and outputs of the trial product
_TOLERANCE = 1e-4


class PackedLinear:
    """A linear layer, ``x @ weight.T + bias``, for inference on the CPU.

    Parameters
    ----------
    weight : Tensor of float32, shape (outputs, inputs)
        When packed, it is no longer needed.
    bias : Tensor of float32, shape (outputs,), or None
        Added to every row.
    rows : int
        About how many rows x will have; the layout is chosen for it.
    packed : bool, optional
        Whether to use oneDNN's own layout; by default if it works here.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, rows: int, packed: bool | None = None
    ) -> None:
        self.packed = can_pack() if packed is None else packed
        self.bias = None if bias is None else bias.detach()
        weight = weight.detach()
        self.weight = _pack(weight, rows) if self.packed else weight

    @classmethod
    def of(cls, layer: nn.Linear, rows: int, packed: bool | None = None) -> PackedLinear:
        """Take weights and bias from a layer, and from the layer its weights once packed."""
        linear = cls(layer.weight, layer.bias, rows, packed)
        if linear.packed:  # so that they are not held twice
            layer.register_parameter("weight", None)
        return linear

    def __call__(self, x: Tensor) -> Tensor:
        """Map (rows, inputs) to (rows, outputs)."""
        if self.packed:
            return _packed_product(x, self.weight, self.bias, "none")
        return F.linear(x, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        """Map (rows, inputs) to (rows, outputs), followed by an exact GELU."""
        if self.packed:
            return _packed_product(x, self.weight, self.bias, "gelu")
        return F.gelu(F.linear(x, self.weight, self.bias))

    def add(self, x: Tensor, other: Tensor) -> Tensor:
        """Map (rows, inputs) to (rows, outputs) and add to `other`."""
        if self.packed:
            product: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
                x, other, self.weight, self.bias, "add"
            )
            return product
        return F.linear(x, self.weight, self.bias).add_(other)


@cache
def can_pack() -> bool:
    """Try whether this torch, on this CPU, has oneDNN's operations and they are right."""
    rows, inputs, outputs = _TRIAL
    generator = torch.Generator().manual_seed(0)
    weight, bias, x, other = (
        torch.randn(shape, generator=generator)
        for shape in ((outputs, inputs), (outputs,), (rows, inputs), (rows, outputs))
    )
    image = torch.randn(1, inputs, rows, rows, generator=generator)
    convolution = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs).requires_grad_(False)
    plain = PackedLinear(weight, bias, rows, packed=False)
    try:
        packed = PackedLinear(weight, bias, rows, packed=True)
        pairs = (
            (packed(x), plain(x)),
            (packed.gelu(x), plain.gelu(x)),
            (packed.add(x, other), plain.add(x, other)),
            (multiply(x, weight, True), multiply(x, weight, False)),
            (multiply(x.T, other.T, True), multiply(x.T, other.T, False)),
            (convolve_gelu(image, convolution), F.gelu(convolution(image))),
        )
    except (AttributeError, RuntimeError, TypeError):
        return False
    return all(torch.allclose(*pair, atol=_TOLERANCE, rtol=0) for pair in pairs)


def multiply(x: Tensor, weight: Tensor, packed: bool) -> Tensor:
    """Multiply by a matrix that changes with every call, so that packing it does not pay.

    Even on plain matrices, oneDNN's product is up to twice as fast as torch's.

    Parameters
    ----------
    x, weight : Tensor of float32, shapes (rows, inputs) and (outputs, inputs)
        Copied unless they or their transposes are contiguous.
    packed : bool
        Whether to use oneDNN's product, see `PackedLinear`.

    Returns
    -------
    Tensor of float32, shape (rows, outputs)
        ``x @ weight.T``.
    """
    if not packed:
        return F.linear(x, weight)
    return _packed_product(_without_gaps(x), _without_gaps(weight), None, "none")


def _without_gaps(matrix: Tensor) -> Tensor:
    """Copy a part of a larger matrix, on which oneDNN is very slow."""
    return matrix if matrix.T.is_contiguous() else matrix.contiguous()


def multiply_each(x: Tensor, weights: Tensor, packed: bool) -> Tensor:
    """`multiply` each of (N, rows, inputs) by its (outputs, inputs): (N, rows, outputs)."""
    if not packed:
        return torch.matmul(x, weights.transpose(1, 2))
    products = [multiply(*pair, packed) for pair in zip(x, weights, strict=True)]
    return products[0][None] if len(products) == 1 else torch.stack(products)


def convolve_gelu(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Convolve and apply an exact GELU in one operation of oneDNN."""
    product: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x,
        layer.weight,
        layer.bias,
        layer.padding,
        layer.stride,
        layer.dilation,
        layer.groups,
        "gelu",
        [],
        "none",
    )
    return product


def _pack(weight: Tensor, rows: int) -> Tensor:
    """Rearrange weights for products with about so many rows."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
    return packed


def _packed_product(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    """Multiply by packed weights. The exact GELU is the algorithm "none"."""
    algorithm = "none" if activation == "gelu" else ""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(
        x, weight, bias, activation, [], algorithm
    )
    return product


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
