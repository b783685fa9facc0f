"""Muon: momentum whose steps are made orthogonal, for the matrices of a network.

Plain gradients of a matrix are dominated by a few directions. Steps with equal singular values
move all of them, which often takes fewer iterations (Jordan et al. 2024,
https://kellerjordan.github.io/posts/muon/). PyTorch's own `torch.optim.Muon` takes no
convolutions, of which this network mostly consists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration; they bring singular values near 1 fast (Jordan et al. 2024)."""

ADAMW_SCALE = 0.2
"""Root mean square of AdamW's updates, so that its rates suit (Liu et al. 2025, arXiv
2502.16982)."""

LEAST_SIDE = 16  # of a matrix; smaller ones have too few directions


def is_matrix(parameter: Tensor) -> bool:
    """Whether a parameter mixes channels, so that it is learned as a matrix.

    Vectors, depthwise convolutions and matrices with few rows are not.

    Parameters
    ----------
    parameter : Tensor
        Shape (outputs, inputs) of a linear layer, (outputs, inputs, rows, columns) of a
        convolution.

    Returns
    -------
    bool
        True for those that `Muon` should learn.
    """
    return parameter.ndim >= 2 and min(parameter.flatten(1).shape) >= LEAST_SIDE


@torch.no_grad()
def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring all singular values of matrices near 1 (0.7 to 1.2), in bfloat16.

    Parameters
    ----------
    matrices : Tensor, shape (N, rows, columns)
        None of them zero.

    Returns
    -------
    Tensor of float32, shape (N, rows, columns)
        With the same singular vectors.
    """
    a, b, c = COEFFICIENTS
    is_tall = matrices.shape[1] > matrices.shape[2]
    wide: Tensor = (matrices.mT if is_tall else matrices).bfloat16()
    wide = wide / wide.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(ITERATIONS):
        gram = wide @ wide.mT
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return (wide.mT if is_tall else wide).float()


class Muon(torch.optim.Optimizer):
    """Optimiser of matrices and convolutions, beside another for all other parameters.

    Parameters
    ----------
    parameters : iterable of Parameter, or of dict
        For which `is_matrix` holds, or groups of them.
    lr : float, default 1e-3
        Learning rate, on AdamW's scale.
    weight_decay : float, default 0.01
        Share of the weights that a step takes away, relative to the learning rate.
    momentum : float, default 0.95
        Share of the former gradients in the average that is followed (Nesterov's way).
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take a step along the gradients, for all matrices of a shape at once."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                self._step_together(parameters, group)

    def _step_together(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Move the parameters of a group."""
        by_shape: dict[torch.Size, list[int]] = defaultdict(list)
        for index, parameter in enumerate(parameters):
            by_shape[parameter.flatten(1).shape].append(index)
        directions = self._directions(parameters, group["momentum"])
        steps = list(directions)
        for shape, indices in by_shape.items():
            size = group["lr"] * ADAMW_SCALE * max(shape) ** 0.5
            together = torch.stack([directions[index].flatten(1) for index in indices])
            for index, step in zip(indices, size * orthogonalise(together), strict=True):
                steps[index] = step.view_as(parameters[index])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_sub_(parameters, steps)

    def _directions(self, parameters: list[Tensor], momentum: float) -> Sequence[Tensor]:
        """Averages of the gradients so far, with the latest one ahead of its time."""
        gradients, averages = [], []
        for parameter in parameters:
            if parameter not in self.state:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
            assert parameter.grad is not None
            gradients.append(parameter.grad)
            averages.append(self.state[parameter]["momentum"])
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        return torch._foreach_lerp(gradients, averages, momentum)


def make_adamw(groups: list[dict[str, Any]], weight_decay: float) -> torch.optim.AdamW:
    """Build AdamW as `tiny` is trained with it, for groups of any parameters."""
    return torch.optim.AdamW(groups, weight_decay=weight_decay, betas=(0.9, 0.99), fused=True)


class MuonAndAdamW:
    """Muon for the matrices of a network, AdamW for everything else, as if they were one.

    Parameters
    ----------
    groups : list of dict
        Each with "params", a list of Parameter; other entries are kept in `param_groups`.
    weight_decay : float
        Of both.
    """

    def __init__(self, groups: list[dict[str, Any]], weight_decay: float) -> None:
        matrices, others = (
            [
                group | {"params": [p for p in group["params"] if is_matrix(p) is kind]}
                for group in groups
            ]
            for kind in (True, False)
        )
        self._muon = Muon(matrices, weight_decay=weight_decay)
        self._adamw = make_adamw(others, weight_decay)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups of both, whose "lr" is read at each step."""
        return self._muon.param_groups + self._adamw.param_groups

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._muon.zero_grad()
        self._adamw.zero_grad()

    def step(self) -> None:
        """Move all parameters."""
        self._muon.step()
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])
