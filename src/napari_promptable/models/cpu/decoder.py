"""Prompt encoder and mask decoder prepared for inference on a CPU.

The mathematics is the one of `napari_promptable.models.mask_decoder` and `.prompt_encoder`, and
tests compare both. The differences:

- The image is a sequence of cells, and cells are worked on some at a time, so that they stay in
  the cache. Within a cell, pixels stay together until the masks are drawn: a convolution or
  transposed convolution of stride 2 is then a matrix product.
- Attention between tokens and cells projects the tokens only, see `.attention`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.cpu.attention import (
    CellUpdate,
    ImageToTokenAttention,
    TokenToImageAttention,
)
from napari_promptable.models.cpu.packed import PackedLayer, PackedLinear, multiply_each
from napari_promptable.models.cpu.parallel import Cells, share_out
from napari_promptable.models.layers import LayerNorm2d
from napari_promptable.models.mask_decoder import (
    Hypernetworks,
    MaskUpscaling,
    TwoWayAttentionBlock,
    TwoWayTransformer,
)

_FEW_TOKENS = 8  # of a click: those of the output, of the click and of the padding
_CELLS_AT_ONCE = 1024  # in the transformer; they are 1 MB in SAM
_CELLS_UPSCALED_AT_ONCE = 512  # 0.5 MB in SAM, 8 MB when upscaled


class TwoWayBlockPlan(nn.Module):
    """`TwoWayAttentionBlock`.

    Parameters
    ----------
    block : TwoWayAttentionBlock
        The block to prepare.
    cells : Cells
        Applies functions to cells.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(
        self, block: TwoWayAttentionBlock, cells: Cells, packed: bool | None = None
    ) -> None:
        super().__init__()
        self.block = block
        self.look_at_image = TokenToImageAttention(
            block.cross_attn_token_to_image, cells, packed
        )
        self.look_at_tokens = ImageToTokenAttention(block.cross_attn_image_to_token, packed)
        mlp = block.mlp
        assert isinstance(mlp.lin1, nn.Linear) and isinstance(mlp.lin2, nn.Linear)
        mlp.lin1 = PackedLayer(mlp.lin1, _FEW_TOKENS, packed)
        mlp.lin2 = PackedLayer(mlp.lin2, _FEW_TOKENS, packed)

    def forward(
        self,
        tokens: Tensor,
        image: Tensor,
        token_pe: Tensor,
        image_pe: Tensor,
        update: CellUpdate | None,
    ) -> tuple[Tensor, Tensor, CellUpdate]:
        """Do what `TwoWayAttentionBlock.forward` does, but leave this block's cells to others.

        Parameters
        ----------
        tokens, image, token_pe, image_pe
            As in `TwoWayAttentionBlock.forward`; the image as the block before found it.
        update : CellUpdate or None
            What the block before leaves to do.

        Returns
        -------
        tokens : Tensor
            Updated.
        image : Tensor
            As the block before should have returned it.
        update : CellUpdate
            What this block leaves to do.
        """
        block = self.block
        tokens = block.attend_to_tokens(tokens, token_pe)
        attended, image = self.look_at_image(tokens + token_pe, image, image_pe, update)
        tokens = block.norm2(tokens + attended)
        tokens = block.norm3(tokens + block.mlp(tokens))
        attend = self.look_at_tokens.towards(tokens + token_pe, tokens)

        def update_cells(cells: Tensor, positions: Tensor) -> Tensor:
            return block.norm4(attend(cells + positions).add_(cells))  # type: ignore[no-any-return]

        return tokens, image, update_cells


