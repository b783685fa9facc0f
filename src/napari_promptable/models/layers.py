"""Building blocks that several of the networks share."""

import itertools
from collections.abc import Callable

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


def unfold_patches(folded: Tensor) -> Tensor:
    """Undo `fold_patches`: (N, 4 * C, h, w) → (N, C, 2 * h, 2 * w)."""
    patches = folded.unflatten(1, (2, 2, -1))  # (N, 2, 2, C, h, w)
    feature_map: Tensor = patches.permute(0, 3, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)
    return feature_map


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
