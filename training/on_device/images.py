"""Labelled images in the memory of a GPU, and crops that are cut from many of them at once.

What `napari_promptable.learning.crops` does for one crop, for a whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from napari_promptable.learning.crops import (
    MARGIN,
    MAX_EXTENT,
    MAX_LOG_STRETCH,
    MAX_ZOOM,
    RARE_DIAMETERS,
    RARE_SHARE,
    TURNED_SHARE,
    USUAL_DIAMETERS,
)
from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.learning.sampling import CropSampler
from training.on_device.chance import Chance

LEVELS = 5  # of each image: full size, half, …
TRIES = 16  # points of a box that are tried until one lies in the object


@dataclass(frozen=True)
class Planes:
    """Planes of different sizes one after the other in one tensor.

    Attributes
    ----------
    values : Tensor, shape (V,) or (V, 3)
        Pixels of all planes.
    starts : Tensor of int64, shape (P,)
        Index of each plane's first pixel.
    sizes : Tensor of int64, shape (P, 2)
        Rows and columns.
    """

    values: Tensor
    starts: Tensor
    sizes: Tensor

    def at(self, planes: Tensor, positions: Tensor) -> Tensor:
        """Values of B planes (B,) at whole positions (B, …, 2), moved inside if need be."""
        shape = (len(planes), *[1] * (positions.ndim - 2))
        sizes = self.sizes[planes]
        rows, columns = (
            positions[..., axis].clamp(min=0).minimum(sizes[:, axis].view(shape) - 1)
            for axis in (0, 1)
        )
        index = self.starts[planes].view(shape) + rows * sizes[:, 1].view(shape) + columns
        return self.values[index]


def store_planes(planes: Sequence[Tensor], device: torch.device) -> Planes:
    """Copy planes (H, W) or (H, W, 3) to a device."""
    sizes = torch.tensor([plane.shape[:2] for plane in planes])
    ends = sizes.prod(dim=1).cumsum(0)
    values = torch.cat([plane.flatten(0, 1) for plane in planes])
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    return Planes(values.to(device), starts.to(device), sizes.to(device))


@dataclass(frozen=True)
class Cut:
    """Crops of B images.

    Attributes
    ----------
    images : Tensor of float32, shape (B, 3, S, S)
        0 to 1.
    labels : Tensor of int64, shape (B, S, S)
        Objects, below `DeviceImages.num_labels`.
    valid : Tensor of bool, shape (B, S, S)
        Where there is image.
    is_complete : Tensor of bool, shape (B,)
        Whether every visible object has a label.
    neighbours : Tensor of int64, shape (B, S, S)
        Labels on a nearby plane of the stack, or again those of the image.
    has_neighbour : Tensor of bool, shape (B,)
        Which of both.
    """

    images: Tensor
    labels: Tensor
    valid: Tensor
    is_complete: Tensor
    neighbours: Tensor
    has_neighbour: Tensor


class DeviceImages:
    """Labelled images on a device.

    Parameters
    ----------
    sampler : CropSampler
        What is copied, and how often each dataset is drawn.
    device : torch.device
        Where the images are kept.
    """

    def __init__(self, sampler: CropSampler, device: torch.device) -> None:
        flat: list[LabelledImage] = []
        chances: list[float] = []
        for group, probability in zip(sampler.groups, sampler.probabilities, strict=True):
            for source in group:
                flat += source
                chances += [probability / len(group) / len(source)] * len(source)
        labels = [_small_numbers(image) for image in flat]
        self.num_labels = 1 + max(int(plane.max()) for planes in labels for plane in planes)
        self.device = device
        self._pixels = store_planes(_all_levels([image.image for image in flat]), device)
        self._labels = store_planes([planes[0] for planes in labels], device)
        self._neighbours = store_planes(
            [plane for planes in labels for plane in planes[1:] or planes[:1]], device
        )
        counts = torch.tensor([max(len(planes) - 1, 1) for planes in labels])
        self._neighbour_counts = counts.to(device)
        self._first_neighbours = (counts.cumsum(0) - counts).to(device)
        self._has_neighbours = torch.tensor([len(p) > 1 for p in labels]).to(device)
        self._is_complete = torch.tensor([image.is_complete for image in flat]).to(device)
        tables = [_describe_objects(planes[0].numpy()) for planes in labels]
        self._objects = torch.from_numpy(np.concatenate(tables)).to(device)
        numbers = [len(table) for table in tables]
        self._planes = torch.from_numpy(np.repeat(np.arange(len(flat)), numbers)).to(device)
        weights = np.repeat(np.array(chances) / np.maximum(numbers, 1), numbers)
        self._chances = torch.from_numpy(weights).float().to(device)

    def cut(self, count: int, side: int, chance: Chance) -> Cut:
        """Cut crops of `side` pixels around random objects at random zooms.

        All directions are equally likely; half of the magnified crops are turned and stretched.
        """
        drawn = torch.multinomial(self._chances, count, True, generator=chance.generator)
        planes, objects = self._planes[drawn], self._objects[drawn]
        ids, areas, boxes = objects[:, 0], objects[:, 1], objects[:, 2:]
        extents = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)
        zooms = _choose_zooms(areas, extents, side, chance)
        centres = self._find_inside(planes, ids, boxes, chance) + 0.5
        positions = self._place(planes, centres, zooms, side, chance)
        sizes = self._labels.sizes[planes][:, None, None]
        valid = ((positions >= 0) & (positions < sizes)).all(dim=-1)
        whole = positions.floor().long()
        chosen = (chance.uniform(count) * self._neighbour_counts[planes]).long()
        neighbours = self._neighbours.at(self._first_neighbours[planes] + chosen, whole)
        return Cut(
            self._sample(planes, positions, zooms).permute(0, 3, 1, 2).contiguous() / 255,
            self._labels.at(planes, whole).long() * valid,
            valid,
            self._is_complete[planes],
            neighbours.long() * valid,
            self._has_neighbours[planes],
        )

    def _find_inside(
        self, planes: Tensor, ids: Tensor, boxes: Tensor, chance: Chance
    ) -> Tensor:
        """Find a pixel of each object, (B, 2); the middle of its box if none is met."""
        low, size = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
        points = low + (chance.uniform(len(planes), TRIES, 2) * size).long()
        points[:, -1] = (low + size // 2)[:, 0]
        is_inside = self._labels.at(planes, points) == ids[:, None]
        is_inside[:, -1] = True
        first = is_inside.int().argmax(dim=1)
        return points[torch.arange(len(first), device=first.device), first]

    def _place(
        self, planes: Tensor, centres: Tensor, zooms: Tensor, side: int, chance: Chance
    ) -> Tensor:
        """Positions (B, S, S, 2) in each image of the middles of a crop's pixels."""
        count = len(planes)
        matrices = _choose_directions(count, chance)
        is_turned = chance.happens(TURNED_SHARE, count) & (zooms > 1)
        turns = torch.where(is_turned[:, None, None], _choose_turns(count, chance), matrices)
        spans = side / zooms[:, None]
        places = spans * (MARGIN + (1 - 2 * MARGIN) * chance.uniform(count, 2))
        sizes = self._labels.sizes[planes]
        starts = (centres - places).minimum(sizes - spans).clamp(min=0)  # as little padding
        starts = torch.where(is_turned[:, None], centres - places, starts)
        steps = (torch.arange(side, device=self.device) + 0.5) / side - 0.5
        grid = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
        turned = torch.einsum("bij,hwj->bhwi", turns, grid) * spans[:, None, None]
        return starts[:, None, None] + spans[:, None, None] / 2 + turned

    def _sample(self, planes: Tensor, positions: Tensor, zooms: Tensor) -> Tensor:
        """Interpolate images (B, S, S, 3), each at the resolution that suits its zoom."""
        levels = (-zooms.log2()).round().clamp(0, LEVELS - 1).long()
        scaled = positions / 2 ** levels[:, None, None, None]
        return _interpolate(self._pixels, levels * len(self._labels.sizes) + planes, scaled)


