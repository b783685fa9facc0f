"""SAM's mask decoder: image embedding + prompt tokens → masks and their predicted IoU.

Source: "Segment Anything" (SAM), arXiv 2304.02643, section 3, appendix A and figure 14.
Token axes are named T (tokens) and K (cells of the image embedding, rows × columns).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.cpu.cells import Cells
from napari_promptable.models.layers import MLP, ConvBlock, PatchUp, patches_to_image
from napari_promptable.models.quality_head import QualityHead


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than the tokens'.

    Parameters
    ----------
    embed_dim : int
        Width C of queries, keys, values and output.
    num_heads : int
        Number of heads.
    downsample_rate : int, default 1
        The inner width is C divided by this.
    """

    def __init__(self, embed_dim: int, num_heads: int, downsample_rate: int = 1) -> None:
        super().__init__()
        inner_dim = embed_dim // downsample_rate
        self.num_heads = num_heads
        self.q_proj = nn.Linear(embed_dim, inner_dim)
        self.k_proj = nn.Linear(embed_dim, inner_dim)
        self.v_proj = nn.Linear(embed_dim, inner_dim)
        self.out_proj = nn.Linear(inner_dim, embed_dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Let queries (N, T, C) attend to keys and values (N, K, C); returns (N, T, C)."""
        return self.towards(k, v)(q)

    def towards(self, k: Tensor, v: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what lets queries attend to these keys and values, projected once."""
        keys, values = self._split_heads(self.k_proj(k)), self._split_heads(self.v_proj(v))

        def attend(q: Tensor) -> Tensor:
            queries = self._split_heads(self.q_proj(q))
            attended = F.scaled_dot_product_attention(queries, keys, values)
            together: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
            return together

        return attend

    def _split_heads(self, x: Tensor) -> Tensor:
        """(N, T, inner width) → (N, heads, T, D)."""
        heads: Tensor = x.unflatten(-1, (self.num_heads, -1))
        return heads.transpose(1, 2)


class LooksAtTokens(Protocol):
    """`Attention`, or what takes its place at inference."""

    def towards(self, k: Tensor, v: Tensor) -> Callable[[Tensor], Tensor]:
        """See `Attention.towards`."""
        ...


class ImageAttention(Attention):
    """Attention of tokens to cells, whose positions count in keys, not in values."""

    def forward(self, q: Tensor, image: Tensor, image_pe: Tensor) -> Tensor:
        """Let tokens (N, T, C) attend to cells (N or 1, K, C) at positions (1, K, C)."""
        return super().forward(q, image + image_pe, image)


class TokenMLP(nn.Module):
    """The two-layer perceptron inside a two-way block."""

    def __init__(self, embed_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(embed_dim, hidden_dim)
        self.lin2 = nn.Linear(hidden_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, C) to the same shape."""
        return self.lin2(F.relu(self.lin1(x)))  # type: ignore[no-any-return]


class TwoWayAttentionBlock(nn.Module):
    """Tokens attend to themselves and to the image; then the image attends to the tokens.

    Parameters
    ----------
    embed_dim, num_heads, mlp_dim : int
        Width, heads and hidden width of the perceptron.
    is_first : bool
        In the first block the tokens carry no position besides their own value.
    """

    def __init__(self, embed_dim: int, num_heads: int, mlp_dim: int, is_first: bool) -> None:
        super().__init__()
        self.self_attn = Attention(embed_dim, num_heads)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.cross_attn_token_to_image: nn.Module = ImageAttention(
            embed_dim, num_heads, downsample_rate=2
        )
        self.norm2 = nn.LayerNorm(embed_dim)
        self.mlp = TokenMLP(embed_dim, mlp_dim)
        self.norm3 = nn.LayerNorm(embed_dim)
        self.norm4 = nn.LayerNorm(embed_dim)
        self.cross_attn_image_to_token: LooksAtTokens = Attention(
            embed_dim, num_heads, downsample_rate=2
        )
        self.is_first = is_first
        self.cells = Cells()

    def forward(
        self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update both sides.

        Parameters
        ----------
        tokens, token_pe : Tensor, shape (N, T, C)
            Tokens and their position, which is their value before the first block.
        image, image_pe : Tensor, shape (N, K, C) and (1, K, C)
            Cells of the image embedding and their positions.

        Returns
        -------
        tokens, image : Tensor
            Of the same shapes.
        """
        if self.is_first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pe
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        q = tokens + token_pe
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(q, image, image_pe))
        tokens = self.norm3(tokens + self.mlp(tokens))
        attend = self.cross_attn_image_to_token.towards(tokens + token_pe, tokens)

        shape = (len(tokens), *image.shape[1:])

        def update(cells: Tensor, positions: Tensor) -> Tensor:
            return self.norm4(attend(cells + positions).add_(cells))  # type: ignore[no-any-return]

        return tokens, self.cells.map(update, shape, image, image_pe)


class TwoWayTransformer(nn.Module):
    """Two-way blocks, then a last look of the tokens at the image.

    Parameters
    ----------
    depth, embed_dim, num_heads, mlp_dim : int
        Number of blocks, width, heads and hidden width of the perceptrons.
    """

    def __init__(self, depth: int, embed_dim: int, num_heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(embed_dim, num_heads, mlp_dim, is_first=i == 0)
            for i in range(depth)
        )
        self.final_attn_token_to_image: nn.Module = ImageAttention(
            embed_dim, num_heads, downsample_rate=2
        )
        self.norm_final_attn = nn.LayerNorm(embed_dim)

    def forward(self, image: Tensor, image_pe: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return updated tokens (N, T, C) and image cells (N, K, C)."""
        token_pe = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe)
        attended = self.final_attn_token_to_image(tokens + token_pe, image, image_pe)
        return self.norm_final_attn(tokens + attended), image


class MaskDecoder(nn.Module):
    """Answer prompts with four masks and a predicted IoU for each.

    Mask 0 is for prompts that leave no doubt; masks 1 to 3 are the levels (whole, part,
    subpart) of an ambiguous one.

    Parameters
    ----------
    embed_dim : int
        Width C of tokens and image embedding.
    transformer : TwoWayTransformer
        Where tokens and image meet.
    iou_head_hidden_dim : int
        Hidden width of the head that predicts the IoU.
    fusion_depth : int, default 0
        Convolutional blocks between the sum of image and dense prompt embedding and the
        transformer; SAM has none, the bundled model two.
    with_details : bool, default False
        Whether the image embedding is followed by details at twice its resolution, which are
        added between the two upscalings, as in SAM 2 (arXiv 2408.00714). SAM has none.
    with_quality_head : bool, default False
        Whether predicted IoUs are corrected by features under the masks. SAM's are not.
    """

    num_multimask_outputs = 3

    def __init__(
        self,
        embed_dim: int,
        transformer: TwoWayTransformer,
        iou_head_hidden_dim: int,
        fusion_depth: int = 0,
        with_details: bool = False,
        with_quality_head: bool = False,
    ) -> None:
        super().__init__()
        num_masks = self.num_multimask_outputs + 1
        self.embed_dim = embed_dim
        self.with_details = with_details
        self.cells = Cells()
        self.transformer = transformer
        self.iou_token = nn.Embedding(1, embed_dim)
        self.mask_tokens = nn.Embedding(num_masks, embed_dim)
        self.fusion = nn.Sequential(
            *[ConvBlock(embed_dim, kernel_size=5, expansion=2) for _ in range(fusion_depth)]
        )
        self.output_upscaling = nn.Sequential(
            PatchUp(embed_dim, embed_dim // 4),
            nn.LayerNorm(embed_dim // 4, eps=1e-6),
            nn.GELU(),
            PatchUp(embed_dim // 4, embed_dim // 8),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(embed_dim, embed_dim, embed_dim // 8, 3) for _ in range(num_masks)
        )
        self.iou_prediction_head = MLP(embed_dim, iou_head_hidden_dim, num_masks, 3)
        self.quality_head = QualityHead(embed_dim, num_masks) if with_quality_head else None

    def forward(
        self, image_embedding: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Predict all four masks of N prompts.

        Parameters
        ----------
        image_embedding : Tensor, shape (N or 1, C, rows, columns)
            From the image encoder; details follow in further channels.
        image_pe : Tensor, shape (1, C, rows, columns)
            Positional encoding of its cells.
        sparse : Tensor, shape (N, P, C)
            Prompt tokens.
        dense : Tensor, shape (N or 1, C, rows or 1, columns or 1)
            Dense prompt embeddings.

        Returns
        -------
        low_res_logits : Tensor, shape (N, 4, 4 * rows, 4 * columns)
            Unthresholded masks; positive is foreground.
        predicted_iou : Tensor, shape (N, 4)
            Predicted IoU of each mask.
        """
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens, cells = self._meet(output_tokens, image_embedding, image_pe, sparse, dense)
        mask_tokens = tokens[:, 1 : 1 + len(self.output_hypernetworks_mlps)]
        logits = self._draw_masks(mask_tokens, cells, image_embedding)
        predicted_iou = self.iou_prediction_head(tokens[:, 0])
        if self.quality_head is not None:
            predicted_iou = predicted_iou + self.quality_head(logits, cells, mask_tokens)
        return patches_to_image(logits, image_embedding.shape[-2:]), predicted_iou

    def _meet(
        self,
        output_tokens: Tensor,
        image_embedding: Tensor,
        image_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Run the transformer on output tokens (T, C), prompts and image; see `forward`.

        Returns updated tokens (N, T + P, C) and cells (N, K, C).
        """
        tokens = torch.cat([output_tokens.expand(len(sparse), -1, -1), sparse], dim=1)
        cells = self.fusion(dense + image_embedding[:, : self.embed_dim])
        answer: tuple[Tensor, Tensor] = self.transformer(
            _to_sequence(cells), _to_sequence(image_pe), tokens
        )
        return answer

    def _draw_masks(
        self, mask_tokens: Tensor, cells: Tensor, image_embedding: Tensor
    ) -> Tensor:
        """Draw the masks of tokens (N, 4, C) on cells (N, K, C): (N, K, 16, 4)."""
        weights = torch.stack(
            [mlp(mask_tokens[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)],
            dim=2,
        )
        draw, shape = partial(self._draw, weights), (*cells.shape[:2], 16, weights.shape[-1])
        return self.cells.map(draw, shape, cells, *self._details(image_embedding))

    def _details(self, image_embedding: Tensor) -> list[Tensor]:
        """Details to add after each upscaling, the coarser first, if there are any.

        They are (N or 1, K, 2, 2, C / 4) and (N or 1, K, 2, 2, 2, 2, C / 8).
        """
        if not self.with_details:
            return []
        return [unfold_details(image_embedding[:, self.embed_dim :], depth=1)]

    def _draw(self, weights: Tensor, cells: Tensor, *details: Tensor) -> Tensor:
        """Draw masks with weights (N, C / 8, 4) on cells (N, K, C): (N, K, 16, 4)."""
        upscale, norm, gelu, upscale_again, last_gelu = self.output_upscaling
        coarse, fine = (*details, None, None)[:2]
        upscaled: Tensor = upscale(cells)
        upscaled = gelu(norm(upscaled if coarse is None else upscaled + coarse))
        upscaled = upscale_again(upscaled)
        upscaled = last_gelu(upscaled if fine is None else upscaled + fine)
        logits = upscaled.flatten(1, 5) @ weights
        return logits.view(len(logits), -1, 16, logits.shape[-1])


def unfold_details(folded: Tensor, depth: int) -> Tensor:
    """Take details out of the channels that they are folded into.

    Parameters
    ----------
    folded : Tensor, shape (N, 4 ** depth * D, rows, columns)
        Details of the pixels of each cell, all channels of a pixel together.
    depth : int
        How often a cell is cut into 2 × 2.

    Returns
    -------
    Tensor, shape (N, rows * columns, 2, 2, …, D)
        With two axes for each cut, rows first.
    """
    pixels = folded.unflatten(1, (*[2] * (2 * depth), -1))
    details: Tensor = pixels.movedim((-2, -1), (1, 2)).flatten(1, 2)
    return details


def _to_sequence(feature_map: Tensor) -> Tensor:
    """(N, C, rows, columns) → (N, rows × columns, C)."""
    return feature_map.flatten(2).transpose(1, 2).contiguous()
