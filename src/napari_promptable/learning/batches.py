"""Batches of crops with simulated first prompts. Everything follows from (seed, iteration)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_promptable.learning.carried import CarriedMask, choose_carried_masks
from napari_promptable.learning.crops import Crop
from napari_promptable.learning.prompts import choose_stroke_points, simulate_first_prompt
from napari_promptable.learning.sampling import MIN_OBJECT_AREA, CropSampler
from napari_promptable.learning.targets import dense_targets, known_region
from napari_promptable.models.prompt_encoder import PADDING


@dataclass(frozen=True)
class Prompted:
    """N objects of a batch with their first prompts.

    Attributes
    ----------
    image_index : Tensor of int, shape (N,)
        Image of each object.
    masks : Tensor of bool, shape (N, S, S)
        Objects; empty where the prompt shows one that is not there.
    points_xy, point_labels : Tensor, shapes (N, P, 2) and (N, P)
        Clicks and box corners in crop pixels.
    mask_logits : Tensor of float32, shape (N, 1, S / 2, S / 2), or None
        Masks carried from a neighbouring slice.
    """

    image_index: Tensor
    masks: Tensor
    points_xy: Tensor
    point_labels: Tensor
    mask_logits: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """Crops and prompted objects in them.

    Attributes
    ----------
    images : Tensor, shape (B, 3, S, S), float32
        0 to 255.
    validity : Tensor, shape (B, 1, S, S), float32
        1 where there is image, 0 on padding.
    dense : Tensor, shape (B, 6, S / 2, S / 2)
        Targets of instance head and size head, see `dense_targets`.
    drawn : Prompted
        Objects with boxes, clicks or strokes.
    carried : Prompted
        Objects with masks of a neighbouring slice; there may be none.
    """

    images: Tensor
    validity: Tensor
    dense: Tensor
    drawn: Prompted
    carried: Prompted


def make_batch(
    sampler: CropSampler,
    size: int,
    num_images: int,
    objects_per_image: int,
    rng: np.random.Generator,
    carried_per_image: int = 0,
) -> Batch:
    """Draw crops, choose objects in them and simulate their first prompts."""
    crops = [sampler.sample(size, rng) for _ in range(num_images)]
    return prompt_crops(crops, objects_per_image, rng, carried_per_image)


def prompt_crops(
    crops: list[Crop],
    objects_per_image: int,
    rng: np.random.Generator,
    carried_per_image: int = 0,
) -> Batch:
    """Choose objects in crops of one size and simulate their first prompts."""
    known = [
        crop.valid & known_region(crop.labels, crop.is_complete, crop.hidden) for crop in crops
    ]
    dense = [dense_targets(crop.labels, k) for crop, k in zip(crops, known, strict=True)]
    return Batch(
        torch.from_numpy(np.stack([crop.image for crop in crops]).transpose(0, 3, 1, 2)),
        torch.from_numpy(np.stack([crop.valid for crop in crops])[:, None].astype(np.float32)),
        torch.from_numpy(np.stack(dense)),
        draw_prompts(crops, objects_per_image, rng),
        _carry_masks(crops, carried_per_image, rng),
    )


def draw_prompts(crops: Sequence[Crop], count: int, rng: np.random.Generator) -> Prompted:
    """Give some objects of each crop, at most `count`, a box, a click or a stroke."""
    chosen = [_choose_objects(crop, count, rng) for crop in crops]
    masks = np.concatenate(
        [crop.labels == ids[:, None, None] for crop, ids in zip(crops, chosen, strict=True)]
    )
    stroke_points = choose_stroke_points(rng)
    prompts = [simulate_first_prompt(mask, stroke_points, rng) for mask in masks]
    return Prompted(
        torch.from_numpy(np.repeat(np.arange(len(crops)), [len(ids) for ids in chosen])),
        torch.from_numpy(masks),
        torch.from_numpy(np.stack([points for points, _ in prompts])),
        torch.from_numpy(np.stack([codes for _, codes in prompts])),
    )


def _choose_objects(crop: Crop, count: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    areas = np.bincount(crop.labels.ravel())
    areas[0] = 0
    ids = np.flatnonzero(areas >= MIN_OBJECT_AREA)
    return rng.permutation(ids)[:count]


def _carry_masks(crops: list[Crop], count: int, rng: np.random.Generator) -> Prompted:
    """Show some objects of each crop as they would look on a neighbouring slice."""
    carried: list[tuple[int, CarriedMask]] = [
        (index, mask)
        for index, crop in enumerate(crops)
        for mask in choose_carried_masks(crop, count, rng)
    ]
    shown = no_prompts(crops[0].labels.shape[0], len(carried))
    assert shown.mask_logits is not None
    for number, (index, mask) in enumerate(carried):
        shown.image_index[number] = index
        shown.masks[number] = torch.from_numpy(mask.target)
        shown.mask_logits[number] = torch.from_numpy(mask.logits)
    return shown


def no_prompts(side: int, count: int = 0, device: torch.device | None = None) -> Prompted:
    """Make room for masks carried to crops of some side. No point says anything."""
    return Prompted(
        torch.zeros(count, dtype=torch.long, device=device),
        torch.zeros(count, side, side, dtype=torch.bool, device=device),
        torch.zeros(count, 1, 2, device=device),
        torch.full((count, 1), PADDING, device=device),
        torch.zeros(count, 1, side // 2, side // 2, device=device),
    )