def _interpolate(pixels: Planes, planes: Tensor, positions: Tensor) -> Tensor:
    """Bilinear mean of four pixels (B, S, S, 3) of planes (B,)."""
    low = (positions - 0.5).floor()
    share = positions - 0.5 - low
    low = low.long()
    total = positions.new_zeros(*positions.shape[:3], 3)
    for row in (0, 1):
        for column in (0, 1):
            corner = torch.stack([low[..., 0] + row, low[..., 1] + column], dim=-1)
            weight_y = share[..., 0] if row else 1 - share[..., 0]
            weight_x = share[..., 1] if column else 1 - share[..., 1]
            total += pixels.at(planes, corner) * (weight_y * weight_x)[..., None]
    return total


def _small_numbers(image: LabelledImage) -> list[Tensor]:
    """Labels of an image and its neighbours, numbered from 1 on, as int32."""
    planes = [image.labels, *image.neighbours]
    ids = np.unique(np.concatenate([np.unique(plane) for plane in planes]))
    ids = ids[ids > 0]
    numbers = np.zeros(int(ids.max(initial=0)) + 1, np.int32)
    numbers[ids] = np.arange(1, 1 + len(ids))
    return [torch.from_numpy(numbers[np.maximum(plane, 0)]) for plane in planes]


def _describe_objects(labels: np.ndarray) -> np.ndarray:
    """Label, area, top, left, bottom and right (exclusive) of each object, int64 (N, 6)."""
    areas = np.bincount(labels.ravel())
    rows = [
        (label, areas[label], *[s.start for s in slices], *[s.stop for s in slices])
        for label, slices in enumerate(ndimage.find_objects(labels), start=1)
        if slices is not None
    ]
    return np.array(rows, np.int64).reshape(-1, 6)


