"""SAM's image encoder: a plain vision transformer with mostly windowed attention.

Sources: "Segment Anything" (SAM), arXiv 2304.02643, appendix A; "Exploring Plain Vision
Transformer Backbones for Object Detection" (ViTDet), arXiv 2203.16527; decomposed relative
positions from MViTv2, arXiv 2112.01526, section 4.1.
Feature maps are channels last, (N, rows, columns, C), up to the neck.
"""

from collections import OrderedDict
from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.layers import LayerNorm2d

_NORM_EPS = 1e-6  # of every layer norm in the encoder; torch's default is 1e-5


class GridAttention(nn.Module):
    """Multi-head self-attention over a square grid, aware of relative positions.

    Parameters
    ----------
    embed_dim, num_heads : int
        Width C and number of heads.
    grid_size : int
        Rows and columns of the grid.
    """

    def __init__(self, embed_dim: int, num_heads: int, grid_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)
        table_shape = (2 * grid_size - 1, embed_dim // num_heads)
        self.rel_pos_h = nn.Parameter(torch.zeros(table_shape))
        self.rel_pos_w = nn.Parameter(torch.zeros(table_shape))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, grid_size, grid_size, C) to the same shape."""
        q, k, v = self._project(x)
        rows, columns = x.shape[1:3]
        bias = self._position_bias(q, rows, columns)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.proj(attended.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]

    def _project(self, x: Tensor) -> Tensor:
        """Queries, keys and values, each (N, heads, rows × columns, D)."""
        qkv = self.qkv(x).reshape(len(x), x.shape[1] * x.shape[2], 3, self.num_heads, -1)
        return qkv.permute(2, 0, 3, 1, 4)  # type: ignore[no-any-return]

    def weights_of(self, x: Tensor, row: int, column: int) -> Tensor:
        """Weights of one cell's query, (N, heads, rows, columns), as in `forward` on `x`."""
        q, k, _ = self._project(x)
        rows, columns = x.shape[1:3]
        chosen = slice(row * columns + column, row * columns + column + 1)
        scores = q[:, :, chosen] @ k.transpose(2, 3) * q.shape[-1] ** -0.5
        scores += self._position_bias(q, rows, columns)[:, :, chosen]
        weights: Tensor = scores.softmax(-1).unflatten(-1, (rows, columns))[:, :, 0]
        return weights

    def _position_bias(self, q: Tensor, rows: int, columns: int) -> Tensor:
        """How each query likes each key's row and column offset, (N, heads, queries, keys)."""
        q = q.reshape(*q.shape[:2], rows, columns, -1)
        by_row = torch.einsum("nhyxd,ykd->nhyxk", q, relative_positions(self.rel_pos_h, rows))
        by_column = torch.einsum(
            "nhyxd,xkd->nhyxk", q, relative_positions(self.rel_pos_w, columns)
        )
        bias = by_row[..., :, None] + by_column[..., None, :]
        return bias.flatten(4, 5).flatten(2, 3)


