"""How the vision transformer is computed on a CPU: `ViTEncoder` prepared for inference.

The mathematics is that of `napari_promptable.models.vit`, and a test compares both. What is
different:

- Tokens stay sorted by windows through all windowed blocks, without the padding. A window that
  sticks out of the grid has padding among its keys, whose key and value are the layer's bias;
  they are filled in, not computed.
- Scores are made for a few windows, or a few rows of queries, at a time, small enough to stay
  in the cache, and turned into weights in place.
- Linear layers are packed, take the activation or the sum that follows into the product, and
  the perceptron runs on some tokens at a time.
- Work memory is kept from call to call, each thread having its own.
"""

import threading
from dataclasses import dataclass
from itertools import groupby
from math import prod
from operator import attrgetter

import torch
from torch import Tensor, nn

from napari_promptable.models.packed_linear import PackedLinear
from napari_promptable.models.vit import Block, GridAttention, ViTEncoder, relative_positions

_QUERIES_AT_ONCE = 256  # of a head in global attention: a block of scores is 4 MB at 1024 px
_WINDOWS_AT_ONCE = 2  # a window of ViT-B has 1.8 MB of scores
_TOKENS_AT_ONCE = 1024  # in the perceptron, whose inner layer then is 12 MB in ViT-B


@dataclass(frozen=True)
class WindowGroup:
    """Windows of one shape, one after the other in the order of tokens.

    Attributes
    ----------
    start, count : int
        First token and number of windows.
    rows, columns : int
        What of a window lies on the grid.
    """

    start: int
    count: int
    rows: int
    columns: int


def sort_by_windows(grid_size: int, window_size: int) -> tuple[Tensor, list[WindowGroup]]:
    """Sort the cells of a grid by windows, whole windows first.

    Parameters
    ----------
    grid_size, window_size : int
        Rows and columns of both, in cells.

    Returns
    -------
    order : Tensor of int, shape (grid_size ** 2,)
        Cell, in raster order, at each place.
    groups : list of WindowGroup
        Windows of one shape.
    """
    cells = torch.arange(grid_size**2).reshape(grid_size, grid_size)
    parts = [part for band in cells.split(window_size) for part in band.split(window_size, 1)]
    shapes = sorted({tuple(part.shape) for part in parts}, reverse=True)
    order, groups, start = [], [], 0
    for rows, columns in shapes:
        windows = [part.flatten() for part in parts if part.shape == (rows, columns)]
        groups.append(WindowGroup(start, len(windows), rows, columns))
        order += windows
        start += len(windows) * rows * columns
    return torch.cat(order), groups


