import pytest
import torch
from torch import Tensor

from napari_promptable.models.prompt_encoder import (
    BACKGROUND,
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    FOREGROUND,
    PADDING,
    PromptEncoder,
)

GRID, CELL = 16, 8
SIZE = GRID * CELL
CODES = (PADDING, BACKGROUND, FOREGROUND, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT)


@pytest.fixture
def prompt_encoder() -> PromptEncoder:
    """SAM's prompt encoder, narrow."""
    return make_prompt_encoder(with_prompt_maps=False)


@pytest.fixture
def map_encoder() -> PromptEncoder:
    """The bundled model's prompt encoder, narrow."""
    return make_prompt_encoder(with_prompt_maps=True)


def make_prompt_encoder(with_prompt_maps: bool) -> PromptEncoder:
    torch.manual_seed(0)
    encoder = PromptEncoder(
        32, (GRID, GRID), (SIZE, SIZE), mask_in_chans=8, with_prompt_maps=with_prompt_maps
    )
    return encoder.eval().requires_grad_(False)


def make_prompts(*prompts: tuple[float, float, int]) -> tuple[Tensor, Tensor]:
    """Prompts of one object, each as x, y and code."""
    values = torch.tensor([prompts])
    return values[..., :2], values[..., 2].long()


def make_box(left: float, top: float, right: float, bottom: float) -> tuple[Tensor, Tensor]:
    return make_prompts((left, top, BOX_TOP_LEFT), (right, bottom, BOX_BOTTOM_RIGHT))


def test_padding_has_no_position(prompt_encoder: PromptEncoder) -> None:
    here, _ = prompt_encoder(*make_prompts((0, 0, PADDING)), None)
    there, _ = prompt_encoder(*make_prompts((90, 17, PADDING)), None)
    assert torch.equal(here, there)
    assert torch.equal(here[0], prompt_encoder.not_a_point_embed.weight)


def test_codes_differ_by_their_type_embedding_only(prompt_encoder: PromptEncoder) -> None:
    sparse, _ = prompt_encoder(*make_prompts(*[(30.0, 77.0, code) for code in CODES[1:]]), None)
    types = torch.cat([embedding.weight for embedding in prompt_encoder.point_embeddings])
    positions = sparse[0] - types
    torch.testing.assert_close(positions, positions[:1].expand(4, -1))


def test_order_of_prompts_is_the_order_of_tokens(prompt_encoder: PromptEncoder) -> None:
    points, labels = make_prompts(
        *[(9.0 * i, 100 - 7.0 * i, code) for i, code in enumerate(CODES)]
    )
    order = torch.tensor([3, 0, 4, 1, 2])
    sparse, _ = prompt_encoder(points, labels, None)
    shuffled, _ = prompt_encoder(points[:, order], labels[:, order], None)
    assert torch.equal(shuffled, sparse[:, order])


def test_a_click_has_the_position_of_the_cell_it_hits(prompt_encoder: PromptEncoder) -> None:
    row, column = 3, 11
    centre = ((column + 0.5) * CELL - 0.5, (row + 0.5) * CELL - 0.5)  # in pixel indices
    sparse, _ = prompt_encoder(*make_prompts((*centre, FOREGROUND)), None)
    position = sparse[0, 0] - prompt_encoder.point_embeddings[FOREGROUND].weight[0]
    dense = prompt_encoder.dense_positional_encoding()[0]
    torch.testing.assert_close(position, dense[:, row, column])


def test_no_mask_is_the_same_everywhere(prompt_encoder: PromptEncoder) -> None:
    _, dense = prompt_encoder(*make_prompts((5, 5, FOREGROUND)), None)
    assert dense.shape == (1, 32, 1, 1)
    assert torch.equal(dense[0, :, 0, 0], prompt_encoder.no_mask_embed.weight[0])


