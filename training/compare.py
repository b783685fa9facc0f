"""Compare architectures, optimisers and data with equal training time.

    python -m training.compare --data DATA --run RUN_FOLDER --minutes 8

Each variant differs from the bundled model in one thing and is trained from scratch by one
thread for as many iterations as fit into the time. How long an iteration takes is measured
beforehand, the variants taking turns, so that another program slows all of them alike.
All are then asked about the same crops of the validation images; those trained on a few
datasets only are asked about the others.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from napari_promptable.learning.batches import make_batch
from napari_promptable.learning.sampling import CropSampler
from napari_promptable.models.sam import Sam, build_tiny_sam
from training.dataset import load_split
from training.loader import Stage
from training.synthetic import draw_images
from training.train_tiny import Config, Trainer

STAGE = Stage(0.0, 128, 6, 4)
TIMED_STEPS = 7
VALIDATION_BATCHES = 60
CONFIG = Config(pretrain_iterations=100)
NOTHING_DRAWN = replace(CONFIG, synthetic_share=0.0)
WITH_MUON = replace(CONFIG, optimizer="muon", learning_rate=2 * CONFIG.learning_rate)
NUCLEI = ("dsb2018", "bbbc039")


@dataclass(frozen=True)
class Variant:
    """Differences from the bundled model; `only` names the training datasets."""

    build: Callable[[], Sam] = build_tiny_sam
    config: Config = field(default=CONFIG)
    only: tuple[str, ...] = ()

    @property
    def has_other_crops(self) -> bool:
        """Whether it differs in the crops that it learns from."""
        config = self.config
        is_drawn_alike = config.synthetic_share == CONFIG.synthetic_share
        return bool(self.only) or config.seed != CONFIG.seed or not is_drawn_alike


VARIANTS = {
    "as bundled": Variant(),
    "as bundled, another seed": Variant(config=replace(CONFIG, seed=1)),
    "no features of stride 4": Variant(partial(build_tiny_sam, with_details=False)),
    "encoder narrower (32, 64, 128, 224)": Variant(
        partial(build_tiny_sam, encoder_widths=(32, 64, 128, 224))
    ),
    "encoder wider (64, 128, 256, 416)": Variant(
        partial(build_tiny_sam, encoder_widths=(64, 128, 256, 416))
    ),
    "encoder shallower (1, 2, 3, 1)": Variant(
        partial(build_tiny_sam, encoder_depths=(1, 2, 3, 1))
    ),
    "encoder deeper (3, 5, 9, 3)": Variant(
        partial(build_tiny_sam, encoder_depths=(3, 5, 9, 3))
    ),
    "decoder 96 wide": Variant(partial(build_tiny_sam, 96)),
    "decoder 192 wide": Variant(partial(build_tiny_sam, 192)),
    "Muon at twice the learning rate": Variant(config=WITH_MUON),
    "no drawn images": Variant(config=NOTHING_DRAWN),
    "trained on fluorescent nuclei only": Variant(only=NUCLEI),
    "the same, no drawn images": Variant(config=NOTHING_DRAWN, only=NUCLEI),
}


def make_trainer(variant: Variant, data: CropSampler) -> Trainer:
    """Make a trainer that draws its crops from images that all variants share."""
    share = variant.config.synthetic_share
    images = {name: data.images[name] for name in variant.only or data.images}
    sampler = CropSampler(images, data.synthetic, share)
    return Trainer(variant.config, sampler, variant.build, [STAGE])


def seconds_per_iteration(data: CropSampler) -> dict[str, float]:
    """Median time of a step with prompts, the variants taking turns.

    Variants of the data count as the bundled model: other crops take other numbers of
    corrections, which a few steps do not average out.
    """
    trainers = {
        name: make_trainer(variant, data)
        for name, variant in VARIANTS.items()
        if not variant.has_other_crops
    }
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for turn in range(1 + TIMED_STEPS):  # the first turn is not counted
        for name, trainer in trainers.items():
            trainer.iteration = CONFIG.pretrain_iterations + turn
            started = time.perf_counter()
            trainer.step(trainer.draw())
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    return {name: medians.get(name, medians["as bundled"]) for name in VARIANTS}


def train(variant: Variant, iterations: int, data: CropSampler) -> Trainer:
    """Train from scratch for so many iterations."""
    config = replace(variant.config, iterations=iterations)
    trainer = make_trainer(replace(variant, config=config), data)
    while trainer.iteration < iterations:
        trainer.step(trainer.draw())
        trainer.share = trainer.iteration / iterations
    return trainer


@torch.no_grad()
def validate(trainer: Trainer, data: CropSampler, without: Collection[str]) -> dict[str, float]:
    """Mean IoU by kind of prompt on crops of validation images of all datasets but some."""
    trainer.model = trainer.average.eval()
    data = CropSampler({k: images for k, images in data.images.items() if k not in without})
    figures: dict[str, list[float]] = {}
    for index in range(VALIDATION_BATCHES):
        rng = np.random.default_rng(index)
        batch = make_batch(data, STAGE.window, STAGE.num_images, STAGE.objects_per_image, rng)
        for name, value in trainer.loss(batch, rng)[1].items():
            figures.setdefault(name, []).append(float(value))
    return {name: float(np.nanmean(values)) for name, values in figures.items()}


def compare(root: Path, folder: Path, minutes: float) -> dict[str, dict[str, float]]:
    """Train and validate all variants, except those already in the run folder."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = draw_images(CONFIG.synthetic_images, CONFIG.seed)
    training = CropSampler(load_split(root, "train"), drawn)
    validation = CropSampler(load_split(root, "val"))
    path = folder / "comparison.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    if any(name not in results for name in VARIANTS):
        for name, seconds in seconds_per_iteration(training).items():
            results.setdefault(name, {"seconds_per_iteration": seconds})
    for name, variant in VARIANTS.items():
        result = results[name]
        if "iterations" not in result:
            iterations = int(60 * minutes / result["seconds_per_iteration"])
            trainer = train(variant, iterations, training)
            parameters = sum(p.numel() for p in trainer.model.parameters())
            result |= {"parameters": parameters, **validate(trainer, validation, variant.only)}
            result["iterations"] = iterations
            path.write_text(json.dumps(results, indent=1))
            print(name, result, flush=True)
    return results


def format_table(results: dict[str, dict[str, float]]) -> str:
    """Markdown, a line per variant."""
    head = "| variant | parameters | s / iteration | iterations | box | one click | corrected |"
    lines = [head, "|---" * 7 + "|"]
    for name in VARIANTS:
        result = results[name]
        ious = [f"{result[key]:.3f}" for key in ("box_iou", "point_iou", "corrected_iou")]
        cells = [
            name,
            f"{result['parameters'] / 1e6:.1f} M",
            f"{result['seconds_per_iteration']:.2f}",
            str(result["iterations"]),
            *ious,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, compare and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--run", type=Path, required=True, help="where results are kept")
    parser.add_argument("--minutes", type=float, default=8.0, help="training time of each")
    arguments = parser.parse_args()
    print(format_table(compare(arguments.data, arguments.run, arguments.minutes)))


if __name__ == "__main__":
    main()
