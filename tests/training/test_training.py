import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_promptable.models.prompt_encoder import FOREGROUND, PADDING
from training import curve
from training.batches import make_batch, simulate_correction, simulate_first_prompt
from training.dataset import MIN_OBJECT_AREA, CropSampler, LabelledImage, choose_zoom, cut_crop
from training.losses import mask_losses, prompt_loss, size_loss
from training.synthetic import OBJECTS, draw_images
from training.targets import dense_targets
from training.train_tiny import Config, Stage, Trainer, learning_rate

SIDE = 64


@pytest.fixture(scope="module")
def drawn() -> list[LabelledImage]:
    """One image of each kind."""
    return draw_images(len(OBJECTS), seed=0)


@pytest.fixture
def make_trainer(drawn: list[LabelledImage]):
    """Function that makes trainers of small batches, all alike."""
    config = Config(iterations=50, pretrain_iterations=1)
    stages = [Stage(0.0, SIDE, 2, 2)]
    return lambda: Trainer(config, CropSampler({"drawn": drawn}), stages=stages)


# the training step


def test_a_step_lowers_the_loss_on_a_fixed_batch(make_trainer) -> None:
    trainer = make_trainer()
    trainer.iteration = 10  # prompts are trained, the learning rate is warming up
    batch = make_batch(trainer.sampler, SIDE, 2, 2, np.random.default_rng(0))
    trainer._next_batch = lambda rng: batch
    seed = [trainer.config.seed, trainer.iteration]
    before, _ = trainer.loss(batch, np.random.default_rng(seed))
    trainer.step()
    after, _ = trainer.loss(batch, np.random.default_rng(seed))
    assert after < before


def test_a_resumed_run_is_bit_identical(make_trainer, tmp_path: Path) -> None:
    whole = make_trainer()
    for _ in range(4):
        whole.step()
    first = make_trainer()
    for _ in range(2):
        first.step()
    first.save(tmp_path / "checkpoint.pt")
    second = make_trainer()
    second.load(tmp_path / "checkpoint.pt")
    for _ in range(2):
        second.step()
    assert second.iteration == whole.iteration == 4
    for name in ("model", "average", "dense_head"):
        expected, found = (getattr(run, name).state_dict() for run in (whole, second))
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert not list(tmp_path.glob("*.tmp"))


def test_the_average_lags_behind(make_trainer) -> None:
    trainer = make_trainer()
    start = trainer.model.mask_decoder.iou_token.weight.clone()
    trainer.iteration = 20
    trainer.step()
    now, average = (
        model.mask_decoder.iou_token.weight for model in (trainer.model, trainer.average)
    )
    assert (now - start).abs().max() > (average - start).abs().max() > 0


def test_the_learning_rate_warms_up_and_falls() -> None:
    config = Config(iterations=1000, decay_share=0.5, learning_rate=1.0)
    rates = [learning_rate(config, i) for i in (0, 99, 400, 750, 999)]
    assert rates == pytest.approx([0.01, 1, 1, 0.5, 0.002])


def test_the_curve_is_a_table_and_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    curve.append(path, 50, 1.0, [{"loss": 2.0}, {"loss": 4.0, "box_iou": 0.5}])
    curve.append(path, 100, 1.0, [{"loss": 1.0, "box_iou": float("nan"), "point_iou": 0.1}])
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["loss"] for row in rows] == ["3.0000", "1.0000"]
    assert rows[0]["point_iou"] == ""
    assert path.with_suffix(".png").stat().st_size > 1000


# data


