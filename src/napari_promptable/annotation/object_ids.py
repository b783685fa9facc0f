"""Ids that objects can get."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import count
from typing import Any

import numpy as np

from napari_promptable.errors import PromptError

_LARGEST_ID = 2**63 - 1
"""Above it, ids fit no column of a table and no control."""


def check_workable(object_id: int) -> None:
    """Raise PromptError for an id that the object to work on cannot have."""
    if not 1 <= object_id <= _LARGEST_ID:
        raise PromptError(
            f"object id {object_id} was given; ids start at 1, and ids above {_LARGEST_ID} "
            "cannot be worked on"
        )


def iter_free_ids(taken: Collection[int], dtype: np.dtype[Any]) -> Iterator[int]:
    """Yield ids that no object has.

    Parameters
    ----------
    taken : collection of int
        Ids in use.
    dtype : dtype
        Of the labels.

    Yields
    ------
    int
        The ids above all others while the labels can hold them, then the free ones below, then
        ids that the labels refuse.

    Examples
    --------
    >>> from itertools import islice
    >>> list(islice(iter_free_ids({1, 2, 254}, np.dtype(np.uint8)), 3))
    [255, 3, 4]
    """
    used = set(taken)
    highest, limit = max(used, default=0), min(int(np.iinfo(dtype).max), _LARGEST_ID)
    yield from range(highest + 1, limit + 1)
    yield from (i for i in range(1, min(highest, limit) + 1) if i not in used)
    yield from count(limit + 1)
