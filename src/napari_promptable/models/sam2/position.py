"""SAM 2's fixed positional encodings: sines of places on a grid and of distances in time.

Sources: "SAM 2: Segment Anything in Images and Videos", arXiv 2408.00714, appendix D.1; sine
encodings from arXiv 1706.03762, section 3.5; axial rotary encoding from arXiv 2403.13298.
"""

import math

import torch
from torch import Tensor

_LONGEST_WAVE = 10_000.0
_EPS = 1e-6


def encode_grid(rows: int, columns: int, width: int) -> Tensor:
    """Encode the cells of a grid by sines of their row and column.

    Parameters
    ----------
    rows, columns : int
        Size of the grid.
    width : int
        Channels, a multiple of 4.

    Returns
    -------
    Tensor of float32, shape (rows * columns, width)
        First half for the row, second half for the column; sines and cosines alternate.
    """
    half = width // 2
    by_row, by_column = (_encode_axis(length, half) for length in (rows, columns))
    grid = torch.cat(
        [
            by_row[:, None].expand(-1, columns, -1),
            by_column[None].expand(rows, -1, -1),
        ],
        dim=-1,
    )
    return grid.flatten(0, 1)


def _encode_axis(length: int, width: int) -> Tensor:
    """Encode the places 1 to `length` of an axis, (length, width)."""
    places = torch.arange(1, length + 1, dtype=torch.float32)
    phases = places / (length + _EPS) * 2 * math.pi
    angles = phases[:, None] / _wave_lengths(width)
    return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=-1).flatten(1)


def encode_distances(distances: Tensor, width: int) -> Tensor:
    """Encode distances in time, (P,) → (P, width): sines, then cosines."""
    angles = distances[:, None] / _wave_lengths(width // 2)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _wave_lengths(width: int) -> Tensor:
    """Wave lengths of `width` channels, equal in pairs."""
    channels = torch.arange(width, dtype=torch.float32)
    return _LONGEST_WAVE ** (2 * (channels // 2) / width)


def axial_rotations(side: int, width: int) -> Tensor:
    """Rotations by which attention learns where on a square grid tokens are.

    Parameters
    ----------
    side : int
        Rows and columns of the grid.
    width : int
        Channels of a head, a multiple of 4.

    Returns
    -------
    Tensor of complex64, shape (side * side, width / 2)
        A unit complex number for each pair of channels: the first half turns with the column,
        the second with the row.
    """
    waves = _LONGEST_WAVE ** (torch.arange(0, width, 4)[: width // 4].float() / width)
    places = torch.arange(side, dtype=torch.float32)
    angles = torch.outer(places, 1.0 / waves)  # (side, width / 4)
    by_column = angles[None].expand(side, -1, -1)
    by_row = angles[:, None].expand(-1, side, -1)
    both = torch.cat([by_column, by_row], dim=-1).flatten(0, 1)
    return torch.polar(torch.ones_like(both), both)


def rotate(x: Tensor, rotations: Tensor) -> Tensor:
    """Rotate pairs of channels.

    Parameters
    ----------
    x : Tensor of float32, shape (..., T, width)
        Queries or keys of cells, grid after grid.
    rotations : Tensor of complex64, shape (cells, width / 2)
        From `axial_rotations`; T is a multiple of their number.

    Returns
    -------
    Tensor of float32
        Of the shape of `x`.
    """
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    grids = pairs.unflatten(-2, (-1, len(rotations))) * rotations
    return torch.view_as_real(grids.flatten(-3, -2)).flatten(-2)
