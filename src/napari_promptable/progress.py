"""How long work says how far it is, and how it is asked to stop: the same everywhere.

Functions take a `Progress` and, if they can stop half-way, an `IsCancelled`. Generators need
neither: the caller counts the results, and stops the work by iterating no further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

from napari_promptable.errors import CancelledError

Progress = Callable[[int, int], None]
"""Called with the number of finished steps and of all steps."""

IsCancelled = Callable[[], bool]
"""Asked often, in the thread of the work; True stops it by a CancelledError."""

Item = TypeVar("Item")


def ignore_progress(done: int, total: int) -> None:
    """Do nothing: a `Progress` for work that reports to no one."""


def report_each(
    items: Iterable[Item], progress: Progress | None, total: int | None = None
) -> Iterator[Item]:
    """Iterate over items, and report each when the next one is asked for.

    Parameters
    ----------
    items : iterable
        Anything.
    progress : callable, optional
        See `Progress`.
    total : int, optional
        Number of items; needed if they have no length.

    Yields
    ------
    item
        Each of `items`.

    Examples
    --------
    >>> for item in report_each(["a", "b"], lambda done, total: print(done, "of", total)):
    ...     print(item)
    a
    1 of 2
    b
    2 of 2
    """
    if total is None:
        assert isinstance(items, Sized)
        total = len(items)
    for number, item in enumerate(items, start=1):
        yield item
        if progress is not None:
            progress(number, total)


def check_cancelled(is_cancelled: IsCancelled | None, work: str) -> None:
    """Raise CancelledError if the work, such as "encoding", is to stop."""
    if is_cancelled is not None and is_cancelled():
        raise CancelledError(f"{work} was cancelled")
