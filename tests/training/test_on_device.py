"""Batches that are drawn on a device, compared with what the processor's functions say."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_promptable.learning.carried import MAX_COVERED
from napari_promptable.learning.crops import MAX_EXTENT, RARE_DIAMETERS
from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.learning.sampling import CropSampler
from napari_promptable.learning.targets import dense_targets as targets_of_crop
from napari_promptable.learning.targets import known_region, mask_box_xyxy
from napari_promptable.models.prompt_encoder import (
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    FOREGROUND,
    PADDING,
)
from training.on_device.batches import make_batch
from training.on_device.carried import deform_masks, move_to_background, to_logits
from training.on_device.chance import Chance
from training.on_device.depth import depth_inside
from training.on_device.images import Cut, DeviceImages
from training.on_device.looks import augment
from training.on_device.objects import Objects
from training.on_device.prompts import deepest_points_xy, draw_prompts, mask_boxes_xyxy
from training.on_device.targets import dense_targets

CPU = torch.device("cpu")
SIDE = 64


def draw_disks(seed: int, side: int = 90, **facts) -> LabelledImage:
    """Disks of different brightness, each with a label that tells the brightness."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side, side + 20), np.int32)
    rows, columns = np.indices(labels.shape)
    for label in range(1, 9):
        (y, x), radius = rng.uniform(0, side, 2), rng.uniform(6, 12)
        labels[np.hypot(rows - y, columns - x) < radius] = 7 * label
    image = np.repeat((4 * labels + 20)[..., None], 3, axis=2).astype(np.uint8)
    return LabelledImage("disks", f"disks-{seed}", image, labels, f"source-{seed}", **facts)


def make_images(*images: LabelledImage) -> DeviceImages:
    return DeviceImages(CropSampler({"disks": list(images)}), CPU)


@pytest.fixture(scope="module")
def masks() -> torch.Tensor:
    """Blobs of all sizes, one of them a single pixel, one at the edge."""
    rng = np.random.default_rng(3)
    blobs = [
        ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 2 + n) > 0.2 / (2 + n)
        for n in range(6)
    ]
    single = np.zeros((SIDE, SIDE), bool)
    single[31, 41] = True
    return torch.from_numpy(np.stack([ndimage.label(b)[0] == 1 for b in blobs] + [single]))


# crops


def test_labels_lie_on_what_they_label() -> None:
    cut = make_images(draw_disks(0), draw_disks(1)).cut(40, SIDE, Chance(0, CPU))
    brightness = 255 * cut.images[:, 0]
    # Only whole neighbourhoods of one label are sharp.
    is_inner = torch.from_numpy(
        np.stack(
            [
                (ndimage.maximum_filter(x, 7) == ndimage.minimum_filter(x, 7))
                for x in cut.labels.numpy()
            ]
        )
    )
    is_inner &= torch.from_numpy(
        np.stack([ndimage.binary_erosion(x, iterations=3) for x in cut.valid.numpy()])
    )
    assert is_inner.float().mean() > 0.3
    expected = 28 * cut.labels + 20  # the eight labels are numbered from 1 on
    assert (brightness - expected)[is_inner].abs().max() < 1.5


def test_every_crop_holds_an_object_of_the_wanted_size() -> None:
    images = make_images(draw_disks(0), draw_disks(1))
    cut = images.cut(60, SIDE, Chance(1, CPU))
    objects = Objects.of(cut.labels, images.num_labels)
    largest = objects.areas.view(60, -1)[:, 1:].max(dim=1).values
    assert largest.min() > 20
    assert largest.max() > np.pi * RARE_DIAMETERS[0] ** 2 / 4
    assert largest.max() < (MAX_EXTENT * SIDE + 2) ** 2
    assert (cut.labels[~cut.valid] == 0).all()


