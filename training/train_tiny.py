"""Train the bundled model ``tiny`` from scratch; resumes from its checkpoint.

    python -m training.train_tiny --data DATA --run RUN_FOLDER

The image encoder starts with dense pre-training; prompts follow, on windows of the network's
512-pixel input that grow to the full input. The learning rate is constant after a warm-up
and falls to zero over the last part, so that a run can be lengthened before it falls.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_promptable.models.sam import Sam, build_tiny_sam
from training import curve
from training.batches import Batch, make_batch, simulate_correction
from training.dataset import CropSampler, load_split, manifest_sha256
from training.losses import dense_loss, prompt_loss, size_loss
from training.synthetic import draw_images
from training.weights import write_weights


@dataclass(frozen=True)
class Stage:
    """Size of the batches from some share of the iterations on."""

    start: float
    window: int
    num_images: int
    objects_per_image: int


STAGES = (Stage(0.0, 192, 8, 4), Stage(0.9, 256, 6, 5))


CORRECTION_SHARES = (0.35, 0.4, 0.15, 0.1)
"""Of the iterations, that answer once, twice, three and four times."""

SECOND_LOOK_SHARE = 0.4
"""Of the further answers, that get the last mask only and no correcting click."""


@dataclass(frozen=True)
class Config:
    """Settings of a run; what is not on the command line stays as here."""

    iterations: int = 6000
    pretrain_iterations: int = 200
    decay_share: float = 0.6
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    ema_decay: float = 0.999
    dense_weight: float = 0.5
    size_weight: float = 0.5
    synthetic_images: int = 300
    synthetic_share: float = 0.2
    seed: int = 0
    bfloat16: bool = False  # pays on CPUs with avx512_bf16 or AMX, costs on others
    threads: int = 1


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
        self.sampler = sampler
        self.stages = stages
        self.iteration = 0
        self.model = build()
        self.model.image_encoder.to(memory_format=torch.channels_last)
        self.average = build().requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        self.embed_dim = self.model.mask_decoder.embed_dim
        self.dense_head = nn.Conv2d(self.embed_dim, 4 * 4**2, 1)
        self.optimizer = torch.optim.AdamW(
            [*self.model.parameters(), *self.dense_head.parameters()],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            betas=(0.9, 0.99),
            fused=True,
        )

    def step(self) -> dict[str, float]:
        """Run one iteration and return what the curve shows of it."""
        rng = np.random.default_rng([self.config.seed, self.iteration])
        loss, figures = self.loss(self._next_batch(rng), rng)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.iteration)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.iteration += 1
        self._update_average()
        return {"loss": loss.item(), **figures}

    def loss(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        """Loss of all tasks on a batch, and what the curve shows of it."""
        config = self.config
        embedding = self._encode(batch)
        maps = F.pixel_shuffle(self.dense_head(embedding[:, : self.embed_dim]), 4)
        dense = dense_loss(maps, batch.dense)
        sizes = self._size_loss(embedding, batch)
        loss = dense + config.size_weight * sizes
        figures = {"dense_loss": dense.item(), "size_error": sizes.item()}
        if self.iteration >= config.pretrain_iterations:
            prompted, ious = self._answer_prompts(batch, embedding, rng)
            loss = config.dense_weight * dense + config.size_weight * sizes + prompted
            figures |= ious
        return loss, figures

    def _size_loss(self, embedding: Tensor, batch: Batch) -> Tensor:
        """Loss of the estimated sizes at the centres of the embedding's cells."""
        assert self.model.size_head is not None
        cell = self.model.patch_stride // 2  # targets have half of the input's resolution
        target = batch.dense[:, 4, cell // 2 :: cell, cell // 2 :: cell]
        return size_loss(self.model.size_head(embedding), target)

    def _next_batch(self, rng: np.random.Generator) -> Batch:
        share = self.iteration / self.config.iterations
        stage = [stage for stage in self.stages if stage.start <= share][-1]
        return make_batch(
            self.sampler, stage.window, stage.num_images, stage.objects_per_image, rng
        )

    def _encode(self, batch: Batch) -> Tensor:
        image = self.model.normalise(batch.images) * batch.validity
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bfloat16):
            embedding = self.model.image_encoder(
                image.contiguous(memory_format=torch.channels_last)
            )
        return embedding.float()

    def _answer_prompts(
        self, batch: Batch, embedding: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """First prompts and, now and then, second looks and corrections."""
        model, config = self.model, self.config
        rows, columns = embedding.shape[-2:]
        free = model.prompt_encoder.image_embedding_size[0] - rows
        top, left = (int(n) for n in rng.integers(0, free + 1, 2))
        origin_xy = model.patch_stride * torch.tensor([left, top])
        target = F.avg_pool2d(batch.masks[:, None].float(), 2)[:, 0]
        points, labels = batch.points_xy, batch.point_labels
        is_box = labels[:, 0] == 2
        corrections = int(rng.choice(len(CORRECTION_SHARES), p=CORRECTION_SHARES))
        total, figures, previous = embedding.new_zeros(()), {}, None
        for step in range(1 + corrections):
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
                logits, predicted_iou = model.decode(
                    embedding[batch.image_index],
                    points + origin_xy,
                    labels,
                    previous,
                    window=(top, left, rows, columns),
                )
            logits, predicted_iou = logits.float(), predicted_iou.float()
            loss, iou = prompt_loss(logits, predicted_iou, target, is_first=step == 0)
            total = total + loss
            best = chosen_candidate(predicted_iou, is_box | (step > 0))
            every = torch.arange(len(best))
            if step == 0:
                figures["box_iou"] = iou[is_box, 0].mean().item()
                figures["point_iou"] = iou[every, best][~is_box].mean().item()
            else:
                figures["corrected_iou"] = iou[:, 0].mean().item()
            if step < corrections:
                previous = logits.detach()[every, best][:, None]
                if rng.random() >= SECOND_LOOK_SHARE:
                    points, labels = _correct(batch, previous, points, labels, rng)
        return total, figures

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.config.ema_decay, (1 + self.iteration) / (10 + self.iteration))
        average, current = (
            list(model.state_dict().values()) for model in (self.average, self.model)
        )
        is_float = [tensor.is_floating_point() for tensor in average]
        torch._foreach_lerp_(
            list(compress(average, is_float)), list(compress(current, is_float)), 1 - decay
        )
        for tensor, value in zip(average, current, strict=True):
            if not tensor.is_floating_point():
                tensor.copy_(value)

    def save(self, path: Path) -> None:
        """Write everything that a resumed run needs, complete or not at all."""
        temporary = path.with_suffix(".tmp")
        torch.save(
            {
                "iteration": self.iteration,
                "model": self.model.state_dict(),
                "average": self.average.state_dict(),
                "dense_head": self.dense_head.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            },
            temporary,
        )
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Continue from what `save` wrote."""
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self.iteration = state["iteration"]
        for name in ("model", "average", "dense_head", "optimizer"):
            getattr(self, name).load_state_dict(state[name])


def chosen_candidate(predicted_iou: Tensor, is_single: Tensor) -> Tensor:
    """Mask 0 for boxes and corrections, else the best of masks 1 to 3 by predicted IoU."""
    best = 1 + predicted_iou[:, 1:].argmax(dim=1)
    return torch.where(is_single, torch.zeros_like(best), best)


def _correct(
    batch: Batch, previous: Tensor, points: Tensor, labels: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Add one click in each object's error region."""
    size = batch.masks.shape[-2:]
    predicted = F.interpolate(previous, size, mode="bilinear")[:, 0] > 0
    clicks = [
        simulate_correction(mask, answer, rng)
        for mask, answer in zip(batch.masks.numpy(), predicted.numpy(), strict=True)
    ]
    new_points = torch.from_numpy(np.stack([point for point, _ in clicks]))[:, None]
    new_labels = torch.tensor([[label] for _, label in clicks])
    return torch.cat([points, new_points], 1), torch.cat([labels, new_labels], 1)


