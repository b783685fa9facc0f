"""Building blocks that several of the networks share."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a feature map.

    Parameters
    ----------
    channels : int
        Number of channels C.
    eps : float, default 1e-6
        Added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x``, shape (N, C, H, W)."""
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class PatchDown(nn.Conv2d):
    """Convolution of 2 × 2 patches, one output each, as a matrix product.

    Its weights are those of ``Conv2d(kernel_size=2, stride=2)``, but each patch lies in the
    last axes of the input: (..., 2, 2, C) → (..., C').
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., 2, 2, in_channels) to (..., out_channels)."""
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(x.flatten(-3), weight, self.bias)


class PatchUp(nn.ConvTranspose2d):
    """Transposed convolution to 2 × 2 patches, as a matrix product.

    Its weights are those of ``ConvTranspose2d(kernel_size=2, stride=2)``, but each patch
    goes to the last axes of the output: (..., C) → (..., 2, 2, C').
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=2, stride=2)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (..., in_channels) to (..., 2, 2, out_channels)."""
        assert self.bias is not None
        weight = self.weight.permute(2, 3, 1, 0).flatten(0, 2)
        patches = F.linear(x, weight, self.bias.repeat(4))
        return patches.reshape(*x.shape[:-1], 2, 2, self.out_channels)


class PointwiseConv(nn.Conv2d):
    """``Conv2d(kernel_size=1)`` over the last axis: (..., C) → (..., C')."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_channels) to (..., out_channels)."""
        return F.linear(x, self.weight[:, :, 0, 0], self.bias)


def image_to_cells(image: Tensor) -> Tensor:
    """Sort pixels into cells of 4 × 4, these into 2 × 2 patches of 2 × 2 pixels.

    Parameters
    ----------
    image : Tensor, shape (N, C, 4 * h, 4 * w)
        Feature maps.

    Returns
    -------
    Tensor, shape (N, h, w, 2, 2, 2, 2, C)
        Axes: image, cell row and column, patch row and column, pixel row and column, channel.
    """
    n, channels, height, width = image.shape
    cells = image.reshape(n, channels, height // 4, 2, 2, width // 4, 2, 2)
    return cells.permute(0, 2, 5, 3, 6, 4, 7, 1)


def patches_to_image(patches: Tensor, grid_size: Sequence[int]) -> Tensor:
    """Put the pixels of cells of 4 × 4 where they belong, undoing `image_to_cells`.

    Parameters
    ----------
    patches : Tensor, shape (N, h * w, 16, C)
        Pixels of each cell, patch by patch.
    grid_size : (int, int)
        h and w.

    Returns
    -------
    Tensor, shape (N, C, 4 * h, 4 * w)
        Feature maps.
    """
    pixels = patches.unflatten(2, (2, 2, 2, 2)).permute(0, 6, 2, 4, 3, 5, 1)
    return F.pixel_shuffle(pixels.flatten(1, 5).unflatten(2, tuple(grid_size)), 4)


def fold_patches(feature_map: Tensor) -> Tensor:
    """Put the 2 × 2 pixels of each patch one after the other into channels.

    Parameters
    ----------
    feature_map : Tensor, shape (N, C, 2 * h, 2 * w)
        Feature map.

    Returns
    -------
    Tensor, shape (N, 4 * C, h, w)
        All channels of a patch's first pixel, then of the next; rows first.
    """
    patches = feature_map.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (N, C, h, 2, w, 2)
    folded: Tensor = patches.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)
    return folded


class MLP(nn.Module):
    """Linear layers with an activation between them.

    Parameters
    ----------
    input_dim, hidden_dim, output_dim : int
        Widths of the input, of every hidden layer and of the output.
    depth : int
        Number of linear layers.
    activation : callable, default ReLU
        Function between the layers.
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        output_dim: int,
        depth: int,
        activation: Callable[[Tensor], Tensor] = F.relu,
    ) -> None:
        super().__init__()
        self.activation = activation
        widths = [input_dim, *[hidden_dim] * (depth - 1), output_dim]
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., input_dim) to (..., output_dim)."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)  # type: ignore[no-any-return]


class ConvBlock(nn.Module):
    """Residual block: depthwise convolution, then a pointwise perceptron.

    The design follows ConvNeXt (arXiv 2201.03545) with batch normalisation, which costs
    nothing at inference, and a learned gain per channel that starts small.

    Parameters
    ----------
    channels : int
        Number of channels C, kept by the block.
    kernel_size : int, default 7
        Side of the depthwise kernel; odd.
    expansion : int, default 3
        Inner width, relative to C.
    """

    def __init__(self, channels: int, kernel_size: int = 7, expansion: int = 3) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=channels
        )
        self.norm: nn.Module = nn.BatchNorm2d(channels)
        self.expand = nn.Conv2d(channels, expansion * channels, 1)
        self.project = nn.Conv2d(expansion * channels, channels, 1)
        self.gain = nn.Parameter(nn.init.constant_(torch.empty(channels, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        y = self.expand(self.norm(self.depthwise(x)))
        return x + self.gain * self.project(F.gelu(y))  # type: ignore[no-any-return]
