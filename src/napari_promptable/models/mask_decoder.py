"""SAM's mask decoder: image embedding + prompt tokens → masks and their predicted IoU.

Source: "Segment Anything" (SAM), arXiv 2304.02643, section 3, appendix A and figure 14.
Token axes are named T (tokens) and K (cells of the image embedding, rows × columns).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.layers import MLP, ConvBlock, LayerNorm2d, unfold_patches
from napari_promptable.models.quality_head import QualityHead


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than the tokens' width.

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
        """Let queries (N, T, C) attend to keys and values (N, K, C). Returns (N, T, C)."""
        queries, keys, values = (
            self.split_heads(projection(x))
            for projection, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        return self.join_heads(F.scaled_dot_product_attention(queries, keys, values))

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the weights that `forward` applies but never holds, (N, heads, T, K).

        They are softmax(q kᵀ / √D) over the keys.
        """
        queries, keys = self.split_heads(self.q_proj(q)), self.split_heads(self.k_proj(k))
        scores = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5
        weights: Tensor = scores.softmax(dim=-1)
        return weights

    def split_heads(self, x: Tensor) -> Tensor:
        """(N, T, inner width) → (N, heads, T, D)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # type: ignore[no-any-return]

    def join_heads(self, attended: Tensor) -> Tensor:
        """(N, heads, T, D) → (N, T, C)."""
        return self.out_proj(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class TokenMLP(nn.Module):
    """The two-layer perceptron inside a two-way block."""

    def __init__(self, embed_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.lin1: nn.Module = nn.Linear(embed_dim, hidden_dim)
        self.lin2: nn.Module = nn.Linear(hidden_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, C) to the same shape."""
        return self.lin2(F.relu(self.lin1(x)))  # type: ignore[no-any-return]


class TwoWayAttentionBlock(nn.Module):
    """Tokens attend to themselves and to the image, then the image attends to the tokens.

    Parameters
    ----------
    embed_dim, num_heads, mlp_dim : int
        Width, heads and hidden width of the perceptron.
    is_first : bool
        In the first block, tokens are their own positions, so none are added.
    """

    def __init__(self, embed_dim: int, num_heads: int, mlp_dim: int, is_first: bool) -> None:
        super().__init__()
        self.self_attn = Attention(embed_dim, num_heads)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.cross_attn_token_to_image = Attention(embed_dim, num_heads, downsample_rate=2)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.mlp = TokenMLP(embed_dim, mlp_dim)
        self.norm3 = nn.LayerNorm(embed_dim)
        self.norm4 = nn.LayerNorm(embed_dim)
        self.cross_attn_image_to_token = Attention(embed_dim, num_heads, downsample_rate=2)
        self.is_first = is_first

    def forward(
        self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update both sides.

        Parameters
        ----------
        tokens, token_pe : Tensor, shape (N, T, C)
            Tokens and their position, which is their value before the first block.
        image, image_pe : Tensor, shape (N or 1, K, C) and (1, K, C)
            Cells of the image embedding and their positions.

        Returns
        -------
        tokens, image : Tensor, shape (N, T, C) and (N, K, C)
            Updated tokens and cells.
        """
        tokens = self.attend_to_tokens(tokens, token_pe)
        attended = self.cross_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        tokens = self.norm2(tokens + attended)
        tokens = self.norm3(tokens + self.mlp(tokens))
        attended = self.cross_attn_image_to_token(image + image_pe, tokens + token_pe, tokens)
        return tokens, self.norm4(image + attended)

    def attend_to_tokens(self, tokens: Tensor, token_pe: Tensor) -> Tensor:
        """Let tokens attend to each other. Shapes are (N, T, C)."""
        if self.is_first:
            return self.norm1(self.self_attn(tokens, tokens, tokens))  # type: ignore[no-any-return]
        q = tokens + token_pe
        return self.norm1(tokens + self.self_attn(q, q, tokens))  # type: ignore[no-any-return]


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
        self.final_attn_token_to_image = Attention(embed_dim, num_heads, downsample_rate=2)
        self.norm_final_attn = nn.LayerNorm(embed_dim)

    def forward(self, image: Tensor, image_pe: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return updated tokens (N, T, C) and image cells (N, K, C)."""
        token_pe = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe)
        attended = self.final_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        return self.norm_final_attn(tokens + attended), image


