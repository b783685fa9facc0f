"""Seeds from instance maps → masks from the decoder of the same network.

The decoder is shown what the view has encoded already: 32 × 32 cells around each object, where
it would otherwise encode a tile of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from napari_promptable.instances.found import FoundObject, tidy_mask
from napari_promptable.instances.seeds import MAP_STRIDE, Seed
from napari_promptable.masks import BoolArray, FloatArray, PackedMask
from napari_promptable.models.sam import Sam
from napari_promptable.predict.answers import look_again
from napari_promptable.predict.decoding import FrameMasks, decode_all
from napari_promptable.predict.frames import TileFrame, place_prompts
from napari_promptable.predict.tiling import Tile, interpolate
from napari_promptable.progress import Progress

_TILE_STEP = 64  # input pixels between tiles, so that neighbours share one
_AT_ONCE = 16  # objects whose answers are held
_ALL_MASKS = (0, 1, 2, 3)
_STABILITY_OFFSET = 1.0  # of logits (SAM, appendix B)


@dataclass(frozen=True, eq=False)
class CutFrame(TileFrame):
    """A tile whose embedding is cut out of a view's embedding."""

    @property
    def features(self) -> FloatArray:
        """See `Frame.features`."""
        assert self.sam.tile_size is not None
        stride = self.sam.patch_stride
        side, top, left = (
            n // stride for n in (self.sam.tile_size, self.tile.top, self.tile.left)
        )
        return self.embedding.features[:, top : top + side, left : left + side]


@torch.inference_mode()
def answer_seeds(
    sam: Sam,
    seeds: Sequence[Seed],
    shape: tuple[int, int],
    progress: Progress,
) -> Iterator[FoundObject]:
    """Answer the seeds of a view.

    Parameters
    ----------
    sam : Sam
        The network that made the view.
    seeds : sequence of Seed
        Of one view.
    shape : (int, int)
        Height and width of the image.
    progress : callable
        Called with the numbers of finished and of all seeds.

    Yields
    ------
    FoundObject
        One per seed.
    """
    tiles = {id(seed): _tile_around(sam, seed) for seed in seeds}
    ordered = sorted(seeds, key=lambda seed: (tiles[id(seed)].top, tiles[id(seed)].left))
    frames = {
        tile: CutFrame(sam, seed.view.embedding, tile)
        for seed, tile in ((seed, tiles[id(seed)]) for seed in seeds)
    }
    for start in range(0, len(ordered), _AT_ONCE):
        some = ordered[start : start + _AT_ONCE]
        placed = [place_prompts(frames[tiles[id(seed)]], seed.prompts) for seed in some]
        answers = decode_all(sam, placed)
        if sam.with_second_look:
            answers = look_again(sam, answers, [_ALL_MASKS] * len(answers))
        for seed, answer in zip(some, answers, strict=True):
            yield _best_object(seed, frames[tiles[id(seed)]], answer, shape)
        progress(start + len(some), len(ordered))


def _tile_around(sam: Sam, seed: Seed) -> Tile:
    """Tile of a view in which a seed's region is central."""
    assert sam.tile_size is not None
    cells = np.array(seed.view.embedding.features.shape[1:])
    middle = np.array([part.start + part.stop for part in seed.box]) * MAP_STRIDE / 2
    corner = np.rint((middle - sam.tile_size / 2) / _TILE_STEP) * _TILE_STEP
    top, left = np.clip(corner, 0, cells * sam.patch_stride - sam.tile_size).astype(int)
    return Tile(0, int(top), int(left))


def _best_object(
    seed: Seed, frame: CutFrame, answer: FrameMasks, shape: tuple[int, int]
) -> FoundObject:
    """Take the mask whose predicted IoU times agreement with the region is highest."""
    logits = answer.logits.float().cpu().numpy()
    region = _region_in(frame.tile, seed, logits.shape[-1])
    agreements = np.array([mask_agreement(each > 0, region) for each in logits])
    predicted_iou = answer.predicted_iou.float().cpu().numpy()
    best = int(np.argmax(predicted_iou * agreements))
    crop, corner = _draw(frame, logits[best])
    crop = tidy_mask(crop)
    top, left = np.add(corner, seed.view.corner).tolist()
    return FoundObject(
        PackedMask.pack_crop(crop, (top, left), shape),
        int(np.count_nonzero(crop)),
        float(predicted_iou[best]),
        float(agreements[best]),
        stability_of(logits[best]),
    )


def mask_agreement(mask: BoolArray, region: BoolArray) -> float:
    """IoU of a mask with a region, or 0 if both are empty."""
    union = np.count_nonzero(mask | region)
    return np.count_nonzero(mask & region) / union if union else 0.0


def stability_of(logits: FloatArray) -> float:
    """IoU of the masks at a higher and at a lower threshold (SAM, appendix B)."""
    lower = int(np.count_nonzero(logits > -_STABILITY_OFFSET))
    return int(np.count_nonzero(logits > _STABILITY_OFFSET)) / max(lower, 1)


def _region_in(tile: Tile, seed: Seed, side: int) -> BoolArray:
    """Cut a seed's region out for a tile. Maps and the decoder's masks have one stride."""
    top, left = tile.top // MAP_STRIDE, tile.left // MAP_STRIDE
    cut = seed.regions.labels[top : top + side, left : left + side] == seed.number
    region = np.zeros((side, side), bool)
    region[: cut.shape[0], : cut.shape[1]] = cut
    return region


def _draw(frame: CutFrame, logits: FloatArray) -> tuple[BoolArray, tuple[int, int]]:
    """Draw a mask in pixels of the view's part, no larger than needed, and its corner."""
    corner = []
    overlaps = frame.pyramid.overlaps(
        frame.tile, frame.embedding.original_size, logits.shape[-1]
    )
    for axis, overlap in enumerate(overlaps):
        positive = np.flatnonzero((logits > 0).any(axis=1 - axis))
        if len(positive) == 0:
            return np.zeros((0, 0), bool), (0, 0)
        near = np.flatnonzero(
            (overlap.positions > positive[0] - 1) & (overlap.positions < positive[-1] + 2)
        )
        if len(near) == 0:
            return np.zeros((0, 0), bool), (0, 0)
        logits = interpolate(logits, overlap.positions[near], axis)
        corner.append(overlap.cells.start + int(near[0]))
    return logits > 0, (corner[0], corner[1])
