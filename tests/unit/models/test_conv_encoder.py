from itertools import product

import pytest
import torch

from napari_promptable.models.conv_encoder import ConvEncoder

WIDTHS, DEPTHS = (8, 12, 16, 20), (1, 1, 1, 1)


@pytest.fixture
def image() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 3, 64, 96)


def test_the_embedding_has_stride_8(image: torch.Tensor) -> None:
    encoder = ConvEncoder(WIDTHS, DEPTHS, output_dim=24).eval()
    assert encoder(image).shape == (2, 24, 8, 12)


def test_details_of_stride_4_follow_the_embedding(image: torch.Tensor) -> None:
    encoder = ConvEncoder(WIDTHS, DEPTHS, output_dim=24, detail_dim=6).eval()
    embedding = encoder(image)
    assert embedding.shape == (2, 24 + 4 * 6, 8, 12)
    assert encoder.detail is not None
    expected = encoder.detail(encoder.stages[0](encoder.stem(image)))
    for row, column in product((0, 1), (0, 1)):
        channels = slice(24 + 6 * (2 * row + column), 24 + 6 * (2 * row + column + 1))
        pixels = expected[..., row::2, column::2]
        torch.testing.assert_close(embedding[:, channels], pixels)
