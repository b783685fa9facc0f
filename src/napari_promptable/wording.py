"""Numbers and planes in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def count_of(number: int, noun: str) -> str:
    """Count things.

    Parameters
    ----------
    number : int
        How many.
    noun : str
        One of them; its plural ends in s.

    Examples
    --------
    >>> count_of(1, "slice"), count_of(1204, "pixel"), count_of(0, "new object")
    ('1 slice', '1,204 pixels', '0 new objects')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def name_plane(index: Sequence[int]) -> str:
    """Name a plane.

    Parameters
    ----------
    index : sequence of int
        Its position on the axes that are not in it; empty for a 2D image.

    Examples
    --------
    >>> name_plane((12,)), name_plane((0, 12)), name_plane(())
    ('slice 12', 'slice 0, 12', 'the image')
    """
    return f"slice {', '.join(map(str, index))}" if index else "the image"


def on_plane(index: Sequence[int]) -> str:
    """Say on which plane something is, see `name_plane`.

    Examples
    --------
    >>> on_plane((12,)), on_plane(())
    ('on slice 12', 'in the image')
    """
    return f"{'on' if index else 'in'} {name_plane(index)}"
