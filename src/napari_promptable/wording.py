"""Numbers in sentences."""

from __future__ import annotations


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