def learning_rate(config: Config, iteration: int) -> float:
    """Linear warm-up, constant, linear fall to zero."""
    warm_up = min(1.0, (iteration + 1) / 100)
    left = (config.iterations - iteration) / (config.decay_share * config.iterations)
    return config.learning_rate * min(warm_up, left, 1.0)


def run(config: Config, data: Path, folder: Path, start: Path | None = None) -> Sam:
    """Train until `config.iterations`, saving and logging now and then, and write weights."""
    torch.set_num_threads(config.threads)
    folder.mkdir(parents=True, exist_ok=True)
    synthetic = draw_images(config.synthetic_images, config.seed)
    trainer = Trainer(
        config, CropSampler(load_split(data, "train"), synthetic, config.synthetic_share)
    )
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
    elif start is not None:
        trainer.load(start)
        trainer.iteration = 0
    print(f"data {manifest_sha256(data)[:12]}, from iteration {trainer.iteration}", flush=True)
    recent: list[dict[str, float]] = []
    started = time.perf_counter()
    while trainer.iteration < config.iterations:
        recent.append(trainer.step())
        if trainer.iteration % 50 == 0 or trainer.iteration == config.iterations:
            seconds = (time.perf_counter() - started) / len(recent)
            curve.append(folder / "curve.csv", trainer.iteration, seconds, recent)
            trainer.save(checkpoint)
            recent, started = [], time.perf_counter()
    write_weights(trainer.average, folder / "tiny.safetensors", asdict(config), data)
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
    parser.add_argument("--start", type=Path, help="checkpoint of another run to start from")
    arguments = vars(parser.parse_args())
    places = [arguments.pop(name) for name in ("data", "run", "start")]
    run(Config(**arguments), *places)


if __name__ == "__main__":
    main()