class TwoWayTransformerPlan(nn.Module):
    """`TwoWayTransformer`.

    Tokens do not wait for the cells of the block before, so each block's cells are updated
    when the next one looks at them, while they are in the cache.

    Parameters
    ----------
    transformer : TwoWayTransformer
        The layers to prepare.
    num_outputs : int
        How many of the tokens are needed in the end, the first ones.
    packed : bool, optional
        See `PackedLinear`.

    Attributes
    ----------
    plain : TwoWayTransformer
        The same layers as they were.
    """

    def __init__(
        self, transformer: TwoWayTransformer, num_outputs: int, packed: bool | None = None
    ) -> None:
        super().__init__()
        self.plain, self.num_outputs = transformer, num_outputs
        cells = Cells(_CELLS_AT_ONCE)
        self.layers = nn.ModuleList()
        for block in transformer.layers:
            assert isinstance(block, TwoWayAttentionBlock)
            self.layers.append(TwoWayBlockPlan(block, cells, packed))
        self.last_look = TokenToImageAttention(
            transformer.final_attn_token_to_image, cells, packed
        )
        self.norm = transformer.norm_final_attn

    def forward(self, image: Tensor, image_pe: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See `TwoWayTransformer.forward`. Returns the first `num_outputs` tokens only."""
        token_pe, update = tokens, None
        for layer in self.layers:
            tokens, image, update = layer(tokens, image, token_pe, image_pe, update)
        tokens, token_pe = tokens[:, : self.num_outputs], token_pe[:, : self.num_outputs]
        attended, image = self.last_look(tokens + token_pe, image, image_pe, update)
        return self.norm(tokens + attended), image


class HypernetworksPlan(nn.Module):
    """`Hypernetworks`, a layer of all of them at a time.

    Parameters
    ----------
    perceptrons : Hypernetworks
        The layers to prepare.
    """

    def __init__(self, perceptrons: Hypernetworks) -> None:
        super().__init__()
        of_all = list(zip(*(mlp.get_submodule("layers") for mlp in perceptrons), strict=True))
        self.weights = [torch.stack([each.weight.T for each in layers]) for layers in of_all]
        self.biases = [torch.stack([each.bias[None] for each in layers]) for layers in of_all]

    def forward(self, tokens: Tensor) -> Tensor:
        """See `Hypernetworks.forward`."""
        x = tokens[:, : len(self.weights[0])].transpose(0, 1)
        *hidden, last = zip(self.biases, self.weights, strict=True)
        for bias, weight in hidden:
            x = torch.baddbmm(bias, x, weight).relu_()
        bias, weight = last
        return torch.baddbmm(bias, x, weight).permute(1, 2, 0)


class MaskUpscalingPlan(nn.Module):
    """`MaskUpscaling`.

    Parameters
    ----------
    layers : MaskUpscaling
        The layers to prepare.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(self, layers: MaskUpscaling, packed: bool | None) -> None:
        super().__init__()
        up, norm, _, up_again, _ = layers
        self.up = _pack_upscaling(up, _CELLS_UPSCALED_AT_ONCE, packed)
        self.norm = _norm_of_rows(norm)
        self.up_again = _pack_upscaling(up_again, 4 * _CELLS_UPSCALED_AT_ONCE, packed)
        self.packed = self.up.packed

    def forward(self, image: Tensor, details: Sequence[Tensor], weights: Tensor) -> Tensor:
        """See `MaskUpscaling.forward`."""
        n, _, rows, columns = image.shape
        logits = image.new_empty(n, weights.shape[-1], 4 * rows, 4 * columns)
        rows_at_once = max(1, _CELLS_UPSCALED_AT_ONCE // columns)

        def draw(strip: tuple[Tensor, ...]) -> None:
            target, *maps = strip
            pixels = self._upscale(*(each.flatten(2).transpose(1, 2) for each in maps))
            drawn = multiply_each(weights.transpose(1, 2), pixels, self.packed)
            _copy_cells(drawn.view(*target.shape[:2], -1, columns, 16), target)

        maps = (each.split(rows_at_once, 2) for each in (image, *details))
        share_out(draw, zip(logits.split(4 * rows_at_once, 2), *maps, strict=True))
        return logits

    def _upscale(self, cells: Tensor, *details: Tensor) -> Tensor:
        """Make 16 pixels of each cell: (N, K, C) → (N, 16 * K, C / 8)."""
        by_cell = cells.shape[:2]
        upscaled = self.up(cells.flatten(0, 1)).unflatten(0, by_cell)
        if len(details) > 0:
            upscaled += details[0]
        rows = F.gelu(self.norm(upscaled.unflatten(2, (4, -1)))).flatten(0, 2)
        if len(details) > 1:
            pixels = F.gelu(self.up_again(rows).view(*by_cell, -1).add_(details[1]))
        else:
            pixels = self.up_again.gelu(rows)
        return pixels.view(len(cells), 16 * cells.shape[1], -1)


class MapDownscaling(nn.Module):
    """`PromptEncoder.mask_downscaling`: maps of masks → embeddings of cells.

    Parameters
    ----------
    layers : Sequential
        The layers to prepare.
    """

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        first, norm, _, second, next_norm, _, last = layers
        self.steps = nn.ModuleList([_linear_of_patches(first), _linear_of_patches(second)])
        self.norms = nn.ModuleList([_norm_of_rows(norm), _norm_of_rows(next_norm)])
        self.last = _linear_of_patches(last)

    def forward(self, maps: Tensor) -> Tensor:
        """Map (N, M, 4 * rows, 4 * columns) to (N, C, rows, columns)."""
        x = image_to_cells(maps)
        for linear, norm in zip(self.steps, self.norms, strict=True):
            x = F.gelu(norm(linear(x.flatten(-3))))
        embeddings: Tensor = self.last(x)
        return embeddings.permute(0, 3, 1, 2)


def _linear_of_patches(layer: nn.Module) -> nn.Linear:
    """Make a linear layer of a convolution of patches, one output each."""
    assert isinstance(layer, nn.Conv2d) and layer.bias is not None
    weight = layer.weight.permute(0, 2, 3, 1).flatten(1).contiguous()
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = nn.Parameter(weight, False), nn.Parameter(layer.bias, False)
    return linear


def _norm_of_rows(norm: nn.Module) -> nn.LayerNorm:
    """Make a norm of the last axis of a norm of channels."""
    assert isinstance(norm, LayerNorm2d)
    of_rows = nn.LayerNorm(len(norm.weight), norm.eps, device="meta")
    of_rows.weight, of_rows.bias = norm.weight, norm.bias
    return of_rows


def _pack_upscaling(layer: nn.Module, rows: int, packed: bool | None) -> PackedLinear:
    """Pack a transposed convolution of stride 2: C → 4 pixels of C' each."""
    assert isinstance(layer, nn.ConvTranspose2d) and layer.bias is not None
    weight = layer.weight.detach().permute(2, 3, 1, 0).flatten(0, 2)
    return PackedLinear(weight, layer.bias.detach().repeat(4), rows, packed)


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


def _copy_cells(cells: Tensor, image: Tensor) -> None:
    """Sort the pixels of cells, (N, C, h, w, 16) as in `image_to_cells`, into an image.

    Two pixels side by side are copied as one number of twice the bytes: within a cell, no more
    of them lie together, and each number costs the same time.
    """
    pairs = cells.view(torch.int64).unflatten(4, (2, 2, 2))
    targets = image.view(torch.int64).unflatten(3, (-1, 2)).unflatten(2, (-1, 2, 2))
    targets.copy_(pairs.permute(0, 1, 2, 4, 6, 3, 5))
