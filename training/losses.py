"""Losses on low-res logits and predicted IoU.

Source of the mixture: SAM, arXiv 2304.02643, appendix A (focal : dice = 20 : 1, mean square
error for the IoU), with plain cross-entropy added, which speeds the first hour up.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FOCAL_WEIGHT, CROSS_ENTROPY_WEIGHT, DICE_WEIGHT = 20.0, 5.0, 1.0
IOU_WEIGHT = 5.0  # so that the choice among candidates, and among scales, is learned too
FOCAL_GAMMA = 2


def mask_losses(logits: Tensor, target: Tensor) -> Tensor:
    """Focal + cross-entropy + dice of every candidate.

    Parameters
    ----------
    logits : Tensor, shape (N, M, h, w)
        Candidates.
    target : Tensor, shape (N, h, w)
        Share of each cell that the object covers, 0 to 1.

    Returns
    -------
    Tensor, shape (N, M)
        Losses.
    """
    goal = target[:, None].expand_as(logits)
    probability = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, goal, reduction="none")
    miss = (probability - goal).abs()
    focal = (miss**FOCAL_GAMMA * cross_entropy).mean((2, 3))
    overlap = (probability * goal).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (probability.sum((2, 3)) + goal.sum((2, 3)) + 1)
    return (
        FOCAL_WEIGHT * focal
        + CROSS_ENTROPY_WEIGHT * cross_entropy.mean((2, 3))
        + DICE_WEIGHT * dice
    )


@torch.no_grad()
def iou_of(logits: Tensor, target: Tensor) -> Tensor:
    """IoU of thresholded candidates with the target, shape (N, M)."""
    predicted, truth = logits > 0, target[:, None] > 0.5
    union = (predicted | truth).sum((2, 3)).clamp(min=1)
    return (predicted & truth).sum((2, 3)) / union


def prompt_loss(
    logits: Tensor, predicted_iou: Tensor, target: Tensor, is_first: bool
) -> tuple[Tensor, Tensor]:
    """Loss of all four masks of N prompts.

    Mask 0 answers every prompt. For first prompts the best of masks 1 to 3 is trained too,
    so that these become the levels of an ambiguous prompt.

    Returns
    -------
    loss : Tensor, scalar
        Mean over prompts.
    iou : Tensor, shape (N, 4)
        IoU of each candidate with the target.
    """
    losses = mask_losses(logits, target)
    iou = iou_of(logits, target)
    iou_errors = (predicted_iou - iou).square()
    loss = losses[:, 0].mean() + IOU_WEIGHT * iou_errors.mean()
    if is_first:
        loss = loss + losses[:, 1:].min(dim=1).values.mean()
    return loss, iou


def dense_loss(maps: Tensor, target: Tensor) -> Tensor:
    """Loss of the pre-training task: foreground, borders, offsets to the centre."""
    foreground, border = target[:, 0], target[:, 1]
    offset_error = (maps[:, 2:4] - target[:, 2:4]).abs() * foreground[:, None]
    return (
        F.binary_cross_entropy_with_logits(maps[:, 0], foreground)
        + F.binary_cross_entropy_with_logits(
            maps[:, 1], border, pos_weight=maps.new_tensor(3.0)
        )
        + offset_error.sum() / (2 * foreground.sum().clamp(min=1))
    )


def size_loss(log2_diameters: Tensor, target: Tensor) -> Tensor:
    """Error of the estimated object sizes in octaves.

    Parameters
    ----------
    log2_diameters : Tensor, shape (B, 1, rows, columns)
        From the size head.
    target : Tensor, shape (B, rows, columns)
        0 where the size is not known.

    Returns
    -------
    Tensor, scalar
        Mean over the cells of known size.
    """
    is_known = target > 0
    errors = F.smooth_l1_loss(log2_diameters[:, 0], target, reduction="none", beta=0.3)
    return (errors * is_known).sum() / is_known.sum().clamp(min=1)