@pytest.mark.parametrize("window", [(0, 0, 5, 16), (3, 9, 4, 7), (0, 0, GRID, GRID)])
def test_a_window_is_a_part_of_the_whole_map(
    window: tuple[int, int, int, int], map_encoder: PromptEncoder
) -> None:
    top, left, rows, columns = window
    part = (..., slice(top, top + rows), slice(left, left + columns))
    mask_part = (..., slice(4 * top, 4 * (top + rows)), slice(4 * left, 4 * (left + columns)))
    logits = 8 * torch.randn(1, 1, 4 * GRID, 4 * GRID)
    box_points, box_labels = make_box(20, 31, 99, 70)
    click_points, click_labels = make_prompts((40, 50, FOREGROUND), (90, 20, BACKGROUND))
    points = torch.cat([click_points, box_points], dim=1)
    labels = torch.cat([click_labels, box_labels], dim=1)

    position = map_encoder.dense_positional_encoding(window)
    sparse, dense = map_encoder(points, labels, logits[mask_part], window)
    whole_sparse, whole_dense = map_encoder(points, labels, logits)

    torch.testing.assert_close(position, map_encoder.dense_positional_encoding()[part])
    torch.testing.assert_close(dense, whole_dense[part])
    assert torch.equal(sparse, whole_sparse)


def test_a_box_paints_its_cells_and_no_others(map_encoder: PromptEncoder) -> None:
    left, top, right, bottom = 2, 5, 9, 6  # cells, the last ones included
    box = make_box(left * CELL, top * CELL, (right + 1) * CELL - 1, (bottom + 1) * CELL - 1)
    _, dense = map_encoder(*box, None)
    _, nothing = map_encoder(*make_prompts((0, 0, PADDING)), None)
    painted = (dense - nothing).abs().sum(dim=1)[0] > 0
    expected = torch.zeros(GRID, GRID, dtype=torch.bool)
    expected[top : bottom + 1, left : right + 1] = True
    assert torch.equal(painted, expected)


def test_clicks_of_different_signs_paint_different_maps(map_encoder: PromptEncoder) -> None:
    _, positive = map_encoder(*make_prompts((60, 60, FOREGROUND)), None)
    _, negative = map_encoder(*make_prompts((60, 60, BACKGROUND)), None)
    _, nothing = map_encoder(*make_prompts((0, 0, PADDING)), None)
    for dense in (positive, negative):
        changed = (dense - nothing).abs().sum(dim=1)[0]
        assert divmod(int(changed.argmax()), GRID) == (60 // CELL, 60 // CELL)
        assert changed[0, 0] < 1e-3 * changed.max()
    assert not torch.allclose(positive, negative)


def test_logits_out_of_range_say_nothing_more(map_encoder: PromptEncoder) -> None:
    click = make_prompts((60, 60, FOREGROUND))
    signs = torch.randn(1, 1, 4 * GRID, 4 * GRID).sign()
    _, strong = map_encoder(*click, 20 * signs)
    _, stronger = map_encoder(*click, 900 * signs)
    assert torch.equal(strong, stronger)


@pytest.mark.parametrize("with_prompt_maps", [False, True])
@pytest.mark.parametrize("with_logits", [False, True])
def test_a_batch_equals_its_prompts_one_by_one(
    with_prompt_maps: bool, with_logits: bool
) -> None:
    # In float32, convolutions of 1 and of 5 round differently, and norms of blank patches
    # amplify that to 6e-5 (20 seeds, 1 and 2 threads); in float64, nothing hides a real mix-up.
    encoder = make_prompt_encoder(with_prompt_maps).double()
    points = SIZE * torch.rand(5, 3, 2, dtype=torch.float64)
    labels = torch.tensor([[1, 2, 3], [0, 1, -1], [2, 3, -1], [1, 1, 0], [-1, -1, -1]])
    shape = (5, 1, 4 * GRID, 4 * GRID)
    logits = torch.randn(shape, dtype=torch.float64) if with_logits else None
    sparse, dense = encoder(points, labels, logits)
    for i in range(5):
        one = slice(i, i + 1)
        alone = encoder(points[one], labels[one], None if logits is None else logits[one])
        expected = (sparse[one], dense.expand(5, -1, -1, -1)[one])
        torch.testing.assert_close(alone, expected)
