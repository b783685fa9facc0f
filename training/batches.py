"""Batches of crops with simulated first prompts; everything follows from (seed, iteration)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_promptable.evaluation.evaluate import largest_part
from napari_promptable.models.prompt_encoder import (
    BACKGROUND,
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    FOREGROUND,
    PADDING,
)
from training.dataset import MIN_OBJECT_AREA, Crop, CropSampler
from training.targets import (
    dense_targets,
    interior_point_xy,
    jitter_box,
    mask_box_xyxy,
    random_point_xy,
)

FIRST_TOKENS = 2  # a point and a padding token, or two corners
BOX_SHARE = 0.45  # of first prompts that are boxes


@dataclass(frozen=True)
class Batch:
    """Crops and, for N objects in them, masks and first prompts.

    Attributes
    ----------
    images : Tensor, shape (B, 3, S, S), float32
        0 to 255.
    validity : Tensor, shape (B, 1, S, S), float32
        1 where there is image, 0 on padding.
    dense : Tensor, shape (B, 5, S / 2, S / 2)
        Targets of the pre-training task and of the size head.
    image_index : Tensor of int, shape (N,)
        Image of each object.
    masks : Tensor of bool, shape (N, S, S)
        Objects.
    points_xy, point_labels : Tensor, shapes (N, 2, 2) and (N, 2)
        First prompts in crop pixels.
    """

    images: Tensor
    validity: Tensor
    dense: Tensor
    image_index: Tensor
    masks: Tensor
    points_xy: Tensor
    point_labels: Tensor


def make_batch(
    sampler: CropSampler,
    size: int,
    num_images: int,
    objects_per_image: int,
    rng: np.random.Generator,
) -> Batch:
    """Draw crops, choose objects in them and simulate their first prompts."""
    crops = [sampler.sample(size, rng) for _ in range(num_images)]
    chosen = [_choose_objects(crop, objects_per_image, rng) for crop in crops]
    masks = np.concatenate(
        [crop.labels == ids[:, None, None] for crop, ids in zip(crops, chosen, strict=True)]
    )
    prompts = [simulate_first_prompt(mask, rng) for mask in masks]
    return Batch(
        torch.from_numpy(np.stack([crop.image for crop in crops]).transpose(0, 3, 1, 2)),
        torch.from_numpy(np.stack([crop.valid for crop in crops])[:, None].astype(np.float32)),
        torch.from_numpy(np.stack([dense_targets(crop.labels) for crop in crops])),
        torch.from_numpy(np.repeat(np.arange(num_images), [len(ids) for ids in chosen])),
        torch.from_numpy(masks),
        torch.from_numpy(np.stack([points for points, _ in prompts])),
        torch.from_numpy(np.stack([labels for _, labels in prompts])),
    )


def _choose_objects(crop: Crop, count: int, rng: np.random.Generator) -> np.ndarray:
    areas = np.bincount(crop.labels.ravel())
    areas[0] = 0
    ids = np.flatnonzero(areas >= MIN_OBJECT_AREA)
    return rng.permutation(ids)[:count]


def simulate_first_prompt(
    mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a box, jittered more often than not, or a point, central or anywhere inside."""
    if rng.random() < BOX_SHARE:
        box = mask_box_xyxy(mask)
        if rng.random() < 0.6:
            box = jitter_box(box, mask.shape[0] - 1, rng)
        return box.reshape(2, 2), np.array([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT])
    point = interior_point_xy(mask) if rng.random() < 0.5 else random_point_xy(mask, rng)
    return np.stack([point, np.zeros(2, np.float32)]), np.array([FOREGROUND, PADDING])


def simulate_correction(
    mask: np.ndarray, predicted: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Draw a click in the error region; padding where there is no error.

    Half of the clicks are what a person would choose and `evaluate` takes: inside the largest
    error.
    """
    error = mask != predicted
    if not error.any():
        return np.zeros(2, np.float32), PADDING
    if rng.random() < 0.5:
        point = interior_point_xy(largest_part(error))
    else:
        point = random_point_xy(error, rng)
    column, row = point.astype(int)
    return point, FOREGROUND if mask[row, column] else BACKGROUND