def test_datasets_are_drawn_by_their_shares() -> None:
    images = {"one": [draw_disks(0)], "many": [draw_disks(n, side=80) for n in range(1, 5)]}
    sampler = CropSampler(images, shares={"one": 3, "many": 1})
    stored = DeviceImages(sampler, CPU)
    drawn = stored._planes[torch.multinomial(stored._chances, 4000, replacement=True)]
    assert (drawn == 0).float().mean() == pytest.approx(0.75, abs=0.03)
    assert (drawn == 2).float().mean() == pytest.approx(0.25 / 4, abs=0.02)


def test_the_same_seed_draws_the_same_batch() -> None:
    images = make_images(draw_disks(0))
    first, again, other = (make_batch(images, SIDE, 3, 2, seed) for seed in (5, 5, 6))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.drawn.points_xy, again.drawn.points_xy)
    assert torch.equal(first.carried.mask_logits, again.carried.mask_logits)
    assert not torch.equal(first.images, other.images)


# objects and maps


def test_objects_are_chosen_once_before_they_are_repeated() -> None:
    labels = torch.zeros(2, SIDE, SIDE, dtype=torch.long)
    for number in range(5):
        labels[0, 12 * number : 12 * number + 10, :10] = number + 1
    labels[1, :10, :10], labels[1, 30, 30] = 2, 4
    chosen = Objects.of(labels, 7).choose(4, Chance(0, CPU))
    assert len(set(chosen[0].tolist())) == 4
    assert chosen[1].tolist() == [2, 2, 2, 2]


def test_small_objects_are_chosen_where_there_are_no_others() -> None:
    labels = torch.zeros(1, SIDE, SIDE, dtype=torch.long)
    labels[0, 0, 0], labels[0, 5, 5:8] = 1, 2
    assert Objects.of(labels, 3).choose(2, Chance(0, CPU)).tolist() == [[2, 2]]


@pytest.mark.parametrize("is_complete", [True, False])
def test_maps_are_those_of_each_crop(is_complete: bool) -> None:
    images = make_images(*(draw_disks(n, is_complete=is_complete) for n in range(3)))
    cut = images.cut(12, SIDE, Chance(2, CPU))
    found = dense_targets(cut, Objects.of(cut.labels, images.num_labels), images.num_labels)
    for labels, valid, maps in zip(cut.labels.numpy(), cut.valid.numpy(), found, strict=True):
        known = valid & known_region(labels, is_complete)
        expected = targets_of_crop(labels.astype(np.int32), known)
        assert np.allclose(maps, expected, atol=1e-3)


# prompts


def test_boxes_are_those_of_the_masks(masks) -> None:
    expected = [mask_box_xyxy(mask) for mask in masks.numpy()]
    assert np.array_equal(mask_boxes_xyxy(masks), expected)


def test_deep_clicks_are_nearly_as_deep_as_possible(masks) -> None:
    for mask, (x, y) in zip(masks.numpy(), deepest_points_xy(masks).long(), strict=True):
        depths = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        assert mask[y, x]
        assert depths[y, x] >= 0.6 * depths.max() - 1


@pytest.mark.parametrize("stroke_points", [1, 5])
def test_points_lie_in_their_objects_and_boxes_around_them(masks, stroke_points: int) -> None:
    boxes = 0
    for seed in range(8):
        points, codes = draw_prompts(masks, stroke_points, Chance(seed, CPU))
        assert points.shape == (len(masks), 1 + stroke_points, 2)
        for mask, xy, code in zip(masks, points, codes, strict=True):
            if code[0] == BOX_TOP_LEFT:
                boxes += 1
                assert code[1:].tolist() == [BOX_BOTTOM_RIGHT] + [PADDING] * (stroke_points - 1)
                assert (xy[1] > xy[0]).all()
                assert (xy >= 0).all() and (xy < SIDE).all()
            else:
                assert code[-1] == PADDING
                used = xy[code == FOREGROUND].long()
                assert 1 <= len(used) <= stroke_points
                assert mask[used[:, 1], used[:, 0]].all()
    assert 0.25 < boxes / (8 * len(masks)) < 0.55


