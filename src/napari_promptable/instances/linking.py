"""Outlines of single slices → objects of a stack or film, by overlap (numpy only)."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
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
    return list(iter_links(slices, first_id))


def iter_links(slices: Iterable[IntArray], first_id: int = 1) -> Iterator[dict[int, int]]:
    """Yield what `link_slices` returns, one slice at a time. The last two are held."""
    recent: deque[tuple[IntArray, dict[int, int]]] = deque(maxlen=_MAX_DISTANCE)
    new_ids = count(first_id)
    for labels in slices:
        here: dict[int, int] = {}
        seen_since: set[int] = set()
        for earlier, ids in reversed(recent):
            lost = {label: number for label, number in ids.items() if number not in seen_since}
            rest = set(_labels_of(labels)) - set(here)
            pairs = match_labels(_keep_only(earlier, lost), _keep_only(labels, rest))
            here |= {after: lost[before] for before, after in pairs}
            seen_since |= {*here.values(), *ids.values()}
        here |= {label: next(new_ids) for label in _labels_of(labels) if label not in here}
        recent.append((labels, here))
        yield here


def _labels_of(labels: IntArray) -> range:
    """All labels of a slice."""
    return range(1, int(labels.max(initial=0)) + 1)


def _keep_only(labels: IntArray, wanted: Collection[int]) -> IntArray:
    """Blank all other labels."""
    return np.where(np.isin(labels, list(wanted)), labels, 0).astype(np.int32)
