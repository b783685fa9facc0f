"""How SAM 2's image encoder is computed on a CPU: trunk and neck prepared for inference.

It gives the same result as `napari_promptable.models.sam2.hiera` and its neck; a test compares
them. It differs in this:

- Stages one and two, and the first block of the third, attend inside the same windows in
  pixels, though their grids differ. So a few windows at a time go through all these blocks and
  stay in the cache; the large maps of stride 4 never exist. Further runs of windowed blocks are
  treated alike.
- Padding exists only as keys of windows that stick out of the grid, see
  `napari_promptable.models.cpu.vit`.
- In global attention, keys and values of a head are packed as weights, and scores are made for
  a few rows of queries at a time.
- The neck's convolutions of the two finest levels and the mask decoder's, which follow them,
  are one product.
- Linear layers are packed, and take the activation or the sum that follows into the product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from math import isqrt
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.cpu.packed import PackedLinear
from napari_promptable.models.cpu.parallel import share_out
from napari_promptable.models.cpu.vit import group_windows
from napari_promptable.models.sam2.fpn_neck import FpnNeck
from napari_promptable.models.sam2.hiera import PATCH_STRIDE, POOL, Hiera, HieraBlock

_NUMBERS_AT_ONCE = 2**17  # of some tokens; the perceptron's inner layer then is 2 MB
_QUERIES_AT_ONCE = 128  # of a head in global attention: a block of scores is 2 MB at 1024 px


class HieraBlockPlan(nn.Module):
    """A block whose tokens attend inside windows.

    Parameters
    ----------
    block : HieraBlock
        The layer to prepare; it is used up.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(self, block: HieraBlock, packed: bool | None) -> None:
        super().__init__()
        self.window_size, self.pools = block.window_size, block.pools
        self.tokens_at_once = _tokens_at_once(block)
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.num_heads = block.attn.num_heads
        first, last = block.mlp.layers
        assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
        self.qkv, self.proj, self.lin1, self.lin2 = (
            PackedLinear.of(layer, self.tokens_at_once, packed)
            for layer in (block.attn.qkv, block.attn.proj, first, last)
        )
        self.skip = (
            None
            if block.proj is None
            else PackedLinear.of(block.proj, self.tokens_at_once, packed)
        )

    def forward(self, windows: Tensor) -> Tensor:
        """Map windows of one shape, (windows, rows, columns, C), to their output."""
        assert self.window_size is not None
        shape = windows.shape[:3]
        y = self.norm1(windows.flatten(0, 2))
        qkv = self.qkv(y).unflatten(0, shape)
        q, k, v = qkv.chunk(3, dim=-1)
        if self.pools:
            q = _pool(q)
        k, v = (self._with_padding(part, number) for number, part in ((1, k), (2, v)))
        heads = [x.flatten(1, 2).unflatten(-1, (self.num_heads, -1)) for x in (q, k, v)]
        attended = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in heads))
        attended = attended.transpose(1, 2).reshape(-1, q.shape[-1])
        tokens = self._finish(self._skip(windows, y), attended)
        return tokens.view(*q.shape[:3], -1)

    def _skip(self, windows: Tensor, normed: Tensor) -> Tensor:
        """What the attention is added to, (tokens, C')."""
        if self.skip is None:
            return windows.flatten(0, 2)
        widened = self.skip(normed).unflatten(0, windows.shape[:3])
        return (_pool(widened) if self.pools else widened).flatten(0, 2)

    def _with_padding(self, x: Tensor, part: int) -> Tensor:
        """Complete windows (windows, rows, columns, C) by what padding gives."""
        side, (rows, columns) = self.window_size or 0, x.shape[1:3]
        if rows == columns == side:
            return x
        assert self.qkv.bias is not None
        bias = self.qkv.bias.chunk(3)[part]
        padded = bias.expand(len(x), side, side, -1).clone()
        padded[:, :rows, :columns] = x
        return padded

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add the attention's output, then the perceptron's. Both are (tokens, C)."""
        x = self.proj.add(attended, x)
        return self.lin2.add(self.lin1.gelu(self.norm2(x)), x)


class GlobalHieraBlockPlan(HieraBlockPlan):
    """A block whose tokens attend to the whole grid. It neither pools nor widens."""

    def forward(self, x: Tensor) -> Tensor:
        """Change the tokens of an image, (tokens, C), and return them."""
        count = self.tokens_at_once
        parts = [slice(n, n + count) for n in range(0, len(x), count)]
        qkv = x.new_empty(3, *x.shape)
        attended = torch.empty_like(x)

        def project(part: slice) -> None:
            qkv[:, part] = self.qkv(self.norm1(x[part])).unflatten(1, (3, -1)).transpose(0, 1)

        def finish(part: slice) -> None:
            x[part] = self._finish(x[part], attended[part])

        share_out(project, parts)
        heads = zip(*(y.chunk(self.num_heads, dim=1) for y in (*qkv, attended)), strict=True)
        share_out(self._attend, heads)
        share_out(finish, parts)
        return x

    def weights_of(self, x: Tensor, row: int, column: int) -> Tensor:
        """Weights of one cell's query, (heads, side, side), as in `forward` on `x`."""
        side = isqrt(len(x))
        qkv = self.qkv(self.norm1(x)).unflatten(1, (3, self.num_heads, -1))
        q, k, _ = qkv.unbind(1)
        scores = torch.einsum("hd,thd->ht", q[row * side + column], k) * q.shape[-1] ** -0.5
        weights: Tensor = scores.softmax(-1).unflatten(1, (side, side))
        return weights

    def _attend(self, head: tuple[Tensor, ...]) -> None:
        """Let a head attend: queries, keys, values (tokens, D), and where the result goes."""
        q, k, v, attended = head
        packed = self.proj.packed
        keys = PackedLinear(k.contiguous(), None, _QUERIES_AT_ONCE, packed)
        values = PackedLinear(v.T, None, _QUERIES_AT_ONCE, packed)
        q = q * q.shape[1] ** -0.5
        for first in range(0, len(q), _QUERIES_AT_ONCE):
            some = slice(first, first + _QUERIES_AT_ONCE)
            scores = keys(q[some])
            attended[some] = values(torch.softmax(scores, -1, out=scores))


