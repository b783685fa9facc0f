"""Tables of the objects of a batch of crops: which there are, how large, and where."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_promptable.learning.sampling import MIN_OBJECT_AREA
from training.on_device.chance import Chance


@dataclass(frozen=True)
class Objects:
    """Sums over each object's pixels.

    Attributes
    ----------
    index : Tensor of int64, shape (B, S, S)
        Of each pixel in the tables of all crops together, B * K long.
    areas : Tensor of float32, shape (B * K,)
        Pixels of each label, also of the background.
    """

    index: Tensor
    areas: Tensor

    @classmethod
    def of(cls, labels: Tensor, num_labels: int) -> Objects:
        """Count labels (B, S, S), which are below `num_labels`."""
        crops = torch.arange(len(labels), device=labels.device)[:, None, None]
        index = labels + num_labels * crops
        areas = torch.zeros(len(labels) * num_labels, device=labels.device)
        areas.index_add_(0, index.flatten(), areas.new_ones(index.numel()))
        return cls(index, areas)

    def mean(self, values: Tensor) -> Tensor:
        """Mean of pixels' values (B, S, S) over each object, as a table."""
        sums = torch.zeros_like(self.areas).index_add_(
            0, self.index.flatten(), values.flatten()
        )
        return sums / self.areas.clamp(min=1)

    def choose(self, count: int, chance: Chance) -> Tensor:
        """Choose labels of each crop, (B, count), again and again the same if there are few.

        Objects of less than `MIN_OBJECT_AREA` are chosen where there are no others.
        """
        areas = self.areas.view(len(self.index), -1)[:, 1:]
        order = (1 + chance.uniform(*areas.shape)) * (areas >= MIN_OBJECT_AREA)
        # Where all are small, the largest; it gets less than 1.
        found = order + areas / (2 * MIN_OBJECT_AREA) * (order == 0)
        values, labels = found.topk(min(count, areas.shape[1]), dim=1)
        labels = torch.where(values >= 1, labels, labels[:, :1]) + 1
        return labels[:, torch.arange(count, device=labels.device) % labels.shape[1]]
