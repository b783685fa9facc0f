"""What one cell attends to in a vision transformer, ViT or Hiera, while it encodes an image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from napari_promptable.models.cpu.hiera import (
    GlobalHieraBlockPlan,
    GlobalRun,
    HieraPlan,
    WindowRun,
)
from napari_promptable.models.cpu.vit import GlobalBlockPlan, ViTPlan
from napari_promptable.models.sam2.hiera import Hiera, HieraBlock
from napari_promptable.models.vit import Block, ViTEncoder

_PLAIN = (Block, HieraBlock)


def global_blocks(encoder: nn.Module) -> dict[int, nn.Module]:
    """Find the blocks whose cells attend to the whole grid, by number.

    Parameters
    ----------
    encoder : Module
        Any image encoder.

    Returns
    -------
    dict of int to Module
        Empty for encoders that are neither ViT nor Hiera, plain or prepared for a CPU.
    """
    return {n: block for n, block in enumerate(_blocks_of(encoder)) if _is_global(block)}


def _blocks_of(encoder: nn.Module) -> Iterator[nn.Module]:
    """Blocks in the order in which an image passes them. Other encoders have none."""
    if isinstance(encoder, HieraPlan):
        for run in encoder.runs:
            if isinstance(run, GlobalRun):
                yield run.block
            elif isinstance(run, WindowRun):
                yield from run.blocks
        return
    trunk = getattr(encoder, "trunk", encoder)  # SAM 2's encoder has a neck beside it
    if isinstance(trunk, ViTEncoder | ViTPlan | Hiera):
        yield from trunk.blocks


def _is_global(block: nn.Module) -> bool:
    if isinstance(block, _PLAIN):
        return block.window_size is None
    return isinstance(block, GlobalBlockPlan | GlobalHieraBlockPlan)


@contextmanager
def record_cell(encoder: nn.Module, row: int, column: int) -> Iterator[dict[int, Tensor]]:
    """Record what a cell attends to in the next forward pass.

    Parameters
    ----------
    encoder : Module
        See `global_blocks`; it is changed only meanwhile.
    row, column : int
        The cell.

    Yields
    ------
    dict of int to Tensor, shape (heads, rows, columns)
        Filled by the forward pass, by number of the block: 0 to 1, the sum is 1.
    """
    weights: dict[int, Tensor] = {}

    def listen(number: int, block: nn.Module) -> Any:
        is_plain = isinstance(block, _PLAIN)
        attention: Any = block.attn if is_plain else block

        def record(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found = attention.weights_of(inputs[0], row, column)
            weights[number] = found[0] if is_plain else found

        return attention.register_forward_pre_hook(record)

    handles = [listen(number, block) for number, block in global_blocks(encoder).items()]
    try:
        yield weights
    finally:
        for handle in handles:
            handle.remove()
