"""MobileSAM's image encoder: TinyViT, convolutions first and windowed attention later.

Sources: MobileSAM, arXiv 2306.14289; TinyViT, arXiv 2207.10666 (its 5M variant, with the last
downsampling left out so that the stride stays 16).
Feature maps are channels first, (N, C, H, W).
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.vit import build_neck, join_windows, split_windows

_NUM_CLASSES = 1000  # of the classifier that the published weights carry along


class _Stage(NamedTuple):
    """Layout of a stage. `stride` leads to the next stage."""

    width: int
    depth: int
    num_heads: int
    window_size: int
    stride: int


_STAGES = (
    _Stage(width=64, depth=2, num_heads=0, window_size=0, stride=2),  # no attention
    _Stage(width=128, depth=2, num_heads=4, window_size=7, stride=2),
    _Stage(width=160, depth=6, num_heads=5, window_size=14, stride=1),
    _Stage(width=320, depth=2, num_heads=10, window_size=7, stride=1),
)


class InvertedBottleneck(nn.Module):
    """Residual block: widen by four, depthwise convolution, narrow again.

    Parameters
    ----------
    channels : int
        Number of channels C, kept by the block.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 4 * channels
        self.conv1 = _conv_norm(channels, hidden, 1)
        self.conv2 = _conv_norm(hidden, hidden, 3, groups=hidden)
        self.conv3 = _conv_norm(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        y = F.gelu(self.conv2(F.gelu(self.conv1(x))))
        return F.gelu(x + self.conv3(y))


class Transition(nn.Module):
    """The step from one stage to the next: other width, and half the size if stride is 2.

    Parameters
    ----------
    input_dim, output_dim : int
        Channels before and after.
    stride : int
        1 or 2.
    """

    def __init__(self, input_dim: int, output_dim: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv_norm(input_dim, output_dim, 1)
        self.conv2 = _conv_norm(output_dim, output_dim, 3, stride=stride, groups=output_dim)
        self.conv3 = _conv_norm(output_dim, output_dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, input_dim, H, W) to (N, output_dim, H / stride, W / stride)."""
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))  # type: ignore[no-any-return]


class WindowAttention(nn.Module):
    """Multi-head self-attention in a window, with a learned bias per distance.

    Parameters
    ----------
    embed_dim, num_heads : int
        Width C and number of heads.
    window_size : int
        Side of the window.
    """

    def __init__(self, embed_dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.norm = nn.LayerNorm(embed_dim)
        self.qkv: nn.Module = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj: nn.Module = nn.Linear(embed_dim, embed_dim)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, window_size**2))

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (N, window_size, window_size, C) to the same shape."""
        qkv = self.qkv(self.norm(x)).reshape(len(x), self.window_size**2, self.num_heads, 3, -1)
        q, k, v = qkv.permute(3, 0, 2, 1, 4)  # each (N, heads, cells, D)
        attended = F.scaled_dot_product_attention(
            q, k, v, attn_mask=self._distance_bias()[None]
        )
        return self.proj(attended.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]

    def _distance_bias(self) -> Tensor:
        """The bias of each pair of cells, (heads, cells, cells)."""
        device = self.attention_biases.device
        cells = torch.arange(self.window_size**2, device=device)
        row, column = cells // self.window_size, cells % self.window_size
        row_distance = (row[:, None] - row[None, :]).abs()
        column_distance = (column[:, None] - column[None, :]).abs()
        return self.attention_biases[:, row_distance * self.window_size + column_distance]


class Perceptron(nn.Module):
    """Layer norm and two linear layers, four times as wide between them."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dim)
        self.fc1 = nn.Linear(embed_dim, 4 * embed_dim)
        self.fc2 = nn.Linear(4 * embed_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to the same shape."""
        return self.fc2(F.gelu(self.fc1(self.norm(x))))  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """Attention inside windows, a depthwise convolution that joins them, a perceptron.

    Parameters
    ----------
    channels, num_heads : int
        Width C and number of heads.
    window_size : int
        Side of the windows.
    """

    def __init__(self, channels: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.attn = WindowAttention(channels, num_heads, window_size)
        self.local_conv = _conv_norm(channels, channels, 3, groups=channels)
        self.mlp: nn.Module = Perceptron(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        height, width = x.shape[2:]
        windows = self.attn(split_windows(x.permute(0, 2, 3, 1), self.window_size))
        x = x + join_windows(windows, height, width).permute(0, 3, 1, 2)
        x = self.local_conv(x)
        return x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class Stage(nn.Module):
    """Blocks of one width, then the step to the next width.

    Parameters
    ----------
    build_block : callable
        Returns a new block.
    depth : int
        Number of blocks.
    downsample : torch.nn.Module
        The step to the next stage.
    """

    def __init__(
        self, build_block: Callable[[], nn.Module], depth: int, downsample: nn.Module
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[build_block() for _ in range(depth)])
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to what the next stage takes."""
        return self.downsample(self.blocks(x))  # type: ignore[no-any-return]


class TinyViTEncoder(nn.Module):
    """TinyViT with 5 million parameters and SAM's neck, of stride 16.

    Parameters
    ----------
    output_dim : int, default 256
        Channels of the image embedding.
    """

    def __init__(self, output_dim: int = 256) -> None:
        super().__init__()
        first, last = _STAGES[0].width, _STAGES[-1].width
        self.patch_embed = nn.Sequential(
            OrderedDict(
                seq=nn.Sequential(
                    _conv_norm(3, first // 2, 3, stride=2),
                    nn.GELU(),
                    _conv_norm(first // 2, first, 3, stride=2),
                )
            )
        )
        next_widths = (*(stage.width for stage in _STAGES[1:]), None)
        self.layers = nn.Sequential(
            *[_build_stage(*pair) for pair in zip(_STAGES, next_widths, strict=True)]
        )
        self.neck = build_neck(last, output_dim)
        # The classifier is never called; it is here because the published weights have it.
        self.norm_head = nn.LayerNorm(last)
        self.head = nn.Linear(last, _NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images.

        Parameters
        ----------
        x : Tensor, shape (N, 3, H, W)
            Normalised and padded images; H and W are multiples of 16.

        Returns
        -------
        Tensor, shape (N, output_dim, H / 16, W / 16)
            Image embeddings.
        """
        x = x.contiguous(memory_format=torch.channels_last)  # so that windows need no copies
        return self.neck(self.layers(self.patch_embed(x)))  # type: ignore[no-any-return]


def _build_stage(stage: _Stage, next_width: int | None) -> Stage:
    """Build a stage. The last one, without a next width, has no step after it."""

    def build_block() -> nn.Module:
        if stage.num_heads == 0:
            return InvertedBottleneck(stage.width)
        return AttentionBlock(stage.width, stage.num_heads, stage.window_size)

    downsample: nn.Module = nn.Identity()
    if next_width is not None:
        downsample = Transition(stage.width, next_width, stage.stride)
    return Stage(build_block, stage.depth, downsample)


def _conv_norm(
    input_dim: int, output_dim: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Build a convolution that keeps the size (if stride is 1) and its batch norm."""
    convolution = nn.Conv2d(
        input_dim,
        output_dim,
        kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=groups,
        bias=False,
    )
    return nn.Sequential(OrderedDict(c=convolution, bn=nn.BatchNorm2d(output_dim)))
