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
    correction = head(torch.randn(2, 4, 20, 24), torch.randn(2, 8, 5, 6), torch.randn(2, 4, 8))
    assert correction.shape == (2, 4)
    assert not correction.any()


def test_features_far_from_a_mask_do_not_count(head: QualityHead) -> None:
    logits = torch.full((1, 4, 20, 24), -30.0)
    logits[..., 4:12, 8:16] = 30
    image, tokens = torch.randn(1, 8, 5, 6), torch.randn(1, 4, 8)
    before = head(logits, image, tokens)
    image[..., 4, 5] = 5
    torch.testing.assert_close(head(logits, image, tokens), before)
    image[..., 2, 3] = 5
    assert (head(logits, image, tokens) - before).abs().min() > 0.01


def test_empty_and_full_masks_give_finite_corrections(head: QualityHead) -> None:
    logits = torch.full((1, 4, 20, 24), -100.0)
    logits[:, 1] = 100
    assert head(logits, torch.randn(1, 8, 5, 6), torch.randn(1, 4, 8)).isfinite().all()


def test_a_shifted_image_gets_the_same_corrections(head: QualityHead) -> None:
    logits, image, tokens = (
        torch.randn(1, 4, 20, 24),
        torch.randn(1, 8, 5, 6),
        torch.randn(1, 4, 8),
    )
    shifted = torch.roll(logits, (4, 8), (2, 3)), torch.roll(image, (1, 2), (2, 3))
    torch.testing.assert_close(head(*shifted, tokens), head(logits, image, tokens))
