import pytest
import torch
from torch.nn import functional as F

from napari_promptable.models.cpu import packed
from napari_promptable.models.cpu.packed import PackedLinear, can_pack

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
