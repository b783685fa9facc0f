"""Instance maps → regions, one per object (numpy only).

Each foreground pixel votes for the centre of its object. Where the votes of a large part of an
object's pixels meet is a centre, and its region are the pixels that voted for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.feature import peak_local_max

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

FOREGROUND = 0.65  # least probability of an object's pixels
_VOTE_SIGMA = 2.0  # map pixels, by which votes scatter around a centre
_MIN_VOTE_SHARE = 0.25  # of an object's pixels, that make a centre
_MIN_DISTANCE = 4  # map pixels between centres
_MAX_DISTANCE = 1.2  # radii, from a pixel's vote to the centre of its object
_PIXELS_PER_CELL = 4  # map pixels along the side of a cell of the embedding


@dataclass(frozen=True, eq=False)
class Regions:
    """The objects that instance maps show.

    Attributes
    ----------
    labels : ndarray of int32, shape (h, w)
        Region k belongs to centre k - 1; 0 is background.
    centres_yx : ndarray of int, shape (K, 2)
        Row and column in map pixels.
    """

    labels: IntArray
    centres_yx: npt.NDArray[np.intp]


def divide_into_regions(maps: FloatArray, diameters: FloatArray) -> Regions:
    """Divide the foreground of instance maps into objects.

    Parameters
    ----------
    maps : ndarray of float32, shape (4, h, w)
        From `napari_promptable.predict.instance_maps.predict_instance_maps`.
    diameters : ndarray of float32, shape (rows, columns)
        From `predict_diameters` of the same module, in input pixels; 4 × 4 map pixels a cell.

    Returns
    -------
    Regions
        Foreground pixels that vote for no centre belong to none.
    """
    shape = maps.shape[1:]
    labels = np.zeros(shape, np.int32)
    pixels = np.nonzero(maps[0] > FOREGROUND)
    radius = spread_cells(diameters, shape)[pixels] / np.float32(_PIXELS_PER_CELL)
    offsets = np.stack([maps[2][pixels], maps[3][pixels]])
    votes_yx = (np.array(pixels) + radius * offsets).T.astype(np.float32)
    centres_yx = find_centres(votes_yx, radius, shape)
    if len(centres_yx):
        distance, nearest = cKDTree(centres_yx).query(votes_yx)
        labels[pixels] = np.where(distance < _MAX_DISTANCE * radius, nearest + 1, 0)
    return Regions(labels, centres_yx)


def spread_cells(cells: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Repeat values of cells for each of their map pixels, up to a shape."""
    repeated = np.repeat(np.repeat(cells, _PIXELS_PER_CELL, 0), _PIXELS_PER_CELL, 1)
    return repeated[: shape[0], : shape[1]]


def find_centres(
    votes_yx: FloatArray, radius: FloatArray, shape: tuple[int, ...]
) -> npt.NDArray[np.intp]:
    """Find the places where the votes of a large part of an object's pixels fall.

    Parameters
    ----------
    votes_yx : ndarray of float32, shape (P, 2)
        Where each foreground pixel expects the centre of its object, in map pixels.
    radius : ndarray of float32, shape (P,)
        Of that object.
    shape : (int, int)
        Of the map.

    Returns
    -------
    ndarray of int, shape (K, 2)
        Rows and columns.
    """
    density = np.zeros(shape, np.float32)
    rows, columns = np.clip(np.rint(votes_yx).astype(int), 0, np.array(shape) - 1).T
    np.add.at(density, (rows, columns), 1 / (np.pi * radius**2))
    density = ndimage.gaussian_filter(density, _VOTE_SIGMA)
    least = _MIN_VOTE_SHARE / (2 * np.pi * _VOTE_SIGMA**2)
    centres: npt.NDArray[np.intp] = peak_local_max(
        density, min_distance=_MIN_DISTANCE, threshold_abs=least, exclude_border=False
    )
    return centres
