"""Singular values of the steps, and two optimisers that act as one."""

import numpy as np
import pytest
import torch
from torch import nn

from training.muon import (
    ADAMW_SCALE,
    Muon,
    MuonAndAdamW,
    is_matrix,
    orthogonalise,
)


@pytest.mark.parametrize("shape", [(24, 60), (16, 90), (90, 16)])
def test_all_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_singular_vectors_stay() -> None:
    matrix = torch.randn(1, 20, 60, generator=torch.Generator().manual_seed(1))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = u.mT @ orthogonalise(matrix) @ v.mT
    off_diagonal = found - torch.diag_embed(found.diagonal(dim1=1, dim2=2))
    assert off_diagonal.abs().max() < 0.1


def test_the_size_of_a_step_is_that_of_adamw() -> None:
    layer = nn.Conv2d(32, 48, 3, bias=False)
    before = layer.weight.detach().clone()
    generator = torch.Generator().manual_seed(1)
    layer.weight.grad = torch.randn(layer.weight.shape, generator=generator)
    Muon(layer.parameters(), lr=0.01, weight_decay=0.0).step()
    moved = (layer.weight - before).square().mean().sqrt().item()
    assert moved == pytest.approx(0.01 * ADAMW_SCALE, rel=0.15)


def test_weights_decay_where_nothing_is_learned() -> None:
    layer = nn.Linear(16, 16, bias=False)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.zeros_like(layer.weight)
    Muon(layer.parameters(), lr=0.5, weight_decay=0.1).step()
    assert torch.allclose(layer.weight, 0.95 * before)


def make_network() -> nn.Sequential:
    """A convolution, one by channel, and a linear layer."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(16, 32, 1),
        nn.Conv2d(32, 32, 3, groups=32),
        nn.Flatten(),
        nn.Linear(32, 16),
    )


def make_optimizer(network: nn.Module) -> MuonAndAdamW:
    """Two groups, each with matrices and vectors."""
    first, second = list(network[0].parameters()), list(network[1:].parameters())
    groups = [{"params": first, "rate": 1.0}, {"params": second, "rate": 0.5}]
    return MuonAndAdamW(groups, weight_decay=0.01)


def train(network: nn.Module, optimizer: MuonAndAdamW, steps: int) -> list[float]:
    """Fit random numbers, and return the losses."""
    rng = torch.Generator().manual_seed(1)
    inputs, wanted = (torch.randn(64, *s, generator=rng) for s in ((16, 3, 3), (16,)))
    losses = []
    for _ in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * group["rate"]
        loss = (network(inputs) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_every_parameter_is_learned_by_one_of_both() -> None:
    network = make_network()
    optimizer = make_optimizer(network)
    assert [is_matrix(network[n].weight) for n in (0, 1, 3)] == [True, False, True]
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, network.parameters()))
    assert [group["rate"] for group in optimizer.param_groups] == [1.0, 0.5, 1.0, 0.5]
    before = [p.detach().clone() for p in network.parameters()]
    losses = train(network, optimizer, 30)
    assert losses[-1] < 0.8 * losses[0]
    assert all(
        not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)
    )


def test_a_restored_state_goes_on_alike() -> None:
    whole, resumed = make_network(), make_network()
    expected = train(whole, optimizer := make_optimizer(whole), 6)
    first = make_optimizer(resumed)
    train(resumed, first, 3)
    second = make_optimizer(resumed)
    second.load_state_dict(first.state_dict())
    assert train(resumed, second, 3) == expected[3:]
    assert np.isfinite(expected).all() and optimizer.state_dict()["muon"]["state"]
