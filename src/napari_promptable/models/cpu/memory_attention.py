"""How SAM 2's memory attention is computed on a CPU: `RotaryAttention` prepared for inference.

A memory has seven times as many cells as the image embedding, so nearly all time goes into
attention. It differs from the plain form:

- Values are projected after the weighted sum: a memory has 64 channels, its projection 256. The
  weights add up to 1, so that the bias stays. The output's projection is in the same product.
- Keys and values are packed as weights, and scores are made for a few rows of queries at a
  time, which threads share out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_promptable.models.cpu.packed import PackedLinear
from napari_promptable.models.cpu.parallel import share_out
from napari_promptable.models.sam2.memory_attention import RotaryAttention

_QUERIES_AT_ONCE = 64  # a block of scores is 7 MB for a full memory at 1024 px


class RotaryAttentionPlan(nn.Module):
    """`RotaryAttention` in blocks of queries.

    Parameters
    ----------
    attention : RotaryAttention
        The layer to prepare.
    packed : bool, optional
        See `PackedLinear`.
    """

    def __init__(self, attention: RotaryAttention, packed: bool | None) -> None:
        super().__init__()
        self.attention, self.packed = attention, packed
        values, out = attention.v_proj, attention.out_proj
        self.out_weight = out.weight.detach() @ values.weight.detach()
        self.out_bias = out.weight.detach() @ values.bias.detach() + out.bias.detach()

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, rotations: Tensor, num_unplaced: int = 0
    ) -> Tensor:
        """See `RotaryAttention.forward`."""
        queries, keys = self.attention.place(q, k, rotations, num_unplaced)
        queries = queries * queries.shape[-1] ** -0.5
        attended = q.new_empty(*q.shape[:2], v.shape[-1])
        for parts in zip(queries, keys, v, attended, strict=True):
            self._attend(*parts)
        return nn.functional.linear(attended, self.out_weight, self.out_bias)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, attended: Tensor) -> None:
        """Let the queries of one object attend. All are (tokens, width)."""
        to_scores = PackedLinear(keys, None, _QUERIES_AT_ONCE, self.packed)
        to_sums = PackedLinear(values.T, None, _QUERIES_AT_ONCE, self.packed)

        def attend(part: tuple[Tensor, Tensor]) -> None:
            some, result = part
            scores = to_scores(some)
            result.copy_(to_sums(torch.softmax(scores, -1, out=scores)))

        blocks = (x.split(_QUERIES_AT_ONCE) for x in (queries, attended))
        share_out(attend, zip(*blocks, strict=True))
