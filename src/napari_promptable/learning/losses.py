"""Losses on low-res logits, predicted IoU, maps of all objects and sizes.

Source of the mixture: SAM, arXiv 2304.02643, appendix A (focal : dice = 20 : 1, mean square
error for the IoU), with plain cross-entropy added, which speeds the first hour up.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FOCAL_WEIGHT, CROSS_ENTROPY_WEIGHT, DICE_WEIGHT = 20.0, 5.0, 1.0
IOU_WEIGHT = 5.0  # so that the choice among candidates, and among scales, is learned too
IOU_BETA = 0.1  # of IoU, above which its error counts linearly
REGRET_WEIGHT, CHOICE_TEMPERATURE = 2.0, 0.05
BORDER_WEIGHT = 3.0  # of border pixels, which are few
OFFSET_BETA = 0.1  # of radii, above which an error counts linearly
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
    logits: Tensor,
    predicted_iou: Tensor,
    target: Tensor,
    is_ambiguous: Tensor | None,
    shown_share: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Loss of all four masks of N prompts.

    Mask 0 answers every prompt. For first prompts the best of masks 1 to 3 is trained too,
    so that these become the levels of an ambiguous prompt. A user's labelled objects tell
    which level is meant, so the mask that the user would see may be trained instead.

    Parameters
    ----------
    logits : Tensor, shape (N, 4, h, w)
        Masks.
    predicted_iou : Tensor, shape (N, 4)
        Of these.
    target : Tensor, shape (N, h, w)
        Share of each cell that the object covers, 0 to 1.
    is_ambiguous : Tensor of bool, shape (N,), or None
        First prompts among which the levels are chosen by predicted IoU: single clicks; None
        if these are no first prompts.
    shown_share : float, default 0
        Weight, 0 to 1, of the one of masks 1 to 3 with the highest predicted IoU; the best of
        them has the rest.

    Returns
    -------
    loss : Tensor, scalar
        Mean over prompts.
    iou : Tensor, shape (N, 4)
        IoU of each candidate with the target.
    """
    losses = mask_losses(logits, target)
    iou = iou_of(logits, target)
    iou_errors = F.smooth_l1_loss(predicted_iou, iou, reduction="none", beta=IOU_BETA)
    loss = losses[:, 0].mean() + IOU_WEIGHT * iou_errors.mean()
    if is_ambiguous is not None:
        shown = predicted_iou[:, 1:].argmax(dim=1, keepdim=True)
        best, of_shown = losses[:, 1:].min(dim=1).values, losses[:, 1:].gather(1, shown)
        loss = loss + torch.lerp(best.mean(), of_shown.mean(), shown_share)
        regret = choice_regret(predicted_iou[:, 1:], iou[:, 1:])
        loss = loss + REGRET_WEIGHT * (regret * is_ambiguous).mean()
    return loss, iou


def choice_regret(predicted_iou: Tensor, iou: Tensor) -> Tensor:
    """IoU that is lost by choosing the candidate with the highest predicted IoU.

    The choice is softened, so that the loss has a gradient.

    Parameters
    ----------
    predicted_iou, iou : Tensor, shape (N, M)
        Of M candidates.

    Returns
    -------
    Tensor, shape (N,)
        0 to 1.
    """
    chance = (predicted_iou / CHOICE_TEMPERATURE).softmax(dim=1)
    regret: Tensor = iou.max(dim=1).values - (chance * iou).sum(dim=1)
    return regret


def instance_loss(maps: Tensor, target: Tensor) -> Tensor:
    """Loss of the maps of all objects, where the labels can be trusted.

    Parameters
    ----------
    maps : Tensor, shape (B, 4, h, w)
        From the instance head.
    target : Tensor, shape (B, 6, h, w)
        From `dense_targets`.

    Returns
    -------
    Tensor, scalar
        Cross-entropy and dice of the foreground, cross-entropy of the borders, and error of
        the offsets, averaged over foreground only.
    """
    foreground, border, known = target[:, 0], target[:, 1], target[:, 5]
    cells, inside = known.sum().clamp(min=1), foreground.sum().clamp(min=1)
    cross_entropy = F.binary_cross_entropy_with_logits(maps[:, 0], foreground, reduction="none")
    border_entropy = F.binary_cross_entropy_with_logits(
        maps[:, 1], border, reduction="none", pos_weight=maps.new_full((), BORDER_WEIGHT)
    )
    probability = maps[:, 0].sigmoid() * known
    overlap = (probability * foreground).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / ((probability + foreground).sum((1, 2)) + 1)
    offset_errors = F.smooth_l1_loss(
        maps[:, 2:4], target[:, 2:4], reduction="none", beta=OFFSET_BETA
    )
    return (
        ((cross_entropy + border_entropy) * known).sum() / cells
        + dice.mean()
        + (offset_errors * foreground[:, None]).sum() / (2 * inside)
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
