"""How what treats the cells of an image one by one is applied to all of them."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import Tensor

from napari_promptable.models.cpu.parallel import share_out
from napari_promptable.models.cpu.work_memory import WorkMemory

Part = TypeVar("Part")


class Cells:
    """Apply functions to cells: all at once, or some at a time.

    Some at a time stay in a processor's cache, what is worked out for them needs little memory,
    and threads share the parts out.

    Parameters
    ----------
    at_once : int, optional
        Number of cells; by default all, as training and GPUs need it.
    """

    def __init__(self, at_once: int | None = None) -> None:
        self.at_once = at_once
        self._memory = WorkMemory()

    def in_parts(self, function: Callable[..., Part], *sequences: Tensor) -> list[Part]:
        """Apply a function to parts of sequences.

        Parameters
        ----------
        function : callable
            Takes as many tensors as there are sequences.
        *sequences : Tensor, shape (N or 1, K, ...)
            Of as many cells each.

        Returns
        -------
        list
            What the function returned for each part.
        """
        if self.at_once is None:
            return [function(*sequences)]
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
            As in `in_parts`; returns a tensor of `shape`, but for the number of cells.
        shape : sequence of int
            (N, K, ...), of the answer.

        Returns
        -------
        Tensor
            In parts, its memory is used again by the next call for this shape in this thread,
            which may be given it: each part is read before it is written.
        """
        if self.at_once is None:
            return function(*sequences)
        answer = self._memory.take(str(shape), *shape)

        def work(part: tuple[Tensor, ...]) -> None:
            part[0].copy_(function(*part[1:]))

        splits = (cells.split(self.at_once, 1) for cells in (answer, *sequences))
        share_out(work, zip(*splits, strict=True))
        return answer
