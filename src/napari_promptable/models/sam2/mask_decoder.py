"""SAM 2's mask decoder: SAM's, with high-resolution features and an object score.

Source: "SAM 2: Segment Anything in Images and Videos", arXiv 2408.00714, section 4 and
appendix D.1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from napari_promptable.models.layers import MLP, fold_patches
from napari_promptable.models.mask_decoder import MaskDecoder, TwoWayTransformer

_STABILITY_OFFSET = 0.05  # of logits: how far the threshold is moved up and down
_LEAST_STABILITY = 0.98  # of the single mask, below which the best of the others replaces it


class DecodedObjects(NamedTuple):
    """All masks of N objects, and what the decoder says about each object.

    Attributes
    ----------
    logits : Tensor, shape (N, 4, h, w)
        Unthresholded masks.
    predicted_iou : Tensor, shape (N, 4)
        Predicted IoU of each mask.
    mask_tokens : Tensor, shape (N, 4, C)
        Tokens that the masks were drawn from.
    object_score : Tensor, shape (N,)
        Positive where the object is in the image.
    """

    logits: Tensor
    predicted_iou: Tensor
    mask_tokens: Tensor
    object_score: Tensor


class Sam2MaskDecoder(MaskDecoder):
    """SAM's mask decoder with features of stride 4 and 8, and an object-score token.

    Parameters
    ----------
    embed_dim : int
        Width C of tokens and image embedding.
    transformer : TwoWayTransformer
        Where tokens and image meet.
    """

    def __init__(self, embed_dim: int, transformer: TwoWayTransformer) -> None:
        super().__init__(embed_dim, transformer, iou_head_hidden_dim=embed_dim)
        self.conv_s0: nn.Module = nn.Conv2d(embed_dim, embed_dim // 8, 1)
        self.conv_s1: nn.Module = nn.Conv2d(embed_dim, embed_dim // 4, 1)
        self.obj_score_token = nn.Embedding(1, embed_dim)
        self.pred_obj_score_head = MLP(embed_dim, embed_dim, 1, 3)

    def fold_levels(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """Join the levels of the feature pyramid into one image embedding.

        Parameters
        ----------
        fine, middle, coarse : Tensor, shape (N, C, …)
            Levels at strides 4, 8 and 16.

        Returns
        -------
        Tensor, shape (N, 4 * C, rows, columns)
            Of stride 16: C channels of the coarse level, then the details of each cell, which
            are 2 × 2 pixels of C / 4 channels and 4 × 4 pixels of C / 8 channels.
        """
        middle = fold_patches(self.conv_s1(middle))
        fine = fold_patches(fold_patches(self.conv_s0(fine)))
        return torch.cat([coarse, middle, fine], dim=1)

    def details(self, image_embedding: Tensor) -> Sequence[Tensor]:
        """Split off the middle and the fine level, which `fold_levels` has added."""
        levels = [self.embed_dim, self.embed_dim, 2 * self.embed_dim]
        _, middle, fine = image_embedding.split(levels, dim=1)
        return [middle, fine]

    @property
    def output_tokens(self) -> Tensor:
        """SAM's output tokens (T, C), after the one of the object score."""
        return torch.cat([self.obj_score_token.weight, super().output_tokens])

    def decode_objects(
        self, image_embedding: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor
    ) -> DecodedObjects:
        """Predict masks, and whether the object is there. Parameters are as in `forward`."""
        tokens, image = self.meet(image_embedding, image_pe, sparse, dense)
        mask_tokens = tokens[:, 2 : 2 + len(self.mask_tokens.weight)]
        return DecodedObjects(
            self.draw_masks(mask_tokens, image, image_embedding),
            self.iou_prediction_head(tokens[:, 1]).sigmoid(),
            mask_tokens,
            self.pred_obj_score_head(tokens[:, 0])[:, 0],
        )

    def forward(
        self, image_embedding: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Predict all four masks of N prompts, see `MaskDecoder.forward`."""
        decoded = self.decode_objects(image_embedding, image_pe, sparse, dense)
        return decoded.logits, decoded.predicted_iou


def replace_unstable(logits: Tensor, predicted_iou: Tensor) -> tuple[Tensor, Tensor]:
    """Let the best of the three levels stand in for a single mask that is not stable.

    Parameters
    ----------
    logits : Tensor, shape (N, 4, h, w)
        The single mask, then the three levels.
    predicted_iou : Tensor, shape (N, 4)
        Of each mask.

    Returns
    -------
    logits, predicted_iou : Tensor
        Of the same shapes; only mask 0 may differ.

    Notes
    -----
    Stability is the IoU of the masks at a threshold a little higher and a little lower
    (appendix D.1 of the paper).
    """
    is_stable = _stability(logits[:, 0]) >= _LEAST_STABILITY
    if is_stable.all():
        return logits, predicted_iou
    best = 1 + predicted_iou[:, 1:].argmax(dim=1)
    chosen = torch.where(is_stable, 0, best)
    rows = torch.arange(len(logits), device=logits.device)
    return (
        torch.cat([logits[rows, chosen][:, None], logits[:, 1:]], dim=1),
        torch.cat([predicted_iou[rows, chosen][:, None], predicted_iou[:, 1:]], dim=1),
    )


def _stability(logits: Tensor) -> Tensor:
    """Stability of masks (N, h, w): (N,), or 1 where nothing is near the mask."""
    inner = (logits > _STABILITY_OFFSET).flatten(1).sum(dim=1).float()
    outer = (logits > -_STABILITY_OFFSET).flatten(1).sum(dim=1).float()
    return torch.where(outer > 0, inner / outer, 1.0)
