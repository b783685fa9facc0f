import pytest
import torch

from napari_promptable.models.sam2.position import (
    axial_rotations,
    encode_distances,
    encode_grid,
    rotate,
)


def test_rotation_keeps_lengths_and_tells_relative_places_only() -> None:
    rotations = axial_rotations(6, 16)
    query, key = torch.randn(16), torch.randn(16)
    queries, keys = (rotate(x.expand(1, 36, 16), rotations)[0] for x in (query, key))
    torch.testing.assert_close(queries.norm(dim=1), query.norm().expand(36))
    scores = (queries @ keys.T).reshape(6, 6, 6, 6)  # row and column of query, of key
    torch.testing.assert_close(scores[1, 2, 3, 4], scores[2, 1, 4, 3], rtol=0, atol=1e-4)
    assert abs(float(scores[1, 2, 3, 4] - scores[1, 2, 4, 3])) > 1e-3


def test_every_grid_of_several_is_rotated_alike() -> None:
    rotations = axial_rotations(4, 8)
    cells = torch.randn(1, 16, 8)
    twice = rotate(torch.cat([cells, cells], dim=1), rotations)
    torch.testing.assert_close(twice[:, :16], twice[:, 16:])
    torch.testing.assert_close(twice[:, :16], rotate(cells, rotations))


def test_rows_and_columns_of_a_grid_are_told_apart() -> None:
    encoding = encode_grid(5, 7, 16).reshape(5, 7, 16)
    assert torch.equal(encoding[2, 0, :8], encoding[2, 6, :8])
    assert torch.equal(encoding[0, 3, 8:], encoding[4, 3, 8:])
    assert len(encoding.flatten(0, 1).unique(dim=0)) == 35


@pytest.mark.parametrize("width", [64, 256])
def test_distances_have_signs(width: int) -> None:
    ahead, here, behind = encode_distances(torch.tensor([-0.5, 0.0, 0.5]), width)
    assert torch.equal(here, torch.cat([torch.zeros(width // 2), torch.ones(width // 2)]))
    torch.testing.assert_close(ahead[: width // 2], -behind[: width // 2])
    torch.testing.assert_close(ahead[width // 2 :], behind[width // 2 :])