class MaskUpscaling(nn.Sequential):
    """Upscale the image embedding four times, and draw masks on it.

    Parameters
    ----------
    embed_dim : int
        Width C of the image embedding.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(embed_dim, embed_dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(embed_dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(embed_dim // 4, embed_dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )

    def forward(  # type: ignore[override]
        self, image: Tensor, details: Sequence[Tensor], weights: Tensor
    ) -> Tensor:
        """Draw masks.

        Parameters
        ----------
        image : Tensor, shape (N, C, rows, columns)
            Updated image embedding.
        details : sequence of Tensor, shape (N or 1, …, rows, columns)
            Added after the first and the second upscaling; their pixels are folded into
            channels once and twice, see `fold_patches`. There may be fewer than two.
        weights : Tensor, shape (N, C / 8, M)
            Of each mask.

        Returns
        -------
        Tensor, shape (N, M, 4 * rows, 4 * columns)
            Logits: the dot product of each pixel's features with the weights.
        """
        up, norm, gelu, up_again, last_gelu = self
        upscaled = up(image)
        if len(details) > 0:
            upscaled = upscaled + unfold_patches(details[0])
        upscaled = up_again(gelu(norm(upscaled)))
        if len(details) > 1:
            upscaled = upscaled + unfold_patches(unfold_patches(details[1]))
        return torch.einsum("ncm,nchw->nmhw", weights, last_gelu(upscaled))


class Hypernetworks(nn.ModuleList):
    """A perceptron for each mask, which turns the mask's token into weights to draw it with."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (N, T, C), of which the first M are those of masks, to (N, C / 8, M)."""
        return torch.stack([mlp(tokens[:, i]) for i, mlp in enumerate(self)], dim=2)


class MaskDecoder(nn.Module):
    """Answer prompts with four masks and a predicted IoU for each.

    Mask 0 answers a clear prompt, masks 1 to 3 are the levels (whole, part, subpart) of an
    ambiguous one.

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
        self.transformer: nn.Module = transformer
        self.iou_token = nn.Embedding(1, embed_dim)
        self.mask_tokens = nn.Embedding(num_masks, embed_dim)
        self.fusion = nn.Sequential(
            *[ConvBlock(embed_dim, kernel_size=5, expansion=2) for _ in range(fusion_depth)]
        )
        self.output_upscaling: nn.Module = MaskUpscaling(embed_dim)
        self.output_hypernetworks_mlps: nn.Module = Hypernetworks(
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
        tokens, image = self.meet(image_embedding, image_pe, sparse, dense)
        logits = self.draw_masks(tokens[:, 1:], image, image_embedding)
        predicted_iou: Tensor = self.iou_prediction_head(tokens[:, 0])
        if self.quality_head is not None:
            mask_tokens = tokens[:, 1 : 1 + logits.shape[1]]
            predicted_iou = predicted_iou + self.quality_head(logits, image, mask_tokens)
        return logits, predicted_iou

    @property
    def output_tokens(self) -> Tensor:
        """Tokens (T, C) that become the answer: of the predicted IoU, then of each mask."""
        return torch.cat([self.iou_token.weight, self.mask_tokens.weight])

    def meet(
        self, image_embedding: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run the transformer on output tokens, prompts and image. See `forward`.

        Returns updated tokens, the output tokens (N, T, C) first, and the updated image
        (N, C, rows, columns).
        """
        tokens = torch.cat([self.output_tokens.expand(len(sparse), -1, -1), sparse], dim=1)
        image = self.fusion(dense + image_embedding[:, : self.embed_dim])
        tokens, cells = self.transformer(to_sequence(image), to_sequence(image_pe), tokens)
        return tokens, cells.transpose(1, 2).unflatten(2, image.shape[-2:])

    def draw_masks(self, tokens: Tensor, image: Tensor, image_embedding: Tensor) -> Tensor:
        """Draw four masks (N, 4, …) with the first tokens (N, T, C) on the updated image."""
        weights = self.output_hypernetworks_mlps(tokens)
        logits: Tensor = self.output_upscaling(image, self.details(image_embedding), weights)
        return logits

    def details(self, image_embedding: Tensor) -> Sequence[Tensor]:
        """Split details off an image embedding, see `MaskUpscaling.forward`."""
        return [image_embedding[:, self.embed_dim :]] if self.with_details else []


def to_sequence(feature_map: Tensor) -> Tensor:
    """(N, C, rows, columns) → (N, rows × columns, C)."""
    return feature_map.flatten(2).transpose(1, 2).contiguous()