def test_depths_are_distances_to_the_border() -> None:
    disk = torch.from_numpy(np.hypot(*(np.indices((61, 61)) - 30)) < 20.5)[None]
    exact = ndimage.distance_transform_edt(disk[0])
    found = depth_inside(disk, steps=40)[0].numpy()
    assert np.abs(found - exact).max() < 0.15 * exact.max()
    coarse = depth_inside(disk, steps=10, reach=3)[0]
    assert coarse[30, 30] == coarse.max()


# carried masks


def test_deformed_masks_stay_near_their_objects() -> None:
    disk = torch.from_numpy(np.hypot(*(np.indices((128, 128)) - 64)) < 30)
    shown = deform_masks(disk.expand(50, -1, -1), Chance(0, CPU))
    halved = disk[::2, ::2]
    overlap = (shown & halved).sum((1, 2)) / (shown | halved).sum((1, 2))
    assert overlap.median() > 0.6
    assert overlap.std() > 0.05
    logits = to_logits(shown, Chance(1, CPU))
    assert torch.equal(logits[:, 0] > 0, shown)


def test_masks_are_moved_to_the_background_whole() -> None:
    rows, columns = np.indices((48, 48))
    covered = torch.from_numpy(columns < 24)
    masks = torch.from_numpy(np.hypot(rows - 24, columns - 10) < 5).expand(20, -1, -1)
    moved, is_moved = move_to_background(masks, ~covered.expand(20, -1, -1), Chance(0, CPU))
    assert is_moved.float().mean() > 0.3
    assert (moved.sum((1, 2)) == masks.sum((1, 2))).all()
    share = (moved & covered).sum((1, 2)) / moved.sum((1, 2))
    assert (share[is_moved] <= MAX_COVERED).all()
    assert torch.equal(moved[~is_moved], masks[~is_moved])


def test_neighbours_of_stacks_are_carried() -> None:
    plane = draw_disks(0)
    neighbour = np.roll(plane.labels, 3, axis=0)
    neighbour[neighbour == neighbour.max()] = 0
    images = make_images(draw_disks(0, neighbours=(neighbour,)))
    cut = images.cut(8, SIDE, Chance(0, CPU))
    assert cut.has_neighbour.all()
    assert not torch.equal(cut.neighbours, cut.labels)
    batch = make_batch(images, SIDE, 60, 1, seed=1, carried_per_image=1)
    is_absent = ~batch.carried.masks.flatten(1).any(dim=1)
    assert (batch.carried.mask_logits.flatten(1) > 0).any(dim=1).all()
    assert 0 < is_absent.float().mean() < 0.5


def test_incomplete_images_show_no_absent_objects() -> None:
    images = make_images(draw_disks(0, is_complete=False))
    batch = make_batch(images, SIDE, 40, 1, seed=0)
    assert batch.carried.masks.flatten(1).any(dim=1).all()


# looks


def test_augmented_crops_keep_range_and_shape() -> None:
    images = torch.rand(30, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    changed = augment(images, Chance(0, CPU), np.random.default_rng(0))
    assert changed.shape == images.shape
    assert 0 <= changed.min() < changed.max() <= 255
    is_same = ((changed - 255 * images).abs() < 1e-3).flatten(1).all(dim=1)
    assert is_same.float().mean() < 0.5


def test_crops_without_labels_are_no_fault() -> None:
    nothing = torch.zeros(2, SIDE, SIDE, dtype=torch.long)
    valid = torch.ones_like(nothing, dtype=torch.bool)
    flags = torch.ones(2, dtype=torch.bool)
    cut = Cut(torch.zeros(2, 3, SIDE, SIDE), nothing, valid, flags, nothing, ~flags)
    maps = dense_targets(cut, Objects.of(nothing, 3), 3)
    assert torch.isfinite(maps).all()
    assert (maps[:, :5] == 0).all()
