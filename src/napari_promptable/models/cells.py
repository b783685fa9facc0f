"""Apply what treats the cells of an image one by one to some of them at a time.

So many cells stay in a processor's cache, and their work memory is small enough to be used
again; threads share them out.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from napari_promptable.models.threads import share_out

Part = TypeVar("Part")


def map_parts(
    function: Callable[..., Part], *sequences: Tensor, at_once: int | None
) -> list[Part]:
    """Apply a function to parts of sequences.

    Parameters
    ----------
    function : callable
        Takes as many tensors as there are sequences.
    *sequences : Tensor, shape (N or 1, K, ...)
        Of as many cells each.
    at_once : int or None
        Number of cells; None takes them all together, as training and GPUs need it.

    Returns
    -------
    list
        What the function returned for each part.
    """
    if at_once is None:
        return [function(*sequences)]
    parts = list(zip(*(cells.split(at_once, dim=1) for cells in sequences), strict=True))
    results: dict[int, Part] = {}

    def work(index: int) -> None:
        results[index] = function(*parts[index])

    share_out(work, range(len(parts)))
    return [results[index] for index in range(len(parts))]


def map_cells(
    function: Callable[..., Tensor], *sequences: Tensor, at_once: int | None
) -> Tensor:
    """Apply a function that answers with cells, (N, K, ...), and join them; see `map_parts`."""
    answers = map_parts(function, *sequences, at_once=at_once)
    return answers[0] if len(answers) == 1 else torch.cat(answers, dim=1)
