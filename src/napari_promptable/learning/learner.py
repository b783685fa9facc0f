"""The learning loop: steps on a schedule of time, until the held-out loss is flat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_promptable.learning.clocks import Clock
from napari_promptable.learning.objective import (
    Weights,
    maps_loss,
    prompts_loss,
    update_average,
)
from napari_promptable.learning.settings import LearningSettings
from napari_promptable.learning.sources import Source
from napari_promptable.models.sam import Sam

WARM_UP_STEPS = 10
FALLING_SHARE = 0.5  # of the time, in which the learning rate falls to zero
EMA_DECAY = 0.98
WEIGHT_DECAY = 0.01
SHOWN_SHARE = 0.5  # of the loss of a click's answers, see `prompt_loss`
TASK_WEIGHTS = Weights(instances=0.5, sizes=0.3)
CHECKS = 12  # of the held-out loss, in the whole time
CHECKED_BATCHES = 2
PATIENCE = 6  # checks without progress that count as flat
LEAST_PROGRESS = 0.005  # of the held-out loss, relative
LAST_SHARE = 0.25  # of the time so far, that is left when the curve is flat


class Schedule:
    """When to stop, and the learning rate until then.

    Parameters
    ----------
    seconds : float
        Time from now.
    clock : callable
        Tells the time in seconds.
    max_steps : int or None
        Steps after which to stop in any case.
    """

    def __init__(self, seconds: float, clock: Clock, max_steps: int | None = None) -> None:
        self._clock, self._max_steps = clock, max_steps
        self._start = clock()
        self._end = self._start + seconds
        self._falls_from = self._end - FALLING_SHARE * seconds
        self.step = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    @property
    def remaining(self) -> float:
        """Seconds until the end, or 0 when all steps are done."""
        if self._max_steps is not None and self.step >= self._max_steps:
            return 0.0
        return max(0.0, self._end - self._clock())

    @property
    def share(self) -> float:
        """Share of the time that has passed, 0 to 1."""
        total = self._end - self._start
        return min(1.0, self.elapsed / total) if total > 0 else 1.0

    def rate(self) -> float:
        """Share of the full learning rate for the next step, 0 to 1."""
        warm = (self.step + 1) / WARM_UP_STEPS
        falling = self.remaining / max(self._end - self._falls_from, 1e-9)
        return min(warm, falling, 1.0)

    def finish_early(self) -> None:
        """Let the learning rate fall from now on, and stop soon."""
        self._falls_from = self._clock()
        self._end = min(self._end, self._falls_from + LAST_SHARE * self.elapsed)


@dataclass(frozen=True)
class LearningState:
    """How far learning is.

    Attributes
    ----------
    phase : str
        "measuring before", "learning" or "measuring after".
    step : int
        Steps so far.
    seconds_left : float
        Estimated seconds until the end.
    curve : tuple of (float, float)
        Seconds and held-out loss at each check so far.
    """

    phase: str
    step: int
    seconds_left: float
    curve: tuple[tuple[float, float], ...] = ()


class Learner:
    """A network that learns, the average of its weights, and the optimiser.

    Parameters
    ----------
    network : Sam
        In evaluation mode, so that batch statistics stay as they are; it is changed.
    settings : LearningSettings
        Rates and seed.
    source : Source
        Where each step's batch comes from.
    held_out : Source
        Where the held-out loss comes from.
    """

    def __init__(
        self, network: Sam, settings: LearningSettings, source: Source, held_out: Source
    ) -> None:
        self._network, self._settings = network, settings
        self._source, self._held_out = source, held_out
        self._trained = {
            name: parameter
            for name, parameter in network.named_parameters()
            if parameter.requires_grad
        }
        self.average = {name: p.detach().clone() for name, p in self._trained.items()}
        encoder, others = _split(self._trained)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": encoder, "rate": settings.encoder_rate * settings.learning_rate},
                {"params": others, "rate": settings.learning_rate},
            ],
            weight_decay=WEIGHT_DECAY,
            betas=(0.9, 0.99),
        )

    def run(
        self, schedule: Schedule, report: Callable[[LearningState], None]
    ) -> dict[str, Tensor]:
        """Learn until the schedule ends, and return the averaged weights of what learned.

        Parameters
        ----------
        schedule : Schedule
            Time and learning rate.
        report : callable
            Called before each step; may raise CancelledError.
        """
        curve: list[tuple[float, float]] = []
        while schedule.remaining > 0:
            if schedule.share * CHECKS >= len(curve):
                curve.append((schedule.elapsed, self.held_out_loss()))
                if is_flat([loss for _, loss in curve]):
                    schedule.finish_early()
            report(LearningState("learning", schedule.step, schedule.remaining, tuple(curve)))
            self.step(schedule.step, schedule.rate())
            schedule.step += 1
        return self.average

    def step(self, number: int, rate: float) -> None:
        """Run one step with a share of the full learning rate."""
        rng = np.random.default_rng([self._settings.seed, number])
        loss = self._loss(self._source, rng)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["rate"]
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._trained.values(), 1.0)
        self._optimizer.step()
        decay = min(EMA_DECAY, (1 + number) / (10 + number))
        update_average(self.average, self._trained, decay)

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Loss on held-out objects, always with the same crops and prompts."""
        rng = np.random.default_rng(self._settings.seed)
        losses = [self._loss(self._held_out, rng).item() for _ in range(CHECKED_BATCHES)]
        return float(np.mean(losses))

    def _loss(self, source: Source, rng: np.random.Generator) -> Tensor:
        """Loss of all tasks on a batch."""
        embedding, batch = source.draw(rng)
        maps, _ = maps_loss(self._network, embedding, batch, TASK_WEIGHTS)
        prompts, _ = prompts_loss(self._network, embedding, batch, rng, SHOWN_SHARE)
        return maps + prompts


def _split(trained: Mapping[str, nn.Parameter]) -> tuple[list[nn.Parameter], ...]:
    """Parameters of the encoder, and all others."""
    groups: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    for name, parameter in trained.items():
        groups[not name.startswith("image_encoder.")].append(parameter)
    return groups


def is_flat(losses: list[float]) -> bool:
    """Whether the last checks brought no progress worth waiting for."""
    if len(losses) <= PATIENCE:
        return False
    best_before, best_lately = min(losses[:-PATIENCE]), min(losses[-PATIENCE:])
    return best_lately > (1 - LEAST_PROGRESS) * best_before
