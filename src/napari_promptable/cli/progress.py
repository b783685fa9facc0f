"""Progress bars on the standard error stream."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")


class ProgressBar:
    """A bar that appears with the first report, so that a mistake leaves one line only.

    Parameters
    ----------
    name : str
        Unit that is counted, such as slices.
    heading : str
        Line to print above the bar, such as how the image was read.
    in_bytes : bool
        Whether the counts are bytes.
    """

    def __init__(self, name: str, heading: str = "", *, in_bytes: bool = False) -> None:
        self._heading = heading
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn() if in_bytes else MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task(name, total=None)
        self._is_shown = False

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_shown:
            self._progress.stop()

    def __call__(self, done: int, total: int | None) -> None:
        """Show how much of the total is done. A total of None is unknown."""
        if not self._is_shown:
            if self._heading:
                print(self._heading, file=sys.stderr)
            self._progress.start()
            self._is_shown = True
        self._progress.update(self._task, completed=done, total=total)


def track(
    items: Iterable[Item], name: str, heading: str = "", total: int | None = None
) -> Iterator[Item]:
    """Iterate over items and show how many are done.

    Parameters
    ----------
    items : iterable
        Anything.
    name, heading : str
        As in `ProgressBar`.
    total : int, optional
        How many items there are; by default their length, if they have one.

    Yields
    ------
    item
        Each of `items`.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with ProgressBar(name, heading) as bar:
        for number, item in enumerate(items, start=1):
            yield item
            bar(number, total)
