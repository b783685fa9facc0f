import numpy as np
import pytest
import torch

from napari_promptable.learning.losses import (
    choice_regret,
    instance_loss,
    mask_losses,
    prompt_loss,
    size_loss,
)
from napari_promptable.learning.targets import dense_targets, known_region

SIDE = 64


@pytest.fixture
def two_squares() -> np.ndarray:
    """Labels of a square in the middle and one in the corner."""
    labels = np.zeros((SIDE, SIDE), np.int32)
    labels[16:48, 16:48], labels[0:8, 0:8] = 1, 2
    return labels


def perfect_maps(target: torch.Tensor) -> torch.Tensor:
    """Maps of an instance head that makes no error."""
    return torch.cat([20 * target[:, :2] - 10, target[:, 2:4]], dim=1)


def test_targets_tell_foreground_border_centre_and_size(two_squares: np.ndarray) -> None:
    maps = dense_targets(two_squares, np.ones((SIDE, SIDE), bool))
    foreground, border, down, right, size, known = maps
    assert foreground.shape == (SIDE // 2, SIDE // 2)
    assert foreground[16, 16] == 1
    assert foreground[8, 28] == border[8, 28] == 0
    assert border[8, 10] == 1
    assert border[16, 16] == 0
    assert down[9, 16] > 0 > down[22, 16]
    assert right[16, 9] > 0 > right[16, 22]
    assert size[16, 16] == pytest.approx(np.log2(32 * np.sqrt(4 / np.pi)))
    assert size[1, 1] == 0  # cut off by the border: not known
    assert known.all()


def test_background_of_incomplete_labels_is_known_beside_objects(
    two_squares: np.ndarray,
) -> None:
    known = known_region(two_squares, is_complete=False)
    assert known[two_squares > 0].all()
    assert known[14, 30]
    assert not known[12, 30]
    assert known_region(two_squares, is_complete=True).all()


def test_unknown_background_does_not_count(two_squares: np.ndarray) -> None:
    known = known_region(two_squares, is_complete=False)
    target = torch.from_numpy(dense_targets(two_squares, known))[None]
    maps = perfect_maps(target)
    right = instance_loss(maps, target)
    maps[..., 28:, 28:] = 5
    assert instance_loss(maps, target) == right < 0.1
    maps[..., 16:20, 16:20] = -5
    assert instance_loss(maps, target) > right + 0.1


def test_losses_are_lowest_for_the_truth() -> None:
    target = torch.zeros(1, 16, 16)
    target[:, 4:10, 4:10] = 1
    right = (20 * target - 10)[:, None]
    logits = torch.cat([-right, torch.zeros_like(right), right, right], dim=1)
    losses = mask_losses(logits, target)[0]
    assert losses[0] > losses[1] > losses[2] == losses[3]
    assert losses[3] < 0.01
    _, iou = prompt_loss(logits, torch.zeros(1, 4), target, torch.tensor([True]))
    assert iou[0].tolist() == [0, 0, 1, 1]


def test_an_empty_mask_is_right_where_the_object_is_absent() -> None:
    target, nothing = torch.zeros(1, 16, 16), torch.full((1, 1, 16, 16), -10.0)
    assert mask_losses(nothing, target) < 0.1 < mask_losses(-nothing, target)
    _, iou = prompt_loss(nothing.expand(1, 4, 16, 16), torch.zeros(1, 4), target, None)
    assert not iou.any()


def test_the_regret_is_that_of_the_wrong_choice() -> None:
    iou = torch.tensor([[0.2, 0.8, 0.5]])
    assert choice_regret(iou, iou) < 0.01
    assert choice_regret(1 - iou, iou) == pytest.approx(0.6, abs=0.02)


def test_unknown_sizes_do_not_count() -> None:
    target = torch.tensor([[[0.0, 5.0]]])
    estimate = torch.tensor([[[[9.0, 5.0]]]])
    assert size_loss(estimate, target) == 0
    assert size_loss(estimate + 1, target) == pytest.approx(0.85)  # 1 − beta / 2


@pytest.mark.parametrize(("share", "moves"), [(0.0, [1]), (0.5, [1, 2]), (1.0, [2])])
def test_the_mask_that_is_shown_can_be_trained_instead_of_the_best(
    share: float, moves: list[int]
) -> None:
    target = torch.zeros(1, 8, 8)
    target[:, 2:6, 2:6] = 1
    logits = torch.stack([4 * target[0] - 2, 4 * target[0] - 2, -target[0], -target[0]])[None]
    logits.requires_grad_()
    confident_of_mask_2 = torch.tensor([[0.5, 0.5, 0.9, 0.5]])
    loss, _ = prompt_loss(logits, confident_of_mask_2, target, torch.tensor([True]), share)
    loss.backward()
    moved = [mask for mask in (1, 2, 3) if logits.grad[0, mask].abs().sum() > 0]
    assert moved == moves
