import pytest
import torch
from torch.nn import functional as F

from napari_promptable.models.cpu import packed
from napari_promptable.models.cpu.packed import PackedLinear, can_pack, multiply, multiply_each

FORMS = [
    False,
    pytest.param(
        True,
        marks=pytest.mark.skipif(not can_pack(), reason="this torch has no oneDNN linears"),
    ),
]


@pytest.fixture
def tensors() -> tuple[torch.Tensor, ...]:
    """Input, weight, bias, and the values to which a product is added."""
    torch.manual_seed(0)
    return torch.randn(50, 24), torch.randn(40, 24), torch.randn(40), torch.randn(50, 40)


@pytest.mark.parametrize("packed", FORMS)
@pytest.mark.parametrize("has_bias", [True, False])
def test_products_are_those_of_a_linear_layer(
    packed: bool, has_bias: bool, tensors: tuple[torch.Tensor, ...]
) -> None:
    x, weight, bias, other = tensors
    if not has_bias:
        bias = None
    layer = PackedLinear(weight, bias, len(x), packed)
    expected = F.linear(x, weight, bias)
    kept = other.clone()
    for found, wanted in (
        (layer(x), expected),
        (layer.gelu(x), F.gelu(expected)),
        (layer.add(x, other), expected + other),
        (layer(x[:7]), expected[:7]),  # another number of rows than it was laid out for
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(other, kept)


@pytest.mark.parametrize("packed", FORMS)
def test_products_of_matrices_in_any_order_of_memory(
    packed: bool, tensors: tuple[torch.Tensor, ...]
) -> None:
    x, weight, _, other = tensors
    for left, right in (
        (x, weight),
        (x.T, other.T),  # transposes
        (x[:, 3:20], weight[:, 3:20]),  # parts of larger matrices
    ):
        found = multiply(left, right, packed)
        torch.testing.assert_close(found, left @ right.T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("packed", FORMS)
@pytest.mark.parametrize("count", [1, 3])
def test_each_matrix_has_its_own_product(packed: bool, count: int) -> None:
    x, weights = torch.rand(count, 5, 4), torch.rand(count, 6, 4)
    found = multiply_each(x, weights, packed)
    torch.testing.assert_close(found, x @ weights.transpose(1, 2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fault", ["missing", "wrong"])
def test_what_does_not_work_here_is_not_used(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def product(x: torch.Tensor, *_: object) -> torch.Tensor:
        if fault == "missing":
            raise AttributeError("no such operation")
        return torch.zeros(len(x), 32)

    monkeypatch.setattr(packed, "_packed_product", product)
    assert not can_pack.__wrapped__()
