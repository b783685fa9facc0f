"""What one cell attends to in the vision transformer, while it encodes an image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from napari_promptable.models.cpu.vit import GlobalBlockPlan, ViTPlan
from napari_promptable.models.vit import Block, ViTEncoder


def global_blocks(encoder: nn.Module) -> dict[int, nn.Module]:
    """Find the blocks whose cells attend to the whole grid, by number.

    Parameters
    ----------
    encoder : Module
        Any image encoder.

    Returns
    -------
    dict of int to Module
        Empty for encoders that are no `ViTEncoder`, plain or prepared for a CPU.
    """
    if not isinstance(encoder, ViTEncoder | ViTPlan):
        return {}
    return {n: block for n, block in enumerate(encoder.blocks) if _is_global(block)}


def _is_global(block: nn.Module) -> bool:
    if isinstance(block, Block):
        return block.window_size is None
    return isinstance(block, GlobalBlockPlan)


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
        attention: Any = block.attn if isinstance(block, Block) else block

        def record(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found = attention.weights_of(inputs[0], row, column)
            weights[number] = found[0] if isinstance(block, Block) else found

        return attention.register_forward_pre_hook(record)

    handles = [listen(number, block) for number, block in global_blocks(encoder).items()]
    try:
        yield weights
    finally:
        for handle in handles:
            handle.remove()
