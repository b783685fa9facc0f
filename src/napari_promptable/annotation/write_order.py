"""The order in which objects are written that are in each other's way."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

Key = TypeVar("Key")


def order_writes(blockers: Mapping[Key, Collection[Key]]) -> list[Key]:
    """Order objects so that each is written after the ones whose former pixels it needs.

    Parameters
    ----------
    blockers : dict of key to collection of key
        What is in the way of each object; keys that are no object are ignored.

    Returns
    -------
    list of key
        All objects, in the given order as far as that goes. Where objects block each other in
        a circle, the circle is opened at the first of them.

    Examples
    --------
    >>> order_writes({1: [2], 2: [3], 3: [], 4: []})
    [3, 2, 1, 4]
    """
    ordered: dict[Key, None] = {}
    begun: set[Key] = set()
    for first in blockers:
        waiting = [first]
        while waiting:
            key = waiting[-1]
            begun.add(key)
            missing = [each for each in blockers[key] if each in blockers and each not in begun]
            if missing:
                waiting.append(missing[0])
            else:
                ordered[waiting.pop()] = None
    return list(ordered)
