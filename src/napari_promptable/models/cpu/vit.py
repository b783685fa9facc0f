"""The vision transformer, `ViTEncoder`, prepared for inference on a CPU.

It gives the same result as `napari_promptable.models.vit`; a test compares them. It differs in
this:

- A few windows at a time go through all blocks up to the next that attends to the whole grid,
  so that what they hold stays in the cache. There is no padding: a window that sticks out of
  the grid has padding among its keys, whose key and value are the layer's bias; they are
  filled in, not computed.
- In global attention, scores are made for a few rows of queries at a time and turned into
  weights in place; operations on single tokens take some tokens at a time.
- Linear layers are packed, and take the activation or the sum that follows into the product.
- Threads share out windows, heads or tokens, so that none waits for another within a layer.
- Work memory is kept from call to call, each thread having its own.
"""

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter

import torch
from torch import Tensor, nn

from napari_promptable.models.cpu.packed import PackedLinear
from napari_promptable.models.cpu.parallel import WorkMemory, share_out
from napari_promptable.models.vit import Block, GridAttention, ViTEncoder, relative_positions

_QUERIES_AT_ONCE = 256  # of a head in global attention: a block of scores is 4 MB at 1024 px
_TOKENS_AT_ONCE = 512  # the perceptron's inner layer then is 6 MB in ViT-B


