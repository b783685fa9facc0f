"""Batches of crops with simulated first prompts, drawn and kept on a device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from napari_promptable.learning.batches import Batch, Prompted, no_prompts
from napari_promptable.learning.carried import ABSENT_SHARE, NEIGHBOUR_SHARE
from napari_promptable.learning.prompts import choose_stroke_points
from training.on_device.carried import deform_masks, move_to_background, to_logits
from training.on_device.chance import Chance
from training.on_device.images import Cut, DeviceImages
from training.on_device.looks import augment
from training.on_device.objects import Objects
from training.on_device.prompts import draw_prompts
from training.on_device.targets import dense_targets


def make_batch(
    images: DeviceImages,
    side: int,
    num_images: int,
    objects_per_image: int,
    seed: int,
    carried_per_image: int = 1,
) -> Batch:
    """Draw crops, choose objects in them and simulate their first prompts.

    All batches of one size hold the same number of objects, because a GPU's convolutions are
    planned for each shape, for longer than a step takes: few objects are prompted repeatedly.

    Parameters
    ----------
    images : DeviceImages
        What is cut.
    side : int
        Of the crops in pixels, even.
    num_images, objects_per_image, carried_per_image : int
        Crops of the batch, and objects of each with points and with carried masks.
    seed : int
        Of the random numbers.

    Returns
    -------
    Batch
        On the images' device.
    """
    chance, rng = Chance(seed, images.device), np.random.default_rng(seed)
    cut = images.cut(num_images, side, chance)
    objects = Objects.of(cut.labels, images.num_labels)
    chosen = objects.choose(objects_per_image, chance).flatten()
    index = torch.arange(num_images, device=images.device)
    image_index = index.repeat_interleave(objects_per_image)
    masks = cut.labels[image_index] == chosen[:, None, None]
    points, codes = draw_prompts(masks, choose_stroke_points(rng), chance)
    return Batch(
        augment(cut.images, chance, rng),
        cut.valid[:, None].float(),
        dense_targets(cut, objects, images.num_labels),
        Prompted(image_index, masks, points, codes),
        _carry_masks(cut, objects, images.num_labels, carried_per_image, chance),
    )


def _carry_masks(
    cut: Cut, objects: Objects, num_labels: int, count: int, chance: Chance
) -> Prompted:
    """Show some objects of each crop as they would look on a neighbouring slice."""
    device = cut.labels.device
    if count == 0:
        return no_prompts(cut.labels.shape[-1], device=device)
    image_index = torch.arange(len(cut.labels), device=device).repeat_interleave(count)
    of_crop = objects.choose(count, chance).flatten()
    shown, target = _imagine_neighbours(cut, image_index, of_crop, chance)
    of_plane = Objects.of(cut.neighbours, num_labels).choose(count, chance).flatten()
    real, real_target, is_there = _take_neighbours(cut, image_index, of_plane)
    is_real = is_there & chance.happens(NEIGHBOUR_SHARE, len(is_there))
    shown = torch.where(is_real[:, None, None], real, shown)
    target = torch.where(is_real[:, None, None], real_target, target)
    nothing = no_prompts(2, len(target), device)
    logits = to_logits(shown, chance)
    return Prompted(image_index, target, nothing.points_xy, nothing.point_labels, logits)


def _imagine_neighbours(
    cut: Cut, image_index: Tensor, labels: Tensor, chance: Chance
) -> tuple[Tensor, Tensor]:
    """Deform objects, or move them to where there is none: masks shown, and right answers."""
    target = cut.labels[image_index] == labels[:, None, None]
    shown = deform_masks(target, chance)
    is_free = ((cut.labels == 0) & cut.valid)[image_index][:, ::2, ::2]
    moved, is_moved = move_to_background(shown, is_free, chance)
    is_absent = is_moved & cut.is_complete[image_index]
    is_absent = (is_absent & chance.happens(ABSENT_SHARE, len(labels)))[:, None, None]
    return torch.where(is_absent, moved, shown), target & ~is_absent


def _take_neighbours(
    cut: Cut, image_index: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Objects on the neighbouring plane, on this one, and whether they can be used."""
    shown = (cut.neighbours[image_index] == labels[:, None, None])[:, ::2, ::2]
    target = cut.labels[image_index] == labels[:, None, None]
    # Without a label, an object of an incomplete image may be there all the same.
    is_sure = target.any(dim=(1, 2)) | cut.is_complete[image_index]
    return shown, target, is_sure & shown.any(dim=(1, 2)) & cut.has_neighbour[image_index]
