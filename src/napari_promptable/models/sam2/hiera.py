"""SAM 2's image encoder trunk: a hierarchical vision transformer.

Sources: "SAM 2: Segment Anything in Images and Videos", arXiv 2408.00714, section 4 and
appendix D.1; Hiera, arXiv 2306.00989; absolute positions in windows, arXiv 2311.05613.
Feature maps are channels last, (N, rows, columns, C), inside the trunk.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.layers import MLP
from napari_promptable.models.vit import join_windows, split_windows

NORM_EPS = 1e-6  # of every layer norm in the trunk
PATCH_STRIDE = 4
POOL = 2  # cells per row and column that become one between two stages
_PATCH_SIZE = 7


@dataclass(frozen=True)
class HieraLayout:
    """Sizes of a Hiera trunk.

    Attributes
    ----------
    embed_dim, num_heads : int
        Width and heads of the first stage; every further stage doubles both.
    stages : tuple of 4 int
        Blocks per stage.
    global_blocks : tuple of int
        Blocks that attend to the whole grid; the others attend inside windows.
    window_sizes : tuple of 4 int
        Side of the windows of each stage, in cells.
    background_size : int
        Rows and columns of the coarse position table.
    """

    embed_dim: int
    num_heads: int
    stages: tuple[int, ...]
    global_blocks: tuple[int, ...]
    window_sizes: tuple[int, ...] = (8, 4, 14, 7)
    background_size: int = 7

    @property
    def widths(self) -> list[int]:
        """Channels of each stage, the finest first."""
        return [self.embed_dim * 2**stage for stage in range(len(self.stages))]


HIERA_LAYOUTS = {
    "hiera_tiny": HieraLayout(96, 1, (1, 2, 7, 2), (5, 7, 9)),
    "hiera_small": HieraLayout(96, 1, (1, 2, 11, 2), (7, 10, 13)),
    "hiera_base_plus": HieraLayout(112, 2, (2, 3, 16, 3), (12, 16, 20), background_size=14),
    "hiera_large": HieraLayout(144, 2, (2, 6, 36, 4), (23, 33, 43), (8, 4, 16, 8)),
}
"""The four published sizes, from the configurations of SAM 2.1."""


def pool_cells(x: Tensor) -> Tensor:
    """Take the maximum of each 2 × 2 cells, (N, rows, columns, C) → half the rows, columns."""
    rows, columns = x.shape[1] // POOL, x.shape[2] // POOL
    x = x[:, : rows * POOL, : columns * POOL]
    pooled: Tensor = x.unflatten(2, (columns, POOL)).unflatten(1, (rows, POOL)).amax((2, 4))
    return pooled


class PooledAttention(nn.Module):
    """Multi-head self-attention over a grid, whose queries may be pooled.

    Parameters
    ----------
    input_dim, output_dim, num_heads : int
        Widths of input and output, and number of heads.
    pools : bool
        Whether each 2 × 2 queries become one.
    """

    def __init__(self, input_dim: int, output_dim: int, num_heads: int, pools: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.pools = pools
        self.qkv = nn.Linear(input_dim, 3 * output_dim)
        self.proj = nn.Linear(output_dim, output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, rows, columns, input_dim) to (N, rows', columns', output_dim)."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if self.pools:
            q = pool_cells(q)
        heads = [self._split_heads(x) for x in (q, k, v)]
        attended = F.scaled_dot_product_attention(heads[0], heads[1], heads[2])
        return self.proj(attended.transpose(1, 2).reshape(q.shape))  # type: ignore[no-any-return]

    def weights_of(self, x: Tensor, row: int, column: int) -> Tensor:
        """Weights of one cell's query, (N, heads, rows, columns), as in `forward` on `x`.

        Queries must not be pooled.
        """
        q, k, _ = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).unbind(-3)
        scores = torch.einsum("nhd,nyxhd->nhyx", q[:, row, column], k) * q.shape[-1] ** -0.5
        weights: Tensor = scores.flatten(2).softmax(-1).view_as(scores)
        return weights

    def _split_heads(self, x: Tensor) -> Tensor:
        """(N, rows, columns, C) → (N, heads, cells, D)."""
        heads: Tensor = x.flatten(1, 2).unflatten(-1, (self.num_heads, -1))
        return heads.transpose(1, 2)


class HieraBlock(nn.Module):
    """Transformer block that may widen the features and halve the grid.

    Parameters
    ----------
    input_dim, output_dim, num_heads : int
        Widths of input and output, and number of heads; the perceptron is four times as wide.
    window_size : int or None
        Side of the windows, in cells of the input; None for attention over the whole grid.
    pools : bool
        Whether the output has half the rows and columns.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        num_heads: int,
        window_size: int | None,
        pools: bool,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.pools = pools
        self.norm1 = nn.LayerNorm(input_dim, eps=NORM_EPS)
        self.attn = PooledAttention(input_dim, output_dim, num_heads, pools)
        self.norm2 = nn.LayerNorm(output_dim, eps=NORM_EPS)
        self.mlp = MLP(output_dim, 4 * output_dim, output_dim, 2, activation=F.gelu)
        self.proj = nn.Linear(input_dim, output_dim) if input_dim != output_dim else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, rows, columns, input_dim) to (N, rows', columns', output_dim)."""
        y = self.norm1(x)
        if self.proj is not None:
            x = self.proj(y)
            x = pool_cells(x) if self.pools else x
        if self.window_size is None:
            y = self.attn(y)
        else:
            windows = self.attn(split_windows(y, self.window_size))
            y = join_windows(windows, x.shape[1], x.shape[2])
        x = x + y
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class Hiera(nn.Module):
    """Hierarchical vision transformer of four stages, at strides 4, 8, 16 and 32.

    The first block of a stage halves the grid. It still attends inside the windows of the
    stage before, which are as large in pixels as its own.

    Parameters
    ----------
    layout : HieraLayout
        Sizes.
    """

    def __init__(self, layout: HieraLayout) -> None:
        super().__init__()
        self.patch_embed = nn.Sequential(
            OrderedDict(
                proj=nn.Conv2d(
                    3,
                    layout.embed_dim,
                    _PATCH_SIZE,
                    stride=PATCH_STRIDE,
                    padding=_PATCH_SIZE // 2,
                )
            )
        )
        side, window = layout.background_size, layout.window_sizes[0]
        self.pos_embed = nn.Parameter(torch.zeros(1, layout.embed_dim, side, side))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, layout.embed_dim, window, window))
        self.blocks = nn.ModuleList(_build_blocks(layout))
        ends = [sum(layout.stages[: stage + 1]) for stage in range(len(layout.stages))]
        self.stage_ends = tuple(end - 1 for end in ends)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Encode images.

        Parameters
        ----------
        x : Tensor, shape (N, 3, H, W)
            Normalised images; H and W are multiples of 32.

        Returns
        -------
        list of 4 Tensor, shapes (N, C, H / 4, W / 4) to (N, 8 * C, H / 32, W / 32)
            What each stage ends with, the finest first.
        """
        x = self.patch_embed(x).permute(0, 2, 3, 1)
        x = x + self.positions(x.shape[1], x.shape[2])
        features = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.stage_ends:
                features.append(x.permute(0, 3, 1, 2))
        return features

    def positions(self, rows: int, columns: int) -> Tensor:
        """Positions of the patches, (1, rows, columns, C): a smooth part, a tiled part."""
        smooth = F.interpolate(self.pos_embed, size=(rows, columns), mode="bicubic")
        window = self.pos_embed_window
        tiled = window.tile(1, 1, rows // window.shape[2], columns // window.shape[3])
        return (smooth + tiled).permute(0, 2, 3, 1)


def _build_blocks(layout: HieraLayout) -> Sequence[HieraBlock]:
    """Build the blocks of all stages."""
    blocks: list[HieraBlock] = []
    width = layout.embed_dim
    for stage, depth in enumerate(layout.stages):
        heads, output_dim = layout.num_heads * 2**stage, layout.widths[stage]
        for place in range(depth):
            is_first = place == 0 and stage > 0
            window = layout.window_sizes[stage - 1 if is_first else stage]
            is_global = len(blocks) in layout.global_blocks
            blocks.append(
                HieraBlock(width, output_dim, heads, None if is_global else window, is_first)
            )
            width = output_dim
    return blocks
