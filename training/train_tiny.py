"""Train the bundled model ``tiny``, from scratch or from weights; resumes from its checkpoint.

    python -m training.train_tiny --data DATA --run RUN_FOLDER --start WEIGHTS

From scratch, the image encoder starts with the maps of all objects; prompts follow, on windows
of the network's 512-pixel input. The learning rate rises during a warm-up and falls to zero
along a cosine. A run ends after a number of iterations, or after a time: then everything that
changes during a run follows the time spent, so that it ends complete on any machine.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_promptable.errors import CheckpointError
from napari_promptable.learning.batches import Batch
from napari_promptable.learning.objective import (
    Weights,
    maps_loss,
    prompts_loss,
    update_average,
)
from napari_promptable.learning.rounds import Figures
from napari_promptable.learning.sampling import CropSampler
from napari_promptable.models.sam import Sam, build_tiny_sam
from napari_promptable.weights.loading import read_state_dict
from training import curve
from training.dataset import dataset_shares, load_split, manifest_sha256
from training.loader import Stage, make_source
from training.muon import MuonAndAdamW, make_adamw
from training.synthetic import draw_images
from training.weights import add_figures, describe_run, save_weights

NEW_HEADS = ("instance_head.", "mask_decoder.quality_head.")
"""What SAM and the first generation of the model lack."""


STAGES = (Stage(0.0, 192, 8, 4), Stage(0.6, 256, 5, 4))

WARM_UP = 0.03  # share of a run, over which the learning rate rises
SAVED_EVERY = 60.0  # seconds


@dataclass(frozen=True)
class Config:
    """Settings of a run; the command line overrides these defaults."""

    iterations: int = 6000
    minutes: float = 0.0  # that a run takes instead of so many iterations
    pretrain_iterations: int = 200
    learning_rate: float = 1.5e-3
    optimizer: str = "adamw"  # or "muon"
    weight_decay: float = 0.05
    ema_decay: float = 0.999
    head_rate: float = 1.0  # learning rate of the heads that SAM lacks, relative to the others
    detached_iterations: int = 0  # in which the instance head does not change the encoder
    instance_weight: float = 0.5
    size_weight: float = 0.5
    carried_per_image: int = 1
    synthetic_images: int = 300
    synthetic_share: float = 0.2
    batch_scale: int = 1  # images of a batch, relative to the stages'
    seed: int = 0
    bfloat16: bool = False  # pays on CPUs with avx512_bf16 or AMX, costs on others
    threads: int = 1
    device: str = "cpu"


class Trainer:
    """Model, its moving average, optimiser and data of one run.

    Parameters
    ----------
    config : Config
        Settings.
    sampler : CropSampler
        Training data.
    build : callable, optional
        Builds the network; by default the bundled one.
    stages : sequence of Stage, optional
        Sizes of the batches.
    """

    def __init__(
        self,
        config: Config,
        sampler: CropSampler,
        build: Callable[[], Sam] = build_tiny_sam,
        stages: Sequence[Stage] = STAGES,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = torch.device(config.device)
        self.source = make_source(sampler, self.device)
        self.stages = stages
        self.share = 0.0  # of the run, that is done; batches and learning rate follow it
        self.iteration = 0
        self.model = build().to(self.device)
        if config.bfloat16:
            self.model.precision = torch.bfloat16
        self.model.image_encoder.to(memory_format=torch.channels_last)
        self.average = build().to(self.device).requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        self.optimizer = make_optimizer(
            config.optimizer, self._parameter_groups(), config.weight_decay
        )

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Heads that SAM lacks, and everything else, each with its rate."""
        groups: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
        for name, parameter in self.model.named_parameters():
            groups[name.startswith(NEW_HEADS)].append(parameter)
        rates = (1.0, self.config.head_rate)
        return [{"params": p, "rate": r} for p, r in zip(groups, rates, strict=True)]

    def draw(self) -> Batch:
        """Draw the batch of this iteration."""
        config = self.config
        stage = [stage for stage in self.stages if stage.start <= self.share][-1]
        scaled = replace(stage, num_images=config.batch_scale * stage.num_images)
        return self.source.draw(scaled, config.seed, self.iteration, config.carried_per_image)

    def step(self, batch: Batch) -> Figures:
        """Learn from a batch and return its values for the curve."""
        rng = np.random.default_rng([self.config.seed, self.iteration, 1])
        loss, figures = self.loss(batch, rng)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * learning_rate(self.config, self.share)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.iteration += 1
        decay = min(self.config.ema_decay, (1 + self.iteration) / (10 + self.iteration))
        update_average(self.average.state_dict(), self.model.state_dict(), decay)
        return {"loss": loss.detach(), **figures}

    def loss(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, Figures]:
        """Loss of all tasks on a batch, and its values for the curve."""
        config, is_first = self.config, self.iteration < self.config.pretrain_iterations
        embedding = self._encode(batch)
        loss, figures = maps_loss(
            self.model,
            embedding,
            batch,
            Weights(1.0 if is_first else config.instance_weight, config.size_weight),
            is_detached=self.iteration < config.detached_iterations,
        )
        if not is_first:
            prompts, prompt_figures = prompts_loss(self.model, embedding, batch, rng)
            loss, figures = loss + prompts, figures | prompt_figures
        return loss, figures

    def _encode(self, batch: Batch) -> Tensor:
        image = self.model.normalise(batch.images) * batch.validity
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            embedding = self.model.image_encoder(
                image.contiguous(memory_format=torch.channels_last)
            )
        return embedding.float()

    def start_from(self, path: Path) -> None:
        """Copy weights; heads that the first generation lacks keep their initial values."""
        weights = read_state_dict(path)
        missing, unknown = self.model.load_state_dict(weights, strict=False)
        if unknown or not all(name.startswith(NEW_HEADS) for name in missing):
            raise CheckpointError(f"{path} does not hold weights of tiny")
        self.average.load_state_dict(self.model.state_dict())

    def save(self, path: Path) -> None:
        """Write everything that a resumed run needs, complete or not at all."""
        temporary = path.with_suffix(".tmp")
        torch.save(
            {
                "iteration": self.iteration,
                "share": self.share,
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            },
            temporary,
        )
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Continue from what `save` wrote."""
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        self.iteration, self.share = state["iteration"], state["share"]
        for name in ("model", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])


def make_optimizer(
    name: str, groups: list[dict[str, Any]], weight_decay: float
) -> MuonAndAdamW | torch.optim.AdamW:
    """Build the optimiser of a name; its rates are set at each step."""
    if name == "adamw":
        return make_adamw(groups, weight_decay)
    if name == "muon":
        return MuonAndAdamW(groups, weight_decay)
    raise ValueError(f"optimizer is {name!r}; choose adamw or muon")


def learning_rate(config: Config, share: float) -> float:
    """Linear warm-up, then a cosine that falls to zero at the end of a run."""
    if share < WARM_UP:
        return config.learning_rate * share / WARM_UP
    angle = math.pi * (share - WARM_UP) / (1 - WARM_UP)
    return config.learning_rate * (1 + math.cos(angle)) / 2


def run(config: Config, data: Path, folder: Path, start: Path | None = None) -> Sam:
    """Train to the end, saving and logging now and then, and write and measure weights."""
    torch.set_num_threads(config.threads)
    folder.mkdir(parents=True, exist_ok=True)
    images = load_split(data, "train")
    sampler = CropSampler(
        images,
        draw_images(config.synthetic_images, config.seed),
        config.synthetic_share,
        dataset_shares(images),
    )
    trainer = Trainer(config, sampler)
    checkpoint, weights = folder / "checkpoint.pt", folder / "tiny.safetensors"
    if checkpoint.exists():
        trainer.load(checkpoint)
    elif start is not None:
        trainer.start_from(start)
    metadata = describe_run(asdict(config), data)
    print(f"data {manifest_sha256(data)[:12]}, from iteration {trainer.iteration}", flush=True)
    recent: list[Figures] = []
    saved = time.perf_counter()
    started = saved - 60 * config.minutes * trainer.share
    while trainer.share < 1:
        recent.append(trainer.step(trainer.draw()))
        now = time.perf_counter()
        if config.minutes:
            trainer.share = (now - started) / (60 * config.minutes)
        else:
            trainer.share = trainer.iteration / config.iterations
        if trainer.share >= 1 or now - saved > SAVED_EVERY:
            seconds = (now - saved) / len(recent)
            curve.append(folder / "curve.csv", trainer.iteration, seconds, recent)
            trainer.save(checkpoint)
            save_weights(trainer.average, weights, metadata)
            recent, saved = [], time.perf_counter()
    add_figures(weights, data)
    return trainer.average


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--run", type=Path, required=True, help="checkpoint, curve, weights")
    for name, default in asdict(Config()).items():
        option = "--" + name.replace("_", "-")
        if isinstance(default, bool):
            parser.add_argument(option, action=argparse.BooleanOptionalAction, default=default)
        else:
            parser.add_argument(option, type=type(default), default=default)
    parser.add_argument("--start", type=Path, help="weights to start from")
    arguments = vars(parser.parse_args())
    places = [arguments.pop(name) for name in ("data", "run", "start")]
    run(Config(**arguments), *places)


if __name__ == "__main__":
    main()
