"""Attention between few tokens and many cells, for inference: only tokens are projected.

Both classes replace an `Attention` of the mask decoder and give the same answer up to rounding.
T is the number of tokens, K the number of cells, C their width, D the width of a head.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.cpu.packed import can_pack, multiply_each
from napari_promptable.models.cpu.parallel import Cells
from napari_promptable.models.mask_decoder import Attention

CellUpdate = Callable[[Tensor, Tensor], Tensor]
"""Maps cells (N or 1, part of K, C) and their positions to updated cells (N, part of K, C)."""


class _Projection:
    """A linear layer from or to the heads of an attention layer.

    Attributes
    ----------
    weight : Tensor, shape (heads, D, C)
        Of each head.
    bias : Tensor, shape (heads, 1, D)
        Of each head.
    """

    def __init__(self, layer: nn.Linear, num_heads: int) -> None:
        self.weight = layer.weight.detach().unflatten(0, (num_heads, -1))
        self.bias = layer.bias.detach().reshape(num_heads, 1, -1)

    def __call__(self, tokens: Tensor) -> Tensor:
        """Map (N, T, C) to (N, heads, T, D)."""
        heads: Tensor = tokens[:, None] @ self.weight.transpose(1, 2) + self.bias
        return heads


class TokenToImageAttention(nn.Module):
    """Tokens look at cells.

    (query W_k) · cell is query · (W_k cell), so that the keys' projection moves to the queries;
    its bias adds the same to all scores of a query, which a softmax does not see. Values are
    projected after the weighted sum, and its weights add up to 1, so that their bias stays.
    Each part of the cells has a softmax of its own. The parts' answers then count in proportion
    to the sums of their exponentials.

    Parameters
    ----------
    attention : Attention
        The layer to prepare.
    cells : Cells
        Applies functions to cells.
    packed : bool, optional
        Whether to use oneDNN's products, see `PackedLinear`.
    """

    def __init__(self, attention: Attention, cells: Cells, packed: bool | None = None) -> None:
        super().__init__()
        self.attention, self.cells = attention, cells
        self.packed = can_pack() if packed is None else packed
        heads = attention.num_heads
        self.q, self.k, self.v = (
            _Projection(layer, heads)
            for layer in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        self.head_dim = self.q.weight.shape[1]

    def forward(
        self, q: Tensor, image: Tensor, image_pe: Tensor, update: CellUpdate | None = None
    ) -> tuple[Tensor, Tensor]:
        """Let tokens attend to cells.

        Parameters
        ----------
        q : Tensor, shape (N, T, C)
            Tokens.
        image, image_pe : Tensor, shape (N or 1, K, C) and (1, K, C)
            Cells and their positions.
        update : CellUpdate, optional
            Replaces the cells before the tokens look.

        Returns
        -------
        attended : Tensor, shape (N, T, C)
            What the tokens found.
        image : Tensor, shape (N or 1, K, C)
            The cells that they looked at. Updated ones lie in memory that the next update of
            this shape in this thread reuses; it may be given them.
        """
        if q.shape[1] >= self.head_dim:  # many tokens: projecting the cells is less work
            if update is not None:
                image = self.cells.map(update, (len(q), *image.shape[1:]), image, image_pe)
            return self.attention(q, image + image_pe, image), image
        queries = (self.head_dim**-0.5 * self.q(q)) @ self.k.weight  # (N, heads, T, C)
        updated = image
        if update is not None:
            updated = self.cells.take(len(q), *image.shape[1:])
        rows = queries.reshape(len(updated), -1, queries.shape[-1])

        def look(cells: Tensor, positions: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
            if update is not None:
                cells = target.copy_(update(cells, positions))
            scores = multiply_each(rows, cells + positions, self.packed)
            weights = scores.softmax(-1)
            # A softmax is exp(scores - highest) / total, so its greatest is 1 / total.
            log_sums = scores.amax(-1, keepdim=True) - weights.amax(-1, keepdim=True).log()
            means = multiply_each(weights, cells.transpose(1, 2), self.packed)
            return log_sums, means

        looks = self.cells.in_parts(look, image, image_pe, updated)
        log_sums, means = (torch.stack(values) for values in zip(*looks, strict=True))
        means = (log_sums.softmax(0) * means).sum(0).view(queries.shape)
        attended = means @ self.v.weight.transpose(1, 2) + self.v.bias
        return self.attention.out_proj(attended.transpose(1, 2).flatten(2)), updated


class ImageToTokenAttention(nn.Module):
    """Cells look at tokens.

    The projections of the cells' queries and of the output move to the tokens' keys and values.
    The weights of a cell add up to 1 in every head, so that the output's bias can be shared out
    among the values.

    Parameters
    ----------
    attention : Attention
        The layer to prepare.
    packed : bool, optional
        Whether to use oneDNN's products, see `PackedLinear`.
    """

    def __init__(self, attention: Attention, packed: bool | None = None) -> None:
        super().__init__()
        self.attention = attention
        self.packed = can_pack() if packed is None else packed
        heads = attention.num_heads
        self.q, self.k, self.v = (
            _Projection(layer, heads)
            for layer in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        out = attention.out_proj
        self.out_weight = out.weight.detach().T.unflatten(0, (heads, -1)).contiguous()
        self.out_bias = out.bias.detach() / heads
        self.head_dim = self.q.weight.shape[1]

    def towards(self, k: Tensor, v: Tensor) -> Callable[[Tensor], Tensor]:
        """Return a function that lets cells (N or 1, K, C) attend to tokens (N, T, C)."""
        if k.shape[1] >= self.head_dim:
            return self._towards_many(k, v)
        keys = self.head_dim**-0.5 * self.k(k)  # (N, heads, T, D)
        rows = (keys @ self.q.weight).flatten(1, 2)  # (N, heads × T, C)
        offsets = (keys @ self.q.bias.transpose(1, 2)).flatten(1, 2)  # (N, heads × T, 1)
        values = (self.v(v) @ self.out_weight + self.out_bias).flatten(1, 2)

        def attend(q: Tensor) -> Tensor:
            scores = multiply_each(rows, q.expand(len(rows), -1, -1), self.packed)
            scores = scores.add_(offsets).unflatten(1, keys.shape[1:3])
            weights = scores.softmax(dim=2).flatten(1, 2)
            return multiply_each(weights.transpose(1, 2), values.transpose(1, 2), self.packed)

        return attend

    def _towards_many(self, k: Tensor, v: Tensor) -> Callable[[Tensor], Tensor]:
        """Do the same for many tokens, where projecting the cells is less work."""
        attention, keys, values = self.attention, self.k(k), self.v(v)

        def attend(q: Tensor) -> Tensor:
            queries = attention.split_heads(attention.q_proj(q))
            return attention.join_heads(F.scaled_dot_product_attention(queries, keys, values))

        return attend
