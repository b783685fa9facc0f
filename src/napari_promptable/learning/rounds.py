"""Several rounds of prompts on one encoding, from first answers to corrections."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_promptable.learning.batches import Batch, Prompted
from napari_promptable.learning.corrections import choose_corrections
from napari_promptable.learning.losses import prompt_loss
from napari_promptable.learning.prompts import choose_stroke_points
from napari_promptable.models.prompt_encoder import BOX_TOP_LEFT, FOREGROUND
from napari_promptable.models.sam import Sam

CORRECTION_SHARES = (0.35, 0.4, 0.15, 0.1)
"""Of the iterations, that answer once, twice, three and four times."""

SECOND_LOOK_SHARE = 0.4
"""Of the further answers, that get the last mask only and no correcting click."""

CARRIED_LOOK_SHARE = 0.5
"""Of the carried masks, that are followed by a second look."""

Figures = dict[str, Tensor]
"""Numbers for the curve, left on the device so that nothing waits for them."""


@dataclass(frozen=True)
class Scene:
    """What the prompts of a batch are answered with.

    Attributes
    ----------
    model : Sam
        The network.
    embedding : Tensor, shape (B, C, rows, columns)
        Of the batch's images.
    top, left : int
        Where the images lie in the network's input, in cells; its positions are drawn, so that
        all positional encodings are trained.
    shown_share : float
        See `prompt_loss`.
    """

    model: Sam
    embedding: Tensor
    top: int
    left: int
    shown_share: float = 0.0

    def answer(self, prompted: Prompted) -> tuple[Tensor, Tensor]:
        """Logits (N, 4, S / 2, S / 2) and predicted IoU (N, 4) of prompted objects."""
        stride = self.model.patch_stride
        x, y = prompted.points_xy.unbind(dim=2)
        return self.model.decode(
            self.embedding.index_select(0, prompted.image_index),
            torch.stack([x + stride * self.left, y + stride * self.top], dim=2),
            prompted.point_labels,
            prompted.mask_logits,
            window=(self.top, self.left, *self.embedding.shape[-2:]),
        )

    def to_low_res(self, masks: Tensor) -> Tensor:
        """Share of each low-res pixel that masks cover: (N, S, S) → (N, h, w)."""
        return F.avg_pool2d(masks[:, None].float(), self.model.patch_stride // 4)[:, 0]


def make_scene(
    model: Sam, embedding: Tensor, rng: np.random.Generator, shown_share: float = 0.0
) -> Scene:
    """Put the images of a batch at a random position of the network's input."""
    free = model.prompt_encoder.image_embedding_size[0] - embedding.shape[-1]
    top, left = (int(n) for n in rng.integers(0, free + 1, 2))
    return Scene(model, embedding, top, left, shown_share)


def answer_drawn(
    scene: Scene, batch: Batch, rng: np.random.Generator
) -> tuple[Tensor, Figures]:
    """Loss of boxes, clicks and strokes and, now and then, of second looks and corrections."""
    prompted = batch.drawn
    target = scene.to_low_res(prompted.masks)
    is_box = prompted.point_labels[:, 0] == BOX_TOP_LEFT
    is_click = (prompted.point_labels == FOREGROUND).sum(dim=1) == 1
    corrections = int(rng.choice(len(CORRECTION_SHARES), p=CORRECTION_SHARES))
    generator = torch.Generator(target.device).manual_seed(int(rng.integers(2**31)))
    total = scene.embedding.new_zeros(())
    figures: Figures = {}
    for step in range(1 + corrections):
        logits, predicted_iou = scene.answer(prompted)
        is_ambiguous = is_click if step == 0 else torch.zeros_like(is_click)
        first = is_click if step == 0 else None
        loss, iou = prompt_loss(logits, predicted_iou, target, first, scene.shown_share)
        total = total + loss
        best = chosen_candidate(predicted_iou, ~is_ambiguous)
        every = torch.arange(len(best), device=best.device)
        if step == 0:
            figures |= _first_figures(iou, predicted_iou, best, is_box, is_click)
        else:
            figures["corrected_iou"] = iou[:, 0].mean()
        if step < corrections:
            previous = logits.detach()[every, best][:, None]
            prompted = replace(prompted, mask_logits=previous)
            if rng.random() >= SECOND_LOOK_SHARE:
                prompted = _correct(prompted, target, choose_stroke_points(rng), generator)
    return total, figures


def _first_figures(
    iou: Tensor, predicted_iou: Tensor, best: Tensor, is_box: Tensor, is_click: Tensor
) -> Figures:
    """IoU of boxes and clicks, of the best candidates, and the error of the predicted IoU."""
    every = torch.arange(len(best), device=best.device)
    error = (iou - predicted_iou.detach())[every, best].abs()
    return {
        "box_iou": _mean_of(iou[:, 0], is_box),
        "point_iou": _mean_of(iou[every, best], is_click),
        "best_of_three": _mean_of(iou[:, 1:].max(dim=1).values, is_click),
        "iou_error": _mean_of(error, is_click),
    }


def _mean_of(values: Tensor, is_selected: Tensor) -> Tensor:
    """Mean of the selected values (N,), without asking the device how many there are."""
    return (values * is_selected).sum() / is_selected.sum()


def answer_carried(
    scene: Scene, batch: Batch, rng: np.random.Generator
) -> tuple[Tensor, Figures]:
    """Loss of masks carried from a neighbouring slice, also when they are looked at twice."""
    prompted = batch.carried
    if len(prompted.masks) == 0:
        return scene.embedding.new_zeros(()), {}
    target = scene.to_low_res(prompted.masks)
    is_present = prompted.masks.flatten(1).any(dim=1)
    total, figures = scene.embedding.new_zeros(()), {}
    for look in range(1 + (rng.random() < CARRIED_LOOK_SHARE)):
        logits, predicted_iou = scene.answer(prompted)
        loss, iou = prompt_loss(logits, predicted_iou, target, None)
        total = total + loss
        if look == 0:
            figures["carried_iou"] = _mean_of(iou[:, 0], is_present)
            area = (logits[:, 0] > 0).float().mean((1, 2))
            figures["absent_area"] = _mean_of(area, ~is_present)
        prompted = replace(prompted, mask_logits=logits.detach()[:, :1])
    return total, figures


def chosen_candidate(predicted_iou: Tensor, is_single: Tensor) -> Tensor:
    """Mask 0 for boxes and corrections, else the best of masks 1 to 3 by predicted IoU."""
    best = 1 + predicted_iou[:, 1:].argmax(dim=1)
    return torch.where(is_single, torch.zeros_like(best), best)


def _correct(
    prompted: Prompted, target: Tensor, stroke_points: int, generator: torch.Generator
) -> Prompted:
    """Add a click or a stroke in each object's error region."""
    assert prompted.mask_logits is not None
    answer = prompted.mask_logits[:, 0] > 0
    points, labels = choose_corrections(target > 0.5, answer, stroke_points, generator)
    scale = prompted.masks.shape[-1] // target.shape[-1]
    shift = torch.randint(0, scale, points.shape, generator=generator, device=points.device)
    return replace(
        prompted,
        points_xy=torch.cat([prompted.points_xy, points * scale + shift], dim=1),
        point_labels=torch.cat([prompted.point_labels, labels], dim=1),
    )