def _tokens_at_once(block: HieraBlock) -> int:
    """How many tokens of a block's input are worked on at a time, fewer where they are wide."""
    return _NUMBERS_AT_ONCE // block.norm1.normalized_shape[0]


def _pool(x: Tensor) -> Tensor:
    """`pool_cells`, as maxima of four views, which is faster than a reduction."""
    top, bottom = (x[:, row::POOL] for row in range(POOL))
    rows = torch.maximum(top, bottom)
    return torch.maximum(rows[:, :, 0::POOL], rows[:, :, 1::POOL])


Emit = Callable[[int, Tensor, Tensor], None]
"""Receives the number of a finished stage, cells of its grid, and their features."""


class WindowRun(nn.Module):
    """Blocks that attend inside the same windows of the image, one after the other.

    Parameters
    ----------
    blocks : sequence of HieraBlock
        The layers to prepare; they are used up.
    ends : sequence of int or None
        For each block, the stage that it ends.
    grid_size : int
        Rows and columns of the first block's input.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(
        self,
        blocks: Sequence[HieraBlock],
        ends: Sequence[int | None],
        grid_size: int,
        packed: bool | None,
    ) -> None:
        super().__init__()
        assert blocks[0].window_size is not None
        self.groups = group_windows(
            grid_size, blocks[0].window_size, _tokens_at_once(blocks[0])
        )
        self.blocks = nn.ModuleList(HieraBlockPlan(block, packed) for block in blocks)
        self.ends, self.grid_size = ends, grid_size
        self.output_size = grid_size // POOL ** sum(block.pools for block in blocks)
        self.output_dim = blocks[-1].norm2.normalized_shape[0]

    def forward(self, x: Tensor, emit: Emit) -> Tensor:
        """Map the tokens of an image, (tokens, C), to (tokens', C')."""
        result = x.new_empty(self.output_size**2, self.output_dim)

        def pass_blocks(cells: Tensor) -> None:
            windows, side = x[cells], self.grid_size
            for block, stage in zip(self.blocks, self.ends, strict=True):
                windows = block(windows)
                if block.pools:
                    cells = _pool_places(cells, side)
                    side //= POOL
                if stage is not None:
                    emit(stage, cells, windows)
            result[cells] = windows

        share_out(pass_blocks, self.groups)
        return result


class GlobalRun(nn.Module):
    """One block that attends to the whole grid.

    Parameters
    ----------
    block, packed
        As in `HieraBlockPlan`.
    end : int or None
        The stage that it ends.
    """

    def __init__(self, block: HieraBlock, end: int | None, packed: bool | None) -> None:
        super().__init__()
        self.block, self.end = GlobalHieraBlockPlan(block, packed), end

    def forward(self, x: Tensor, emit: Emit) -> Tensor:
        """Change the tokens of an image, (tokens, C), and return them."""
        x = self.block(x)
        if self.end is not None:
            emit(self.end, torch.arange(len(x)), x)
        return x


def _pool_places(cells: Tensor, side: int) -> Tensor:
    """Cells of the pooled grid, from cells (windows, rows, columns) of a grid."""
    corners = cells[:, ::POOL, ::POOL]
    return (corners // side // POOL) * (side // POOL) + corners % side // POOL


class HieraPlan(nn.Module):
    """Trunk and neck prepared for inference on a CPU, in float32.

    Parameters
    ----------
    trunk, neck : Hiera, FpnNeck
        They are used up, so that no weights are held twice.
    details : (Conv2d, Conv2d)
        The 1 × 1 convolutions that follow the levels of stride 4 and 8.
    image_size : int
        Side of the network's input in pixels.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(
        self,
        trunk: Hiera,
        neck: FpnNeck,
        details: tuple[nn.Conv2d, nn.Conv2d],
        image_size: int,
        packed: bool | None = None,
    ) -> None:
        super().__init__()
        self.patch_embed = trunk.patch_embed
        self.patch_embed.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.grid_size = image_size // PATCH_STRIDE
        positions = trunk.positions(self.grid_size, self.grid_size)
        self.positions = positions.detach().flatten(0, 2)
        self.laterals = [
            PackedLinear(weight, bias, _NUMBERS_AT_ONCE // weight.shape[1], packed)
            for weight, bias in _laterals(neck, details)
        ]
        self.dims = [len(bias) for _, bias in _laterals(neck, details)]
        self.runs = nn.ModuleList(_build_runs(trunk, self.grid_size, packed))
        trunk.blocks = nn.ModuleList()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Encode images.

        Parameters
        ----------
        x : Tensor, shape (N, 3, image_size, image_size)
            Normalised images.

        Returns
        -------
        list of 3 Tensor, each of shape (N, …)
            Levels at strides 4, 8 and 16; the first two have passed the decoder's convolutions.
        """
        levels = [self._encode(image[None]) for image in x]
        return [torch.cat(maps) for maps in zip(*levels, strict=True)]

    def _encode(self, image: Tensor) -> list[Tensor]:
        image = image.contiguous(memory_format=torch.channels_last)
        x = self.patch_embed(image)[0].permute(1, 2, 0).flatten(0, 1)
        del image  # 12 MB that the layers below would keep
        x += self.positions
        sizes = [self.grid_size // POOL**stage for stage in range(len(self.laterals))]
        levels = [
            x.new_empty(size**2, width) for size, width in zip(sizes, self.dims, strict=True)
        ]

        def emit(stage: int, cells: Tensor, tokens: Tensor) -> None:
            product = self.laterals[stage](tokens.flatten(0, -2))
            levels[stage][cells.flatten()] = product

        for run in self.runs:
            x = run(x, emit)
        maps = [
            level.T.unflatten(1, (size, size))[None]
            for size, level in zip(sizes, levels, strict=True)
        ]
        coarsest = F.interpolate(maps.pop(), scale_factor=2.0, mode="nearest")
        return [*maps[:2], maps[2] + coarsest]


def _build_runs(
    trunk: Hiera, grid_size: int, packed: bool | None
) -> Iterator[WindowRun | GlobalRun]:
    """Split the blocks into runs. Windows are as large in pixels throughout a run."""
    stage_of_end = {index: stage for stage, index in enumerate(trunk.stage_ends)}
    places: list[tuple[int | None, _Place]] = []
    for index, block in enumerate(trunk.blocks):
        assert isinstance(block, HieraBlock)
        window = None if block.window_size is None else grid_size // block.window_size
        places.append((window, _Place(block, stage_of_end.get(index), grid_size)))
        grid_size //= POOL if block.pools else 1
    for windows_per_row, group in groupby(places, itemgetter(0)):
        run = [place for _, place in group]
        if windows_per_row is None:
            yield from (GlobalRun(place.block, place.end, packed) for place in run)
        else:
            blocks, ends = [place.block for place in run], [place.end for place in run]
            yield WindowRun(blocks, ends, run[0].grid_size, packed)


class _Place(NamedTuple):
    """A block, the stage that it ends, and rows and columns of its input."""

    block: HieraBlock
    end: int | None
    grid_size: int


def _laterals(
    neck: FpnNeck, details: tuple[nn.Conv2d, nn.Conv2d]
) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases of what each stage passes, the finest first."""
    products: list[tuple[Tensor, Tensor]] = []
    for conv in reversed(neck.convs):
        products.append(
            (conv.get_parameter("conv.weight").flatten(1), conv.get_parameter("conv.bias"))
        )
    for level, following in enumerate(details):
        assert following.bias is not None
        matrix, (weight, bias) = following.weight.flatten(1), products[level]
        products[level] = (matrix @ weight, matrix @ bias + following.bias)
    return products
