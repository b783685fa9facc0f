"""Which tiles of a plane show what an object's prompts or answers are about (numpy only)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from napari_promptable.masks import mask_to_box_yxyx
from napari_promptable.predict.tiling import BEST_DIAMETER, Pyramid, Tile
from napari_promptable.prompts import FOREGROUND, PromptSet

_MAX_SEARCH_STEPS = 3  # of following the estimated size
_LEVEL_STEPS = (0, -1, 1)  # from the estimated level to those that are looked at

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


def choose_tiles(
    pyramid: Pyramid,
    prompts: PromptSet,
    mask: BoolArray | None,
    estimate_size: Callable[[Tile | None], float],
) -> list[Tile]:
    """Find the tiles on which an object's prompts may be answered.

    Parameters
    ----------
    pyramid : Pyramid
        Of the image.
    prompts : PromptSet
        The object's prompts.
    mask : ndarray of bool, shape (rows, columns), or None
        An earlier answer, on a grid that covers the image.
    estimate_size : callable
        Given a tile, or None for the whole image at level 0, returns the binary logarithm of
        the diameter in level pixels of what the foreground clicks are on.

    Returns
    -------
    list of Tile
        One, where a box or an earlier answer tells the object's size; else the one that suits
        the estimated size, followed by those a level above and below.
    """
    extent = _known_extent(pyramid, prompts, mask)
    if extent is not None:
        return [_tile_of(pyramid, extent)]
    points = positive_clicks(prompts)
    if len(points) == 0:  # an earlier answer that is empty
        return [pyramid.tile_at(0, np.array(pyramid.original_size) / 2)]
    low, high = points.min(axis=0), points.max(axis=0)
    centre = (low + high) / 2
    highest = pyramid.level_of(*np.maximum(high - low + 1, 1))
    level = _search_level(pyramid, centre, highest, estimate_size)
    levels = [min(pyramid.clip_level(level + step), highest) for step in _LEVEL_STEPS]
    return [pyramid.tile_at(level, centre) for level in dict.fromkeys(levels)]


def refit_tile(pyramid: Pyramid, tile: Tile, mask: BoolArray, clicks_yx: FloatArray) -> Tile:
    """Find the tile that suits the size of an answer.

    Parameters
    ----------
    pyramid : Pyramid
        Of the image.
    tile : Tile
        Where the answer was given.
    mask : ndarray of bool, shape (side, side)
        The answer, on a grid that covers the tile; not empty.
    clicks_yx : ndarray, shape (N, 2)
        Positions in image pixels that the object holds.

    Returns
    -------
    Tile
        That shows mask and clicks best.
    """
    cell = pyramid.tile_size / len(mask)
    centres = (mask_to_box_yxyx(mask).reshape(2, 2) + 0.5) * cell + (tile.top, tile.left)
    corners = centres / pyramid.zoom_yx(tile.level) - 0.5
    return _tile_of(pyramid, _extent_of(pyramid, [*corners, *clicks_yx]))


def positive_clicks(prompts: PromptSet) -> FloatArray:
    """Positions of the clicks that say where the object is, shape (N, 2)."""
    clicks: FloatArray = prompts.points_yx[prompts.point_labels == FOREGROUND]
    return clicks


def _search_level(
    pyramid: Pyramid,
    centre_yx: FloatArray,
    highest: int,
    estimate_size: Callable[[Tile | None], float],
) -> int:
    """Follow the estimated size from the whole image to the level that shows it best."""
    level, tile, seen = 0, None, {0}
    for _ in range(_MAX_SEARCH_STEPS):
        zoom_in = round(math.log2(BEST_DIAMETER) - estimate_size(tile))
        level = min(pyramid.clip_level(level + zoom_in), highest)
        if level in seen:
            break
        seen.add(level)
        tile = pyramid.tile_at(level, centre_yx)
    return level


def _tile_of(pyramid: Pyramid, extent: FloatArray) -> Tile:
    """Tile that shows (top, left, bottom, right) best."""
    height, width = np.maximum(extent[2:] - extent[:2] + 1, 1)
    return pyramid.tile_at(pyramid.level_of(height, width), (extent[:2] + extent[2:]) / 2)


def _known_extent(
    pyramid: Pyramid, prompts: PromptSet, mask: BoolArray | None
) -> FloatArray | None:
    """First and last known row and column of the object, or None for bare clicks."""
    corners = [] if prompts.box_yxyx is None else list(prompts.box_yxyx.reshape(2, 2))
    if mask is not None and mask.any():
        cells_per_pixel = np.array(mask.shape) / pyramid.original_size
        corners += list((mask_to_box_yxyx(mask).reshape(2, 2) + 0.5) / cells_per_pixel - 0.5)
    if not corners:
        return None
    return _extent_of(pyramid, [*corners, *positive_clicks(prompts)])


def _extent_of(pyramid: Pyramid, positions_yx: Sequence[FloatArray]) -> FloatArray:
    """Top, left, bottom and right of positions, moved into the image."""
    inside = np.clip(positions_yx, 0, np.array(pyramid.original_size) - 1)
    return np.concatenate([inside.min(axis=0), inside.max(axis=0)])
