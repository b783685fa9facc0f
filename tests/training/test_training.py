import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from napari_promptable.errors import CheckpointError
from napari_promptable.learning import sampling
from napari_promptable.learning.augmentation import augment
from napari_promptable.learning.batches import make_batch
from napari_promptable.learning.crops import choose_zoom, cut_crop
from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.learning.sampling import MIN_OBJECT_AREA, CropSampler
from napari_promptable.models.architectures import build_sam
from napari_promptable.predict.load_model import load_model
from napari_promptable.weights.checkpoints import checkpoint_path
from training import curve
from training.loader import DeviceSource, Stage
from training.on_device.images import DeviceImages
from training.synthetic import OBJECTS, draw_images
from training.train_tiny import WARM_UP, Config, Trainer, learning_rate
from training.weights import measure_samples

SIDE = 64


@pytest.fixture(scope="module")
def drawn() -> list[LabelledImage]:
    """One image of each kind."""
    return draw_images(len(OBJECTS), seed=0)


@pytest.fixture
def make_trainer(drawn: list[LabelledImage]):
    """Function that makes trainers of small batches, all alike but for changed settings."""
    config = Config(iterations=50, pretrain_iterations=1)
    stages = [Stage(0.0, SIDE, 2, 2)]
    sampler = CropSampler({"drawn": drawn})
    return lambda **changes: Trainer(replace(config, **changes), sampler, stages=stages)


def take_steps(trainer: Trainer, count: int) -> None:
    """Train some iterations of 50."""
    for _ in range(count):
        trainer.share = (1 + trainer.iteration) / 50
        trainer.step(trainer.draw())


# the training step


def test_a_step_lowers_the_loss_on_a_fixed_batch(make_trainer) -> None:
    trainer = make_trainer()
    trainer.iteration = 10  # prompts are trained
    batch = trainer.draw()
    trainer.share = 0.01
    seed = [trainer.config.seed, trainer.iteration]
    before, _ = trainer.loss(batch, np.random.default_rng(seed))
    trainer.step(batch)
    after, _ = trainer.loss(batch, np.random.default_rng(seed))
    assert after < before


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_run_is_bit_identical(make_trainer, tmp_path: Path, optimizer: str) -> None:
    whole = make_trainer(optimizer=optimizer)
    take_steps(whole, 4)
    first = make_trainer(optimizer=optimizer)
    take_steps(first, 2)
    first.save(tmp_path / "checkpoint.pt")
    second = make_trainer(optimizer=optimizer)
    second.load(tmp_path / "checkpoint.pt")
    take_steps(second, 2)
    assert second.iteration == whole.iteration == 4
    for name in ("model", "average"):
        expected, found = (getattr(run, name).state_dict() for run in (whole, second))
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert not list(tmp_path.glob("*.tmp"))


def test_an_unknown_optimiser_is_refused(make_trainer) -> None:
    with pytest.raises(ValueError, match="optimizer is 'sgd'; choose adamw or muon"):
        make_trainer(optimizer="sgd")


def test_the_average_lags_behind(make_trainer) -> None:
    trainer = make_trainer()
    start = trainer.model.mask_decoder.iou_token.weight.clone()
    trainer.iteration, trainer.share = 20, 0.5
    take_steps(trainer, 1)
    now, average = (
        model.mask_decoder.iou_token.weight for model in (trainer.model, trainer.average)
    )
    assert (now - start).abs().max() > (average - start).abs().max() > 0


def test_the_learning_rate_warms_up_and_falls() -> None:
    config = Config(learning_rate=1.0)
    middle = (1 + WARM_UP) / 2
    rates = [learning_rate(config, share) for share in (0, WARM_UP / 2, WARM_UP, middle, 1)]
    assert rates == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_a_step_learns_from_a_batch_of_the_device(make_trainer, drawn) -> None:
    trainer = make_trainer(pretrain_iterations=0, batch_scale=2)
    images = DeviceImages(CropSampler({"drawn": drawn}), torch.device("cpu"))
    trainer.source = DeviceSource(images)
    before = trainer.model.mask_decoder.iou_token.weight.detach().clone()
    take_steps(trainer, 1)
    batch = trainer.draw()
    assert len(batch.images) == len(batch.carried.masks) == 4
    assert len(batch.drawn.masks) == 8
    assert not torch.equal(trainer.model.mask_decoder.iou_token.weight, before)


def test_the_curve_is_a_table_and_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    curve.append(path, 50, 1.0, [{"loss": 2.0}, {"loss": 4.0, "box_iou": 0.5}])
    curve.append(path, 100, 1.0, [{"loss": 1.0, "box_iou": float("nan"), "point_iou": 0.1}])
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["loss"] for row in rows] == ["3.0000", "1.0000"]
    assert rows[0]["point_iou"] == ""
    assert path.with_suffix(".png").stat().st_size > 1000


# the bundled weights


def test_the_bundled_weights_reach_their_figures() -> None:
    with safe_open(checkpoint_path("tiny"), "np") as weights:
        told = json.loads(weights.metadata()["metrics_of_samples"])
    found = measure_samples(load_model("tiny", device="cpu"))
    assert found.keys() == told.keys()
    for sample, figures in told.items():
        assert found[sample] == pytest.approx(figures, abs=0.01)


# data


def test_batches_follow_from_the_seed(drawn: list[LabelledImage]) -> None:
    sampler = CropSampler({"drawn": drawn})
    first, second, other = (
        make_batch(sampler, SIDE, 3, 4, np.random.default_rng(seed), 2) for seed in (1, 1, 2)
    )
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.drawn.points_xy, second.drawn.points_xy)
    assert torch.equal(first.carried.mask_logits, second.carried.mask_logits)
    assert not torch.equal(first.images, other.images)
    assert first.drawn.masks.shape[1:] == (SIDE, SIDE)
    assert (first.drawn.masks.sum((1, 2)) >= MIN_OBJECT_AREA).all()


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


def test_the_planes_of_a_stack_count_as_one_image(drawn: list[LabelledImage]) -> None:
    stack = [replace(drawn[0], source="stack", name=str(z)) for z in range(50)]
    groups = sampling.by_source([*stack, drawn[1], drawn[2]])
    assert [len(group) for group in groups] == [50, 1, 1]


@pytest.mark.parametrize("seed", range(4))
def test_a_neighbouring_slice_is_cut_alike(seed: int) -> None:
    labels = np.zeros((100, 140), np.int32)
    labels[20:50, 30:60], labels[60:90, 80:130] = 1, 2
    image = np.zeros((100, 140, 3), np.uint8)
    plane = LabelledImage("", "", image, labels, neighbours=(labels,))
    crop = augment(cut_crop(plane, 96, np.random.default_rng(seed)), np.random.default_rng(0))
    assert np.array_equal(crop.labels, crop.neighbour)


def test_weights_of_the_first_generation_are_a_start(make_trainer, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = build_sam("conv_tiny")
    path = tmp_path / "first.pt"
    torch.save(first.state_dict(), path)
    trainer = make_trainer()
    trainer.start_from(path)
    found = trainer.average.state_dict()
    assert all(torch.equal(found[name], value) for name, value in first.state_dict().items())
    torch.save({"image_encoder.stem.0.bias": torch.zeros(24)}, path)
    with pytest.raises(CheckpointError, match="does not hold weights of tiny"):
        trainer.start_from(path)
