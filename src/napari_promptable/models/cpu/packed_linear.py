"""Linear layers for inference, in the memory layout that the CPU multiplies fastest.

torch holds the weights of a linear layer row by row, and its matrix product rearranges them
each time. oneDNN can rearrange them once and fuse what follows the product, but torch offers
this to its own compiler only, under private names. So the operations are tried out before they
are used; where they are missing or wrong, public ones take their place.
"""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_TRIAL = (3, 16, 32)  # rows, inputs and outputs of the trial product
_TOLERANCE = 1e-4


class PackedLinear:
    """A linear layer, ``x @ weight.T + bias``, for inference on the CPU.

    Parameters
    ----------
    weight : Tensor of float32, shape (outputs, inputs)
        Not needed any more afterwards when packed.
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
    def of(cls, layer: nn.Linear, rows: int, packed: bool | None = None) -> "PackedLinear":
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
        """Map (rows, inputs) to (rows, outputs) and add what is there already."""
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
            (convolve_gelu(image, convolution), F.gelu(convolution(image))),
        )
    except (AttributeError, RuntimeError, TypeError):
        return False
    return all(torch.allclose(*pair, atol=_TOLERANCE, rtol=0) for pair in pairs)


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
    """Multiply by packed weights; "none" as GELU's algorithm is the exact one."""
    algorithm = "none" if activation == "gelu" else ""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(
        x, weight, bias, activation, [], algorithm
    )
    return product
