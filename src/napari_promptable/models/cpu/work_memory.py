"""Buffers that are kept, because fresh large memory costs more than the work on it."""

import threading
from math import prod

import torch
from torch import Tensor


class WorkMemory(threading.local):
    """Named buffers that are made once and used again, separate in every thread."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Copy without the buffers."""
        return WorkMemory, ()

    def take(self, name: str, *shape: int) -> Tensor:
        """Return a float32 tensor of this shape whose content is whatever was left there."""
        size = prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            with torch.inference_mode(False):  # to be written to in any mode
                buffer = self._buffers[name] = torch.empty(size)
        return buffer[:size].view(shape)
