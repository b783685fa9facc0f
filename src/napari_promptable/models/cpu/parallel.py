"""Threads that share out work, and the memory each of them keeps for it."""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from math import prod
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Part = TypeVar("Part")

_ELEMENTS_FOR_ALL_THREADS = 2**20  # of one operation; torch splits it among all threads


class _Helpers(threading.local):
    """Helper-thread limit of this thread, or None if unset."""

    count: int | None = None


_helpers = _Helpers()


@contextmanager
def one_thread() -> Iterator[None]:
    """Do each operation on the calling thread only, then on as many threads as before.

    For work of a few milliseconds in many small steps: waking other threads for each step costs
    more than they save, and beside a busy core it costs many times more. Work given to
    `share_out` still runs on as many threads as before. The number belongs to the calling
    thread; only a thread whose first computation of all falls into this one's keeps it at one,
    and is slower then, not wrong.
    """
    threads, helpers = torch.get_num_threads(), _helpers.count
    _helpers.count = count_threads() - 1
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _helpers.count = helpers


def count_threads() -> int:
    """Count the threads that `share_out` may use here, the calling one among them."""
    return torch.get_num_threads() if _helpers.count is None else 1 + _helpers.count


def share_out(task: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Run a task on all items, on as many threads as torch uses, each item on one of them.

    A thread that is done takes the next item, so no thread waits for one whose core is busy, as
    all do where torch splits each operation. The calling thread takes part. Nothing is
    recorded for gradients.

    Parameters
    ----------
    task : callable
        Takes an item; its order among the others must not matter.
    items : iterable
        The costliest first, if they differ.

    Raises
    ------
    Exception
        Any that a task raises, in whichever thread; no thread then begins another item.
    """
    waiting = deque(items)
    num_helpers = min(count_threads(), len(waiting)) - 1
    is_inference = torch.is_inference_mode_enabled()

    def work() -> None:
        with torch.no_grad(), torch.inference_mode(is_inference):
            try:
                for item in _take_all(waiting):
                    task(item)
            except BaseException:
                waiting.clear()  # the other threads stop after their current item
                raise

    helpers = [_pool().submit(work) for _ in range(num_helpers)]
    try:
        with _alone():
            work()
    finally:
        begun = [helper for helper in helpers if not helper.cancel()]
        wait(begun)
    for helper in begun:
        helper.result()


def _take_all(waiting: deque[Item]) -> Iterator[Item]:
    """Take items from a queue that other threads empty too."""
    while True:
        try:
            yield waiting.popleft()
        except IndexError:
            return


@contextmanager
def _alone() -> Iterator[None]:
    """Use no other thread, not even in `share_out`."""
    with one_thread():
        helpers, _helpers.count = _helpers.count, 0
        try:
            yield
        finally:
            _helpers.count = helpers


@cache
def _pool() -> ThreadPoolExecutor:
    """Lasting threads, each with its own work memory, on which torch uses one thread only.

    All start at once, because each sets its number of threads when it starts.
    """
    size = os.cpu_count() or 1
    have_begun = threading.Barrier(size + 1)
    pool = ThreadPoolExecutor(size, "napari-promptable", _compute_alone)
    for _ in range(size):
        pool.submit(have_begun.wait)
    have_begun.wait()
    _keep_number_for_new_threads()
    return pool


def _compute_alone() -> None:
    torch.set_num_threads(1)
    _helpers.count = 0


@cache
def let_waiting_threads_sleep() -> None:
    """Make OpenMP's threads sleep, not spin, while they wait for work. It is done once.

    Beside a busy core, threads that spin make an encoder tens of times slower. libgomp gives
    spinning up when it holds more threads than there are cores (GOMP_SPINCOUNT in its manual),
    so a thread of ours holds a second team, which never works again. Unlike OMP_WAIT_POLICY,
    this sets nothing that other programs read, and it may come after torch is loaded.
    """
    if sys.platform != "linux":
        return
    has_begun = threading.Event()

    def hold_team() -> None:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        torch.ones(_ELEMENTS_FOR_ALL_THREADS).add_(1)
        has_begun.set()
        threading.Event().wait()

    threading.Thread(target=hold_team, name="napari-promptable-idle", daemon=True).start()
    has_begun.wait()
    _keep_number_for_new_threads()


def _keep_number_for_new_threads() -> None:
    """Set the calling thread's number again: new threads get the number that was set last."""
    torch.set_num_threads(torch.get_num_threads())


class WorkMemory(threading.local):
    """Named buffers that are made once and reused, separate in every thread.

    Allocating large memory afresh costs more than the work on it.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Copy without the buffers."""
        return WorkMemory, ()

    def take(self, name: str, *shape: int) -> Tensor:
        """Return a float32 tensor of this shape with arbitrary content."""
        size = prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            with torch.inference_mode(False):  # so that any mode may write to it
                buffer = self._buffers[name] = torch.empty(size)
        return buffer[:size].view(shape)


class Cells:
    """Apply functions to the cells of an image, some at a time.

    A part stays in a processor's cache and needs little memory for intermediate values. Threads
    share the parts out.

    Parameters
    ----------
    at_once : int
        Cells in a part. Answers do not depend on the number of threads, because this does not.
    """

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self._memory = WorkMemory()

    def take(self, *shape: int) -> Tensor:
        """Take memory for an answer. The next call for this shape in this thread reuses it."""
        return self._memory.take(str(shape), *shape)

    def in_parts(self, function: Callable[..., Part], *sequences: Tensor) -> list[Part]:
        """Apply a function to parts of sequences.

        Parameters
        ----------
        function : callable
            Takes as many tensors as there are sequences.
        *sequences : Tensor, shape (N or 1, K, ...)
            Each with the same number K of cells.

        Returns
        -------
        list
            One result of the function per part.
        """
        parts = list(zip(*(cells.split(self.at_once, 1) for cells in sequences), strict=True))
        results: dict[int, Part] = {}

        def work(index: int) -> None:
            results[index] = function(*parts[index])

        share_out(work, range(len(parts)))
        return [results[index] for index in range(len(parts))]

    def map(
        self, function: Callable[..., Tensor], shape: Sequence[int], *sequences: Tensor
    ) -> Tensor:
        """Apply a function that answers with cells.

        Parameters
        ----------
        function, *sequences
            As in `in_parts`; the function returns a tensor (N, part of K, ...).
        shape : sequence of int
            (N, K, ...), of the answer.

        Returns
        -------
        Tensor
            The next call for this shape in this thread reuses its memory, and may be given it:
            each part is read before it is written.
        """
        answer = self.take(*shape)

        def work(part: tuple[Tensor, ...]) -> None:
            part[0].copy_(function(*part[1:]))

        splits = (cells.split(self.at_once, 1) for cells in (answer, *sequences))
        share_out(work, zip(*splits, strict=True))
        return answer
