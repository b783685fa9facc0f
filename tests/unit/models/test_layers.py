import torch
from torch import nn

from napari_promptable.models.layers import MLP, ConvBlock, LayerNorm2d


def test_layer_norm_2d_is_layer_norm_over_the_channels() -> None:
    x = 3 + 5 * torch.randn(2, 12, 4, 7)
    norm, twin = LayerNorm2d(12), nn.LayerNorm(12, eps=1e-6)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    twin.load_state_dict(norm.state_dict())
    expected = twin(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(norm(x), expected)


def test_layer_norm_2d_of_constant_channels_is_its_bias() -> None:
    norm = LayerNorm2d(3)
    nn.init.constant_(norm.bias, 0.5)
    assert torch.equal(norm(torch.full((1, 3, 2, 2), 7.0)), torch.full((1, 3, 2, 2), 0.5))


def test_mlp_clips_between_layers_but_not_at_the_end() -> None:
    mlp = MLP(1, 1, 1, depth=2)
    for layer, weight in zip(mlp.layers, (1.0, -1.0), strict=True):
        nn.init.constant_(layer.weight, weight)
        nn.init.zeros_(layer.bias)
    assert mlp(torch.tensor([[2.0], [-3.0]])).tolist() == [[-2.0], [0.0]]


def test_mlp_has_as_many_layers_as_asked_for() -> None:
    mlp = MLP(5, 7, 3, depth=4)
    shapes = [(layer.in_features, layer.out_features) for layer in mlp.layers]
    assert shapes == [(5, 7), (7, 7), (7, 7), (7, 3)]


def test_conv_block_without_gain_changes_nothing() -> None:
    block = ConvBlock(6)
    nn.init.zeros_(block.gain)
    x = torch.randn(2, 6, 9, 5)
    assert torch.equal(block(x), x)


def test_conv_block_sees_as_far_as_its_kernel() -> None:
    block = ConvBlock(4, kernel_size=5).eval()
    x = torch.zeros(1, 4, 15, 15)
    touched = x.clone()
    touched[..., 7, 7] = 1
    with torch.inference_mode():
        changed = (block(touched) - block(x)).abs().sum(dim=1)[0] > 0
    rows, columns = changed.nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 9, 5, 9)
