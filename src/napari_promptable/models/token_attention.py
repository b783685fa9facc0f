"""Attention between few tokens and many cells, for inference: only tokens are projected.

Both classes take the place of an `Attention` of the mask decoder and give the same answer, but
for rounding. T is the number of tokens, K that of cells, C their width, D that of a head.
"""

import torch
from torch import Tensor, nn

from napari_promptable.models.mask_decoder import Attention


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

    Parameters
    ----------
    attention : Attention
        The layer to prepare.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention
        heads = attention.num_heads
        self.q, self.k, self.v = (
            _Projection(layer, heads)
            for layer in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        self.head_dim = self.q.weight.shape[1]

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Let tokens (N, T, C) attend to cells (N or 1, K, C); returns (N, T, C)."""
        if q.shape[1] >= self.head_dim:  # many tokens: projecting the cells is less work
            return self.attention(q, k, v)  # type: ignore[no-any-return]
        queries = (self.head_dim**-0.5 * self.q(q)) @ self.k.weight  # (N, heads, T, C)
        rows = queries.reshape(len(k), -1, queries.shape[-1])
        weights = torch.bmm(rows, k.transpose(1, 2))
        torch.softmax(weights, -1, out=weights)
        sums = torch.bmm(weights, v).view(queries.shape)
        attended = sums @ self.v.weight.transpose(1, 2) + self.v.bias
        return self.attention.out_proj(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class ImageToTokenAttention(nn.Module):
    """Cells look at tokens.

    The projections of the cells' queries and of the output move to the tokens' keys and values.
    The weights of a cell add up to 1 in every head, so that the output's bias can be shared out
    among the values.

    Parameters
    ----------
    attention : Attention
        The layer to prepare.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention
        heads = attention.num_heads
        self.q, self.k, self.v = (
            _Projection(layer, heads)
            for layer in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        out = attention.out_proj
        self.out_weight = out.weight.detach().T.unflatten(0, (heads, -1)).contiguous()
        self.out_bias = out.bias.detach() / heads
        self.head_dim = self.q.weight.shape[1]

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Let cells (N or 1, K, C) attend to tokens (N, T, C); returns (N, K, C)."""
        if k.shape[1] >= self.head_dim:
            return self.attention(q, k, v)  # type: ignore[no-any-return]
        keys = self.head_dim**-0.5 * self.k(k)  # (N, heads, T, D)
        rows = keys @ self.q.weight  # (N, heads, T, C)
        offsets = keys @ self.q.bias.transpose(1, 2)  # (N, heads, T, 1)
        values = self.v(v) @ self.out_weight + self.out_bias  # (N, heads, T, C)
        scores = rows.flatten(1, 2) @ q.transpose(1, 2)  # (N, heads × T, K)
        scores = scores.unflatten(1, rows.shape[1:3]).add_(offsets)
        weights = torch.softmax(scores, dim=2).flatten(1, 2)
        return torch.bmm(weights.transpose(1, 2), values.flatten(1, 2))
