"""Random numbers on a device."""

from __future__ import annotations

import torch
from torch import Tensor


class Chance:
    """Source of random numbers of one batch.

    Parameters
    ----------
    seed : int
        Of the numbers.
    device : torch.device
        Where they are drawn.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.generator = torch.Generator(device).manual_seed(seed)
        self.device = device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Numbers of equal chance between two limits."""
        return low + (high - low) * torch.rand(
            shape, generator=self.generator, device=self.device
        )

    def normal(self, *shape: int) -> Tensor:
        """Numbers of a normal distribution, mean 0, standard deviation 1."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def happens(self, share: float, *shape: int) -> Tensor:
        """True with a chance of `share`."""
        return self.uniform(*shape) < share
