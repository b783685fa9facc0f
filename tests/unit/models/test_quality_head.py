import pytest
import torch

from napari_promptable.models.quality_head import QualityHead


@pytest.fixture
def head() -> QualityHead:
    """A head whose corrections are not zero."""
    torch.manual_seed(0)
    head = QualityHead(embed_dim=8, num_masks=4).requires_grad_(False)
    torch.nn.init.normal_(head.output.weight)
    return head


def test_an_untrained_head_corrects_nothing() -> None:
    head = QualityHead(embed_dim=8, num_masks=4)
    correction = head(torch.randn(2, 30, 16, 4), torch.randn(2, 30, 8), torch.randn(2, 4, 8))
    assert correction.shape == (2, 4)
    assert not correction.any()


def test_features_far_from_a_mask_do_not_count(head: QualityHead) -> None:
    logits = torch.full((1, 30, 16, 4), -30.0)
    logits[:, 10:15] = 30
    cells, tokens = torch.randn(1, 30, 8), torch.randn(1, 4, 8)
    before = head(logits, cells, tokens)
    cells[:, 20:] = 5
    torch.testing.assert_close(head(logits, cells, tokens), before)
    cells[:, 12] = 5
    assert (head(logits, cells, tokens) - before).abs().min() > 0.01


def test_empty_and_full_masks_give_finite_corrections(head: QualityHead) -> None:
    logits = torch.full((1, 30, 16, 4), -100.0)
    logits[..., 1] = 100
    assert head(logits, torch.randn(1, 30, 8), torch.randn(1, 4, 8)).isfinite().all()


def test_the_order_of_cells_does_not_matter(head: QualityHead) -> None:
    logits, cells = torch.randn(1, 30, 16, 4), torch.randn(1, 30, 8)
    tokens, order = torch.randn(1, 4, 8), torch.randperm(30)
    torch.testing.assert_close(
        head(logits[:, order], cells[:, order], tokens), head(logits, cells, tokens)
    )
