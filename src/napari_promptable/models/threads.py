"""How many threads a computation uses."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on the calling thread only, then on as many as before.

    For work of a few milliseconds in many small steps: waking other threads for each step costs
    more than they save, and beside a busy core it costs many times more. The number belongs to
    the calling thread; only a thread whose first computation of all falls into this one's
    keeps it at one, and is slower then, not wrong.
    """
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)