def _all_levels(images: Sequence[np.ndarray]) -> list[Tensor]:
    """All images in full size, all in half of it, and so on."""
    levels = [[torch.from_numpy(image) for image in images]]
    while len(levels) < LEVELS:
        levels.append([_halve(image) for image in levels[-1]])
    return [image for level in levels for image in level]


def _halve(image: Tensor) -> Tensor:
    """Mean of each 2 × 2 pixels of a uint8 image (H, W, 3); odd sides lose half a pixel."""
    channels = image.permute(2, 0, 1)[None].float()
    halved = F.avg_pool2d(channels, 2, ceil_mode=True, count_include_pad=False)
    return halved[0].round().byte().permute(1, 2, 0).contiguous()


def _choose_zooms(areas: Tensor, extents: Tensor, side: int, chance: Chance) -> Tensor:
    """As `napari_promptable.learning.crops.choose_zoom`, for B objects."""
    is_rare = chance.happens(RARE_SHARE, len(areas))
    usual, rare = (
        torch.exp(chance.uniform(len(areas), low=float(np.log(a)), high=float(np.log(b))))
        for a, b in (USUAL_DIAMETERS, RARE_DIAMETERS)
    )
    zooms = torch.where(is_rare, rare, usual) / (4 * areas / torch.pi).sqrt()
    return zooms.minimum(MAX_EXTENT * side / extents).clamp(max=MAX_ZOOM)


def _choose_directions(count: int, chance: Chance) -> Tensor:
    """Matrices (B, 2, 2) that mirror rows, columns and diagonal at random."""
    signs = chance.happens(0.5, count, 2).float() * 2 - 1
    matrices = torch.diag_embed(signs)
    is_transposed = chance.happens(0.5, count)[:, None, None]
    return torch.where(is_transposed, matrices.flip(1), matrices)


def _choose_turns(count: int, chance: Chance) -> Tensor:
    """Matrices (B, 2, 2) that turn by any angle, stretch, and perhaps mirror."""
    angles = chance.uniform(count, high=2 * torch.pi)
    stretch = torch.exp(chance.uniform(count, low=-MAX_LOG_STRETCH, high=MAX_LOG_STRETCH))
    rows = [[angles.cos(), -angles.sin()], [angles.sin(), angles.cos()]]
    turns = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    scales = torch.stack([stretch, 1 / stretch], dim=1)
    return turns * scales[:, None] @ _choose_directions(count, chance)