class WorkMemory(threading.local):
    """Named buffers that are made once and used again, separate in every thread."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """Return a float32 tensor of this shape whose content is whatever was left there."""
        size = prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = torch.empty(size)
        return buffer[:size].view(shape)


class AttentionPlan(nn.Module):
    """Attention over the grid, or inside windows, of one image's tokens.

    Parameters
    ----------
    attention : GridAttention
        The layer to prepare; it is used up.
    grid_size : int
        Rows and columns of the grid or of a window.
    num_tokens : int
        In an image.
    groups : list of WindowGroup or None
        Where the windows lie; None for attention over the whole grid.
    memory : WorkMemory
        Buffers.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(
        self,
        attention: GridAttention,
        grid_size: int,
        num_tokens: int,
        groups: list[WindowGroup] | None,
        memory: WorkMemory,
        packed: bool | None,
    ) -> None:
        super().__init__()
        self.num_heads, self.grid_size = attention.num_heads, grid_size
        self.groups, self.memory = groups, memory
        embed_dim = attention.proj.in_features
        scale = (embed_dim // attention.num_heads) ** -0.5
        for parameter in (attention.qkv.weight, attention.qkv.bias):
            parameter.detach()[:embed_dim].mul_(scale)  # queries come out scaled
        self.qkv = PackedLinear.of(attention.qkv, num_tokens, packed)
        self.proj = PackedLinear.of(attention.proj, num_tokens, packed)
        self.by_row, self.by_column = (
            relative_positions(table.detach(), grid_size) / scale
            for table in (attention.rel_pos_h, attention.rel_pos_w)
        )

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Attend; shapes (tokens, C). What comes out is added to `residual`."""
        qkv = self.qkv(x).unflatten(1, (3, self.num_heads, -1))  # (tokens, 3, heads, D)
        attended = self.memory.take("attended", *qkv[:, 0].shape)
        if self.groups is None:
            self._attend_globally(qkv, attended)
        else:
            for group in self.groups:
                self._attend_in_windows(qkv, attended, group)
        return self.proj.add(attended.flatten(1), residual)

    def _attend_in_windows(self, qkv: Tensor, attended: Tensor, group: WindowGroup) -> None:
        """Attend inside the windows of a group, some of them at a time."""
        cells = group.rows * group.columns
        for first in range(0, group.count, _WINDOWS_AT_ONCE):
            count = min(_WINDOWS_AT_ONCE, group.count - first)
            start = group.start + first * cells
            part = slice(start, start + count * cells)
            windows = qkv[part].unflatten(0, (count, group.rows, group.columns))
            answer = self._attend_in_some(windows)
            attended[part].unflatten(0, (count, cells)).copy_(answer.transpose(1, 2))

    def _attend_in_some(self, windows: Tensor) -> Tensor:
        """(windows, rows, columns, 3, heads, D) → (windows, heads, rows × columns, D)."""
        count, rows, columns, _, heads, dim = windows.shape
        side = self.grid_size
        q = self._gather("q", windows[..., 0, :, :])
        keys, values = (
            self._gather(name, self._with_padding(windows[..., part, :, :], part))
            for name, part in (("k", 1), ("v", 2))
        )
        scores = self.memory.take("scores", count * heads, rows * columns, side * side)
        by_row, by_column = self._position_scores(q.unflatten(1, (rows, columns)), 0)
        torch.add(
            by_row[..., :, None],
            by_column[..., None, :],
            out=scores.view(count * heads, rows, columns, side, side),
        )
        scores.baddbmm_(q, keys.transpose(1, 2))
        torch.softmax(scores, -1, out=scores)
        out = self.memory.take("out", count * heads, rows * columns, dim)
        torch.bmm(scores, values, out=out)
        return out.view(count, heads, -1, dim)

    def _gather(self, name: str, x: Tensor) -> Tensor:
        """(windows, rows, columns, heads, D) → (windows × heads, rows × columns, D)."""
        count, rows, columns, heads, dim = x.shape
        buffer = self.memory.take(name, count, heads, rows * columns, dim)
        buffer.copy_(x.flatten(1, 2).transpose(1, 2))
        return buffer.view(count * heads, -1, dim)

    def _with_padding(self, x: Tensor, part: int) -> Tensor:
        """Complete windows (windows, rows, columns, heads, D) by what padding gives."""
        side, (rows, columns) = self.grid_size, x.shape[1:3]
        if rows == columns == side:
            return x
        assert self.qkv.bias is not None
        bias = self.qkv.bias.unflatten(0, (3, self.num_heads, -1))[part]
        padded: Tensor = bias.expand(len(x), side, side, -1, -1).clone()
        padded[:, :rows, :columns] = x
        return padded

    def _position_scores(self, q: Tensor, first_row: int) -> tuple[Tensor, Tensor]:
        """How queries (M, rows, columns, D) like rows and columns of keys, (…, side)."""
        rows, columns = q.shape[1:3]
        by_row = self.by_row[first_row : first_row + rows]
        return (
            torch.einsum("myxd,ykd->myxk", q, by_row),
            torch.einsum("myxd,xkd->myxk", q, self.by_column[:columns]),
        )

    def _attend_globally(self, qkv: Tensor, attended: Tensor) -> None:
        """Attend over the whole grid, by heads and some rows of queries at a time."""
        side, (tokens, _, heads, dim) = self.grid_size, qkv.shape
        rows = max(1, _QUERIES_AT_ONCE // side)
        by_head = self.memory.take("by head", 3, heads, tokens, dim)
        by_head.copy_(qkv.permute(1, 2, 0, 3))
        for head, (q, k, v) in enumerate(by_head.unbind(1)):
            keys = PackedLinear(k, None, rows * side, self.proj.packed)
            values = PackedLinear(v.T, None, rows * side, self.proj.packed)
            q = q.unflatten(0, (side, side))
            for first in range(0, side, rows):
                some = q[first : first + rows]
                by_row, by_column = self._position_scores(some[None], first)
                bias = self.memory.take("bias", *some.shape[:2], side, side)
                torch.add(by_row[0, ..., None], by_column[0, ..., None, :], out=bias)
                scores = keys.add(some.flatten(0, 1), bias.view(-1, tokens))
                torch.softmax(scores, -1, out=scores)
                part = slice(first * side, (first + len(some)) * side)
                attended[part, head] = values(scores)


class BlockPlan(nn.Module):
    """A transformer block on one image's tokens, (tokens, C).

    Parameters
    ----------
    block : Block
        The layer to prepare; it is used up.
    attention : AttentionPlan
        Of this block.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(self, block: Block, attention: AttentionPlan, packed: bool | None) -> None:
        super().__init__()
        self.is_windowed = block.window_size is not None
        self.attention = attention
        self.norm1, self.norm2 = block.norm1, block.norm2
        lin1, lin2 = block.mlp.get_submodule("lin1"), block.mlp.get_submodule("lin2")
        assert isinstance(lin1, nn.Linear) and isinstance(lin2, nn.Linear)
        self.lin1 = PackedLinear.of(lin1, _TOKENS_AT_ONCE, packed)
        self.lin2 = PackedLinear.of(lin2, _TOKENS_AT_ONCE, packed)

    def forward(self, x: Tensor) -> Tensor:
        """Map (tokens, C) to the same shape."""
        x = self.attention(self.norm1(x), residual=x)
        parts = [
            self.lin2.add(self.lin1.gelu(self.norm2(part)), part)
            for part in x.split(_TOKENS_AT_ONCE)
        ]
        return torch.cat(parts)


class ViTPlan(nn.Module):
    """`ViTEncoder` prepared for inference on a CPU, in float32.

    Parameters
    ----------
    encoder : ViTEncoder
        It is used up: its blocks are gone afterwards, so that no weights are held twice.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(self, encoder: ViTEncoder, packed: bool | None = None) -> None:
        super().__init__()
        patches = encoder.patch_embed.get_submodule("proj")
        assert isinstance(patches, nn.Conv2d)
        self.patch_size = patches.kernel_size[0]
        self.grid_size = encoder.pos_embed.shape[1]
        num_tokens = self.grid_size**2
        self.patch_embed = PackedLinear(
            patches.weight.flatten(1), patches.bias, num_tokens, packed
        )
        self.positions = encoder.pos_embed.detach().flatten(0, 2)
        self.neck = encoder.neck
        self.order, groups = sort_by_windows(self.grid_size, encoder.window_size)
        self.inverse_order = self.order.argsort()
        memory = WorkMemory()
        self.blocks = nn.ModuleList()
        while len(encoder.blocks):
            block = encoder.blocks.pop(0)
            assert isinstance(block, Block)
            attention = AttentionPlan(
                block.attn,
                block.window_size or self.grid_size,
                num_tokens,
                groups if block.window_size else None,
                memory,
                packed,
            )
            self.blocks.append(BlockPlan(block, attention, packed))

    def forward(self, x: Tensor) -> Tensor:
        """Encode images, (N, 3, image_size, image_size) → (N, C, grid_size, grid_size)."""
        return torch.cat([self._encode(image) for image in x])

    def _encode(self, image: Tensor) -> Tensor:
        size = (self.grid_size, self.patch_size)
        patches = image.unflatten(2, size).unflatten(1, size).permute(1, 3, 0, 2, 4)
        x = self.patch_embed.add(patches.reshape(len(self.positions), -1), self.positions)
        for is_windowed, blocks in groupby(self.blocks, attrgetter("is_windowed")):
            if is_windowed:
                x = x[self.order]
            for block in blocks:
                x = block(x)
            if is_windowed:
                x = x[self.inverse_order]
        grid = x.unflatten(0, (self.grid_size, self.grid_size))
        return self.neck(grid.permute(2, 0, 1)[None])  # type: ignore[no-any-return]
