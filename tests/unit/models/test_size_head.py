import pytest
import torch

from napari_promptable.models.size_head import SizeHead


@pytest.mark.parametrize("cell", [(0, 0), (11, 20), (23, 29), (5, 0)])
def test_the_estimate_in_a_cell_is_that_of_the_map(cell: tuple[int, int]) -> None:
    torch.manual_seed(0)
    head = SizeHead(embed_dim=16).requires_grad_(False)
    embedding = torch.randn(20, 24, 30)  # four channels more than the head looks at
    expected = head(embedding[None])[0, 0]
    assert expected.std() > 0.01
    assert head.estimate_at(embedding, *cell) == pytest.approx(float(expected[cell]), abs=1e-5)
