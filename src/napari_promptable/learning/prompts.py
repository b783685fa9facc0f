"""Simulated first prompts of users: boxes, clicks and strokes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_promptable.learning.targets import (
    interior_point_xy,
    jitter_box,
    mask_box_xyxy,
    random_point_xy,
)
from napari_promptable.models.prompt_encoder import (
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    FOREGROUND,
    PADDING,
)

BOX_SHARE = 0.4  # of first prompts that are boxes
JITTERED_SHARE = 0.6  # of the boxes
CENTRAL_SHARE = 0.5  # of the clicks, that lie as deep inside as possible
STROKE_SHARE = 0.15  # of batches, whose clicks are strokes
STROKE_POINTS = (3, 8)  # fewest and most clicks of a stroke

BoolArray = npt.NDArray[np.bool_]
Points = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
"""(x, y) of P clicks and corners in crop pixels, shape (P, 2), and their codes, shape (P,)."""


def choose_stroke_points(rng: np.random.Generator) -> int:
    """Number of clicks that stand for each click of a batch: one, or as many as a stroke's."""
    if rng.random() < STROKE_SHARE:
        return int(rng.integers(STROKE_POINTS[0], STROKE_POINTS[1] + 1))
    return 1


def simulate_first_prompt(
    mask: BoolArray, stroke_points: int, rng: np.random.Generator
) -> Points:
    """Draw a box, jittered more often than not, a click, or a stroke.

    Parameters
    ----------
    mask : ndarray of bool, shape (S, S)
        The object.
    stroke_points : int
        1 for a click, central or anywhere inside; more for a stroke of so many.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    Points
        One more than `stroke_points`; unused ones are padding.
    """
    points = np.zeros((1 + stroke_points, 2), np.float32)
    codes = np.full(1 + stroke_points, PADDING)
    if rng.random() < BOX_SHARE:
        box = mask_box_xyxy(mask)
        if rng.random() < JITTERED_SHARE:
            box = jitter_box(box, mask.shape[0] - 1, rng)
        points[:2], codes[:2] = box.reshape(2, 2), (BOX_TOP_LEFT, BOX_BOTTOM_RIGHT)
    elif stroke_points > 1:
        points[:-1], codes[:-1] = simulate_stroke(mask, stroke_points, rng), FOREGROUND
    else:
        is_central = rng.random() < CENTRAL_SHARE
        points[0] = interior_point_xy(mask) if is_central else random_point_xy(mask, rng)
        codes[0] = FOREGROUND
    return points, codes


def simulate_stroke(
    region: BoolArray, count: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Draw a line between two points of a region that stays inside it.

    Parameters
    ----------
    region : ndarray of bool, shape (S, S)
        Not empty.
    count : int
        Number of points.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    ndarray of float32, shape (count, 2)
        (x, y) of the points from start to end.
    """
    start, end = random_point_xy(region, rng), random_point_xy(region, rng)
    line = np.rint(np.linspace(start, end, count)).astype(int)
    nearest = ndimage.distance_transform_edt(
        ~region, return_distances=False, return_indices=True
    )
    rows, columns = nearest[:, line[:, 1], line[:, 0]]
    return np.stack([columns, rows], axis=1).astype(np.float32)