def group_windows(grid_size: int, window_size: int, most_tokens: int) -> list[Tensor]:
    """Group the windows of a grid by shape, largest first.

    Parameters
    ----------
    grid_size, window_size : int
        Rows and columns of both, in cells.
    most_tokens : int
        Largest number of cells in a group; a single window may have more.

    Returns
    -------
    list of Tensor of int, shape (windows, rows, columns)
        Cells of each window of a group, in raster order of the grid; `rows` and `columns` are
        what of the windows lies on the grid.
    """
    cells = torch.arange(grid_size**2).reshape(grid_size, grid_size)
    windows = [part for band in cells.split(window_size) for part in band.split(window_size, 1)]
    windows.sort(key=lambda window: tuple(window.shape), reverse=True)
    groups: list[Tensor] = []
    for (rows, columns), alike in groupby(windows, attrgetter("shape")):
        groups += torch.stack(list(alike)).split(max(1, most_tokens // (rows * columns)))
    return groups


class BlockPlan(nn.Module):
    """What blocks of both kinds have in common: all but the attention itself.

    Parameters
    ----------
    block : Block
        The layer to prepare; it is used up.
    side : int
        Rows and columns of the grid or of a window.
    memory : WorkMemory
        Buffers.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(
        self, block: Block, side: int, memory: WorkMemory, packed: bool | None
    ) -> None:
        super().__init__()
        self.side, self.memory = side, memory
        self.norm1, self.norm2 = block.norm1, block.norm2
        attention = block.attn
        self.num_heads = attention.num_heads
        scale = _scale_queries(attention)
        self.qkv = PackedLinear.of(attention.qkv, _TOKENS_AT_ONCE, packed)
        self.proj = PackedLinear.of(attention.proj, _TOKENS_AT_ONCE, packed)
        self.by_row, self.by_column = (
            relative_positions(table.detach(), side) / scale
            for table in (attention.rel_pos_h, attention.rel_pos_w)
        )
        lin1, lin2 = block.mlp.get_submodule("lin1"), block.mlp.get_submodule("lin2")
        assert isinstance(lin1, nn.Linear) and isinstance(lin2, nn.Linear)
        self.lin1 = PackedLinear.of(lin1, _TOKENS_AT_ONCE, packed)
        self.lin2 = PackedLinear.of(lin2, _TOKENS_AT_ONCE, packed)

    def _project(self, x: Tensor) -> Tensor:
        """(tokens, C) → queries, keys and values (tokens, 3, heads, D). Queries are scaled."""
        return self.qkv(self.norm1(x)).unflatten(1, (3, self.num_heads, -1))  # type: ignore[no-any-return]

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Compute the part of a block after attention, on inputs (tokens, C)."""
        x = self.proj.add(attended, x)
        return self.lin2.add(self.lin1.gelu(self.norm2(x)), x)

    def _position_scores(self, q: Tensor, first_row: int) -> tuple[Tensor, Tensor]:
        """How queries (M, rows, columns, D) like rows and columns of keys, (…, side)."""
        rows, columns = q.shape[1:3]
        by_row = self.by_row[first_row : first_row + rows]
        return (
            torch.einsum("myxd,ykd->myxk", q, by_row),
            torch.einsum("myxd,xkd->myxk", q, self.by_column[:columns]),
        )


def _scale_queries(attention: GridAttention) -> float:
    """Move the scale of the attention scores into the weights of the queries, and return it."""
    embed_dim = attention.proj.in_features
    scale: float = (embed_dim // attention.num_heads) ** -0.5
    for parameter in (attention.qkv.weight, attention.qkv.bias):
        parameter.detach()[:embed_dim].mul_(scale)
    return scale


class WindowedBlockPlan(BlockPlan):
    """A transformer block whose tokens attend inside windows."""

    def forward(self, windows: Tensor) -> Tensor:
        """Map windows of one shape, (windows, rows, columns, C), to the same shape."""
        x = windows.flatten(0, 2)
        attended = self._attend(self._project(x).unflatten(0, windows.shape[:3]))
        return self._finish(x, attended).view(windows.shape)

    def _attend(self, qkv: Tensor) -> Tensor:
        """(windows, rows, columns, 3, heads, D) → (tokens, C)."""
        count, rows, columns, _, heads, dim = qkv.shape
        side = self.side
        q = self._gather("q", qkv[..., 0, :, :])
        keys, values = (
            self._gather(name, self._with_padding(qkv[..., part, :, :], part))
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
        torch.bmm(scores, values, out=q)
        return q.view(count, heads, -1, dim).transpose(1, 2).reshape(-1, heads * dim)

    def _gather(self, name: str, x: Tensor) -> Tensor:
        """(windows, rows, columns, heads, D) → (windows × heads, rows × columns, D)."""
        count, rows, columns, heads, dim = x.shape
        buffer = self.memory.take(name, count, heads, rows * columns, dim)
        buffer.copy_(x.flatten(1, 2).transpose(1, 2))
        return buffer.view(count * heads, -1, dim)

    def _with_padding(self, x: Tensor, part: int) -> Tensor:
        """Complete windows (windows, rows, columns, heads, D) by what padding gives."""
        side, (rows, columns) = self.side, x.shape[1:3]
        if rows == columns == side:
            return x
        assert self.qkv.bias is not None
        bias = self.qkv.bias.unflatten(0, (3, self.num_heads, -1))[part]
        padded: Tensor = bias.expand(len(x), side, side, -1, -1).clone()
        padded[:, :rows, :columns] = x
        return padded


class GlobalBlockPlan(BlockPlan):
    """A transformer block whose tokens attend to the whole grid."""

    def forward(self, x: Tensor) -> Tensor:
        """Change the tokens of an image, (tokens, C), and return them."""
        heads, tokens = self.num_heads, len(x)
        by_head = self.memory.take("by head", 3, heads, tokens, x.shape[1] // heads)
        attended = self.memory.take("attended", *x.shape)
        parts = [slice(n, n + _TOKENS_AT_ONCE) for n in range(0, tokens, _TOKENS_AT_ONCE)]

        def project(part: slice) -> None:
            by_head[:, :, part] = self._project(x[part]).permute(1, 2, 0, 3)

        def finish(part: slice) -> None:
            x[part] = self._finish(x[part], attended[part])

        share_out(project, parts)
        attended_by_head = attended.chunk(heads, dim=1)
        share_out(self._attend, zip(by_head.unbind(1), attended_by_head, strict=True))
        share_out(finish, parts)
        return x

    def weights_of(self, x: Tensor, row: int, column: int) -> Tensor:
        """Weights of one cell's query, (heads, side, side), as in `forward` on `x`."""
        q, k, _ = self._project(x).unbind(1)
        chosen = q[row * self.side + column]
        scores = torch.einsum("hd,thd->ht", chosen, k).unflatten(1, (self.side, self.side))
        scores += (chosen @ self.by_row[row].T)[:, :, None]
        scores += (chosen @ self.by_column[column].T)[:, None, :]
        weights: Tensor = scores.flatten(1).softmax(-1).view_as(scores)
        return weights

    def _attend(self, head: tuple[Tensor, Tensor]) -> None:
        """Let a head attend, (3, tokens, D) → (tokens, D), some rows of queries at a time."""
        (q, k, v), attended = head
        side, tokens = self.side, len(q)
        rows = max(1, _QUERIES_AT_ONCE // side)
        values = PackedLinear(v.T, None, rows * side, self.proj.packed)
        q = q.unflatten(0, (side, side))
        for first in range(0, side, rows):
            some = q[first : first + rows]
            by_row, by_column = self._position_scores(some[None], first)
            grid_scores = self.memory.take("scores", *some.shape[:2], side, side)
            torch.add(by_row[0, ..., None], by_column[0, ..., None, :], out=grid_scores)
            scores = grid_scores.view(-1, tokens).addmm_(some.flatten(0, 1), k.T)
            torch.softmax(scores, -1, out=scores)
            attended[first * side : (first + len(some)) * side] = values(scores)


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
        self.patch_embed = PackedLinear(
            patches.weight.flatten(1), patches.bias, self.grid_size**2, packed
        )
        self.positions = encoder.pos_embed.detach().flatten(0, 2)
        self.neck = encoder.neck
        self.groups = group_windows(self.grid_size, encoder.window_size, _TOKENS_AT_ONCE)
        memory = WorkMemory()
        self.blocks = nn.ModuleList()
        while len(encoder.blocks):
            block = encoder.blocks.pop(0)
            assert isinstance(block, Block)
            if block.window_size is None:
                plan: BlockPlan = GlobalBlockPlan(block, self.grid_size, memory, packed)
            else:
                plan = WindowedBlockPlan(block, block.window_size, memory, packed)
            self.blocks.append(plan)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images, (N, 3, image_size, image_size) → (N, C, grid_size, grid_size)."""
        return torch.cat([self._encode(image) for image in x])

    def _encode(self, image: Tensor) -> Tensor:
        size = (self.grid_size, self.patch_size)
        patches = image.unflatten(2, size).unflatten(1, size).permute(1, 3, 0, 2, 4)
        x = self.patch_embed.add(patches.reshape(len(self.positions), -1), self.positions)
        for kind, blocks in groupby(self.blocks, type):
            if kind is WindowedBlockPlan:
                share_out(partial(_pass_windows, x, list(blocks)), self.groups)
            else:
                for block in blocks:
                    x = block(x)
        grid = x.unflatten(0, (self.grid_size, self.grid_size))
        return self.neck(grid.permute(2, 0, 1)[None])  # type: ignore[no-any-return]


def _pass_windows(x: Tensor, blocks: Sequence[nn.Module], cells: Tensor) -> None:
    """Pass some windows of a grid's tokens, (tokens, C), through blocks, in place."""
    windows = x[cells]
    for block in blocks:
        windows = block(windows)
    x[cells] = windows
