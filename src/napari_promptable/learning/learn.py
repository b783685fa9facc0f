"""Better weights from the objects of a user: hold some out, learn, choose the step, compare."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from napari_promptable.learning.examples import (
    Example,
    Examples,
    ObjectKey,
    hold_out,
    read_examples,
)
from napari_promptable.learning.figures import Figures, measure
from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.learning.learned import Learned
from napari_promptable.learning.learner import Clock, Learner, LearningState, Schedule
from napari_promptable.learning.network import Parent, open_parent
from napari_promptable.learning.replay import read_replay
from napari_promptable.learning.settings import LearningSettings
from napari_promptable.learning.sources import CropSource, Source, ViewSource, make_sampler
from napari_promptable.models.cpu.parallel import one_thread
from napari_promptable.predict.predictor import PromptableModel

STEPS = (1.0, 0.5, 0.25)
"""Shares of the way from the old to the new weights that are tried."""

MOST_MEASURED = 12  # held-out objects that are asked about
MEASURED_SHARE = 0.4  # of the time, at most, for the figures before and after

Progress = Callable[[LearningState], None]


def learn(
    model: PromptableModel,
    examples: Iterable[Example],
    settings: LearningSettings | None = None,
    progress: Progress | None = None,
    *,
    source: str = "",
    replay: Sequence[LabelledImage] | None = None,
    clock: Clock = time.monotonic,
) -> Learned:
    """Learn from a few labelled objects.

    A fifth of the objects is held out, at least two; below five objects each is held out in
    turn. Figures before and after, and the choice of the step between old and new weights, come
    from held-out objects only.

    Parameters
    ----------
    model : PromptableModel
        The model to start from; it stays as it is.
    examples : iterable of (image, labels)
        Images of shape (H, W), (H, W, 3) or stacks of such planes, and integer labels of the
        same shape without colours. What is not labelled is unknown, not background, unless
        `LearningSettings.is_complete` says otherwise.
    settings : LearningSettings, optional
        Time and method.
    progress : callable, optional
        Called with a `LearningState` before each step; CancelledError raised in it stops
        learning at once.
    source : str, optional
        Where the objects come from, for the name of the learned model: "nuclei.tif" gives
        "tiny + 12 objects of nuclei.tif".
    replay : sequence of LabelledImage, optional
        Images from earlier training to mix in; by default the sample in the package.
    clock : callable, optional
        Tells the time in seconds; `time.process_time` counts only this process's work.

    Returns
    -------
    Learned
        The learned model and its figures. If it is not better, `Learned.is_better` is False and
        `Learned.model` is the model to start from.

    Raises
    ------
    LabelError
        If labels and images do not match, or there are fewer than two objects.
    LearningError
        If the model cannot learn.
    CancelledError
        If `progress` raised it.
    """
    settings = settings or LearningSettings()
    parent = open_parent(model, settings.part)
    read = read_examples(examples, settings.is_complete)
    job = _Job(parent, read, settings, progress or _ignore, replay, clock)
    with one_thread():
        return job.run(name_learned(model.name, len(read.objects), source))


def name_learned(parent: str, count: int, source: str = "") -> str:
    """Name a model after the one that it comes from and the objects that it learned from."""
    origin = parent.partition(" + ")[0].removesuffix(".safetensors")
    return f"{origin} + {count} objects" + (f" of {source}" if source else "")


def _ignore(_: LearningState) -> None:
    """Report to no one."""


@dataclass(frozen=True, eq=False)
class _Outcome:
    """Weights that were learned without some objects, and figures of these."""

    weights: Mapping[str, Tensor]
    before: Figures
    after: dict[float, Figures]


class _Job:
    """One call of `learn`."""

    def __init__(
        self,
        parent: Parent,
        examples: Examples,
        settings: LearningSettings,
        progress: Progress,
        replay: Sequence[LabelledImage] | None,
        clock: Clock,
    ) -> None:
        self._parent, self._examples, self._settings = parent, examples, settings
        self._progress, self._clock = progress, clock
        self._start = clock()
        self._replay = None
        if settings.replay_share > 0:
            images = read_replay() if replay is None else replay
            self._replay = make_sampler(images) if images else None

    def run(self, name: str) -> Learned:
        """Learn with objects held out, choose the step, compare."""
        groups = hold_out(self._examples.objects, self._settings.seed)
        total = 60 * self._settings.minutes
        if len(groups) == 1:
            outcomes = [self._try(groups[0], total)]
            weights = outcomes[0].weights
        else:  # few objects: each is held out in turn, and the final weights learn from all
            share = total / (len(groups) + 1)
            outcomes = [self._try(group, share) for group in groups]
            weights = self._learn((), groups[0], total - self._elapsed)
        before = _join(outcome.before for outcome in outcomes)
        after = {step: _join(outcome.after[step] for outcome in outcomes) for step in STEPS}
        step = choose_step(before, after)
        learned = self._parent.between(weights, step) if step else {}
        model = self._parent.make_model(learned, name) if step else self._parent.model
        return Learned(
            model,
            self._parent.model,
            before,
            after[step or STEPS[0]],
            step,
            self._examples.objects,
            self._settings,
            self._elapsed,
            learned,
        )

    @property
    def _elapsed(self) -> float:
        return self._clock() - self._start

    def _try(self, held_out: tuple[ObjectKey, ...], seconds: float) -> _Outcome:
        """Learn without some objects, and measure them before and after."""
        start = self._clock()
        planes = self._examples.only(held_out[:MOST_MEASURED])
        before = measure(self._parent.model, planes, lambda: self._check("measuring before"))
        cost = (1 + len(STEPS)) * (self._clock() - start)
        weights = self._learn(
            held_out, held_out, max(seconds - cost, (1 - MEASURED_SHARE) * seconds)
        )
        after = {}
        for step in STEPS:
            learned = self._parent.between(weights, step)
            model = self._parent.make_model(learned, "learned")
            after[step] = measure(model, planes, lambda: self._check("measuring after"))
        return _Outcome(weights, before, after)

    def _learn(
        self, held_out: tuple[ObjectKey, ...], watched: tuple[ObjectKey, ...], seconds: float
    ) -> dict[str, Tensor]:
        """Learn from all objects but the held-out ones, and watch the loss of some."""
        schedule = Schedule(seconds, self._clock, self._settings.max_steps)
        network = self._parent.make_network()
        own = self._examples.without(held_out)
        crops = CropSource(
            network, make_sampler(own), self._replay, self._settings.replay_share
        )
        seen = CropSource(network, make_sampler(self._examples.only(watched)), None, 0.0)
        source: Source = crops
        if not self._parent.trains_encoder:
            rng = np.random.default_rng([self._settings.seed, len(own)])
            encoder = self._parent.model.sam
            count = len(self._examples.objects) - len(held_out)
            source = ViewSource(encoder, crops, count, rng, lambda: self._check("encoding"))
            seen = replace(seen, network=encoder)
        learner = Learner(network, self._settings, source, seen)
        return learner.run(schedule, self._progress)

    def _check(self, phase: str) -> None:
        """Report, so that a cancellation is noticed."""
        left = max(0.0, 60 * self._settings.minutes - self._elapsed)
        self._progress(LearningState(phase, 0, left))


def _join(figures: Iterable[Figures]) -> Figures:
    """Figures of all objects together."""
    return Figures(tuple(each for one in figures for each in one.objects))


def choose_step(before: Figures, after: Mapping[float, Figures]) -> float:
    """Choose the step whose figures are best; 0 if none is better than before.

    Parameters
    ----------
    before : Figures
        Figures of the old weights.
    after : mapping of float to Figures
        Figures of the weights a share of the way to the new ones.

    Returns
    -------
    float
        A key of `after`, or 0.
    """
    better = {step: figures.mean for step, figures in after.items() if figures.beats(before)}
    return max(better, key=better.__getitem__, default=0.0)
