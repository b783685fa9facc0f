"""Outlines of single slices → objects of a stack or film, by overlap (numpy only)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int32]

MIN_LINK_IOU = 0.3  # of two outlines of one object on neighbouring slices
_MAX_DISTANCE = 2  # slices: an object may be missed on one


def match_labels(first: IntArray, second: IntArray) -> list[tuple[int, int]]:
    """Pair the labels of two planes so that the sum of their IoUs is highest.

    Parameters
    ----------
    first, second : ndarray of int32, shape (H, W)
        Labels; 0 is background.

    Returns
    -------
    list of (int, int)
        A label of each plane; their IoU is at least `MIN_LINK_IOU`.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, and the panel opens fast

    counts = int(first.max(initial=0)) + 1, int(second.max(initial=0)) + 1
    pairs = first.astype(np.int64).ravel() * counts[1] + second.ravel()
    shared = np.bincount(pairs, minlength=counts[0] * counts[1]).reshape(counts)
    areas = shared.sum(axis=1)[1:, None] + shared.sum(axis=0)[None, 1:]
    iou = shared[1:, 1:] / np.maximum(areas - shared[1:, 1:], 1)
    iou[iou < MIN_LINK_IOU] = 0
    return [
        (int(row) + 1, int(column) + 1)
        for row, column in zip(*linear_sum_assignment(-iou), strict=True)
        if iou[row, column]
    ]


def link_slices(slices: Sequence[IntArray], first_id: int = 1) -> list[dict[int, int]]:
    """Give the outlines of one object one id through all slices.

    Parameters
    ----------
    slices : sequence of ndarray of int32, shape (H, W)
        Labels of each slice, from 1.
    first_id : int, default 1
        Of the objects.

    Returns
    -------
    list of dict of int to int
        For each slice, the object id of each label. An object that is missing on one slice
        keeps its id behind it.
    """
    ids: list[dict[int, int]] = []
    new_ids = count(first_id)
    for position, labels in enumerate(slices):
        here: dict[int, int] = {}
        for distance in range(1, min(position, _MAX_DISTANCE) + 1):
            seen_since = set(here.values()).union(
                *(each.values() for each in ids[position - distance + 1 :])
            )
            lost = {
                label: number
                for label, number in ids[position - distance].items()
                if number not in seen_since
            }
            rest = set(_labels_of(labels)) - set(here)
            earlier = _keep_only(slices[position - distance], lost)
            for before, after in match_labels(earlier, _keep_only(labels, rest)):
                here[after] = lost[before]
        ids.append(
            here | {label: next(new_ids) for label in _labels_of(labels) if label not in here}
        )
    return ids


def _labels_of(labels: IntArray) -> range:
    """All labels of a slice."""
    return range(1, int(labels.max(initial=0)) + 1)


def _keep_only(labels: IntArray, wanted: Collection[int]) -> IntArray:
    """Blank all other labels."""
    return np.where(np.isin(labels, list(wanted)), labels, 0).astype(np.int32)