def test_batches_follow_from_the_seed(drawn: list[LabelledImage]) -> None:
    sampler = CropSampler({"drawn": drawn})
    first, second, other = (
        make_batch(sampler, SIDE, 3, 4, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.points_xy, second.points_xy)
    assert not torch.equal(first.images, other.images)
    assert first.masks.shape[1:] == (SIDE, SIDE)
    assert (first.masks.sum((1, 2)) >= MIN_OBJECT_AREA).all()


def test_drawn_images_follow_from_the_seed(drawn: list[LabelledImage]) -> None:
    again, other = draw_images(len(OBJECTS), seed=0), draw_images(len(OBJECTS), seed=1)
    for image, same, different in zip(drawn, again, other, strict=True):
        assert np.array_equal(image.image, same.image)
        assert np.array_equal(image.labels, same.labels)
        assert not np.array_equal(image.labels, different.labels)
        assert image.labels.max() >= 2
        assert np.ptp(image.image) > 100


@pytest.mark.parametrize("seed", range(12))
def test_labels_stay_on_their_objects(seed: int) -> None:
    """Whether a crop is cut straight or turned, magnified or reduced."""
    labels = np.zeros((100, 140), np.int32)
    labels[20:50, 30:60], labels[60:90, 80:130] = 1, 2
    image = np.repeat((labels * 100)[..., None], 3, axis=2).astype(np.uint8)
    crop = cut_crop(LabelledImage("", "", image, labels), 96, np.random.default_rng(seed))
    assert crop.labels.any()
    assert not crop.labels[~crop.valid].any()
    difference = np.abs(crop.image[..., 0] / 100 - crop.labels)[crop.valid]
    assert (difference < 0.5).mean() > 0.97


def test_zooms_show_objects_of_all_sizes_whole() -> None:
    rng = np.random.default_rng(0)
    for side in (4, 30, 400):
        shown = [side * choose_zoom(side**2, side, 192, rng) for _ in range(300)]
        assert max(shown) <= 0.9 * 192 + 1e-6
        assert np.quantile(shown, 0.1) < 50 or side == 4
        assert np.quantile(shown, 0.9) > 60


# prompts and targets


def test_first_prompts_are_boxes_and_points() -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[20:40, 10:50] = True
    rng = np.random.default_rng(0)
    prompts = [simulate_first_prompt(mask, rng) for _ in range(200)]
    points = [xy[0] for xy, codes in prompts if codes.tolist() == [FOREGROUND, PADDING]]
    boxes = [xy for xy, codes in prompts if codes.tolist() == [2, 3]]
    assert len(points) + len(boxes) == 200
    assert min(len(points), len(boxes)) > 60
    assert all(mask[int(y), int(x)] for x, y in points)
    np.testing.assert_allclose(np.mean(boxes, axis=0), [[10, 20], [49, 39]], atol=2)


def test_corrections_lie_in_the_error() -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[20:40, 10:50] = True
    predicted = np.roll(mask, 10, axis=0)
    rng = np.random.default_rng(0)
    for _ in range(20):
        (x, y), label = simulate_correction(mask, predicted, rng)
        assert mask[int(y), int(x)] != predicted[int(y), int(x)]
        assert label == mask[int(y), int(x)]
    assert simulate_correction(mask, mask, rng)[1] == PADDING


def test_targets_tell_foreground_border_centre_and_size() -> None:
    labels = np.zeros((SIDE, SIDE), np.int32)
    labels[16:48, 16:48], labels[0:8, 0:8] = 1, 2
    foreground, border, down, right, size = dense_targets(labels)
    assert foreground.shape == (SIDE // 2, SIDE // 2)
    assert foreground[16, 16] == 1
    assert foreground[8, 28] == border[8, 28] == 0
    assert border[8, 10] == 1
    assert border[16, 16] == 0
    assert down[9, 16] > 0 > down[22, 16]
    assert right[16, 9] > 0 > right[16, 22]
    assert size[16, 16] == pytest.approx(np.log2(32 * np.sqrt(4 / np.pi)))
    assert size[1, 1] == 0  # cut off by the border: not known


def test_losses_are_lowest_for_the_truth() -> None:
    target = torch.zeros(1, 16, 16)
    target[:, 4:10, 4:10] = 1
    right = (20 * target - 10)[:, None]
    logits = torch.cat([-right, torch.zeros_like(right), right, right], dim=1)
    losses = mask_losses(logits, target)[0]
    assert losses[0] > losses[1] > losses[2] == losses[3]
    assert losses[3] < 0.01
    _, iou = prompt_loss(logits, torch.zeros(1, 4), target, is_first=True)
    assert iou[0].tolist() == [0, 0, 1, 1]


def test_unknown_sizes_do_not_count() -> None:
    target = torch.tensor([[[0.0, 5.0]]])
    estimate = torch.tensor([[[[9.0, 5.0]]]])
    assert size_loss(estimate, target) == 0
    assert size_loss(estimate + 1, target) == pytest.approx(0.85)  # 1 − beta / 2