class Block(nn.Module):
    """Transformer block: attention inside windows or over the whole grid, then a perceptron.

    Parameters
    ----------
    embed_dim, num_heads : int
        Width C and number of heads; the perceptron is four times as wide.
    grid_size : int
        Rows and columns of the feature map.
    window_size : int or None
        Side of the windows; None for attention over the whole grid.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, grid_size: int, window_size: int | None
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.norm1 = nn.LayerNorm(embed_dim, eps=_NORM_EPS)
        self.attn = GridAttention(embed_dim, num_heads, window_size or grid_size)
        self.norm2 = nn.LayerNorm(embed_dim, eps=_NORM_EPS)
        self.mlp = nn.Sequential(
            OrderedDict(
                lin1=nn.Linear(embed_dim, 4 * embed_dim),
                act=nn.GELU(),
                lin2=nn.Linear(4 * embed_dim, embed_dim),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, rows, columns, C) to the same shape."""
        y = self.norm1(x)
        if self.window_size is None:
            y = self.attn(y)
        else:
            windows = self.attn(split_windows(y, self.window_size))
            y = join_windows(windows, x.shape[1], x.shape[2])
        x = x + y
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class ViTEncoder(nn.Module):
    """Vision transformer with absolute and relative positions, and a convolutional neck.

    Parameters
    ----------
    embed_dim, depth, num_heads : int
        Width, number of blocks and heads per block.
    global_attn_indexes : collection of int
        Blocks that attend to the whole grid; the others attend inside windows.
    image_size : int
        Side of the square input in pixels.
    patch_size : int, default 16
        Side of a patch in pixels; the stride of the encoder.
    window_size : int, default 14
        Side of the attention windows in patches.
    output_dim : int, default 256
        Channels of the image embedding.
    """

    def __init__(
        self,
        embed_dim: int,
        depth: int,
        num_heads: int,
        global_attn_indexes: Collection[int],
        image_size: int,
        patch_size: int = 16,
        window_size: int = 14,
        output_dim: int = 256,
    ) -> None:
        super().__init__()
        grid_size = image_size // patch_size
        self.window_size = window_size
        self.patch_embed = nn.Sequential(
            OrderedDict(proj=nn.Conv2d(3, embed_dim, patch_size, stride=patch_size))
        )
        self.pos_embed = nn.Parameter(torch.zeros(1, grid_size, grid_size, embed_dim))
        self.blocks = nn.ModuleList(
            Block(
                embed_dim,
                num_heads,
                grid_size,
                window_size=None if i in global_attn_indexes else window_size,
            )
            for i in range(depth)
        )
        self.neck = build_neck(embed_dim, output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images.

        Parameters
        ----------
        x : Tensor, shape (N, 3, image_size, image_size)
            Normalised and padded images.

        Returns
        -------
        Tensor, shape (N, output_dim, image_size / patch_size, image_size / patch_size)
            Image embeddings.
        """
        x = self.patch_embed(x).permute(0, 2, 3, 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))  # type: ignore[no-any-return]


def build_neck(input_dim: int, output_dim: int) -> nn.Sequential:
    """Build the two convolutions that end SAM's image encoders. Maps are (N, C, H, W)."""
    return nn.Sequential(
        nn.Conv2d(input_dim, output_dim, 1, bias=False),
        LayerNorm2d(output_dim),
        nn.Conv2d(output_dim, output_dim, 3, padding=1, bias=False),
        LayerNorm2d(output_dim),
    )


def split_windows(x: Tensor, size: int) -> Tensor:
    """Cut feature maps into square windows.

    Parameters
    ----------
    x : Tensor, shape (N, rows, columns, C)
        Feature maps, padded with zeros on the bottom and right where windows stick out.
    size : int
        Side of a window.

    Returns
    -------
    Tensor, shape (N * windows, size, size, C)
        Windows of the first map from left to right and top to bottom, then the next map's.
    """
    bottom, right = (-n % size for n in x.shape[1:3])
    x = F.pad(x, (0, 0, 0, right, 0, bottom))
    n, rows, columns, channels = x.shape
    x = x.reshape(n, rows // size, size, columns // size, size, channels)
    return x.transpose(2, 3).flatten(0, 2)


def join_windows(windows: Tensor, rows: int, columns: int) -> Tensor:
    """Undo `split_windows`. Returns (N, rows, columns, C) without the padding."""
    size, channels = windows.shape[2:]
    down, across = -(-rows // size), -(-columns // size)  # numbers of windows
    x = windows.reshape(-1, down, across, size, size, channels).transpose(2, 3)
    return x.reshape(-1, down * size, across * size, channels)[:, :rows, :columns]


def relative_positions(table: Tensor, size: int) -> Tensor:
    """Rows of a table of 2 * size − 1 offsets, by query and key, (size, size, D)."""
    positions = torch.arange(size, device=table.device)
    offsets = positions[:, None] - positions[None, :]
    return table.index_select(0, offsets.flatten() + size - 1).reshape(size, size, -1)
