"""Better weights from the objects of a user: hold some out, learn, choose the step, compare."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from torch import Tensor

from napari_promptable.learning.clocks import LONGEST_WAIT, Clock, WorkClock
from napari_promptable.learning.examples import (
    FEWEST_HELD_OUT,
    Example,
    Examples,
    ObjectKey,
    hold_out,
    read_examples,
)
from napari_promptable.learning.figures import Figures, encode_rgb8, measure
from napari_promptable.learning.forgetting import Memory, hold_back
from napari_promptable.learning.found import Found, measure_found
from napari_promptable.learning.labelled_image import LabelledImage
from napari_promptable.learning.learned import Learned
from napari_promptable.learning.learner import Learner, LearningState, Schedule
from napari_promptable.learning.network import Parent, open_parent
from napari_promptable.learning.objective import mean_of_weights
from napari_promptable.learning.planes import Embed, PlaneSource, SharedEmbeddings
from napari_promptable.learning.replay import read_replay
from napari_promptable.learning.settings import LearningSettings
from napari_promptable.learning.sources import CropSource, Source, ViewSource, make_sampler
from napari_promptable.models.cpu.parallel import one_thread
from napari_promptable.models.sam import Sam
from napari_promptable.predict.embeddings import EmbeddingCache
from napari_promptable.predict.predictor import PromptableModel

STEPS = (0.75, 0.5, 0.25)
"""Shares of the way from the old to the new weights that are tried."""

MOST_MEASURED = 12  # held-out objects that are asked about
MEASURED_SHARE = 0.4  # of the time, at most, for the figures before and after
REMEMBERED_SHARE = 0.08  # of the time, for asking what is forgotten

Progress = Callable[[LearningState], None]


def learn(
    model: PromptableModel,
    examples: Iterable[Example],
    settings: LearningSettings | None = None,
    progress: Progress | None = None,
    *,
    source: str = "",
    replay: Sequence[LabelledImage] | None = None,
    clock: Clock | None = None,
    cache: EmbeddingCache | None = None,
) -> Learned:
    """Learn from a few labelled objects.

    Two groups of objects are held out in turn, a fifth of the objects each, at least two; below
    five objects each object is held out in turn. Figures before and after, and the choice of
    the step between old and new weights, come from weights that did not learn from the objects
    that they are asked about. The learned model has the mean of these weights. Objects of
    earlier training tell whether a step forgets too much, see `MOST_FORGOTTEN`.

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
        Tells the time in seconds; by default a `WorkClock`, so that a busy machine takes no
        steps away.
    cache : EmbeddingCache, optional
        Holds embeddings of the model to start from, and gets the ones that are missing. They
        are used where the encoder does not learn: always for SAM, MobileSAM and SAM 2.1.

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
    cache = EmbeddingCache() if cache is None else cache
    job = _Job(parent, read, settings, progress or _ignore, replay, clock or WorkClock(), cache)
    with one_thread():
        return job.run(name_learned(model.name, len(read.objects), source))


def name_learned(parent: str, count: int, source: str = "") -> str:
    """Name a model after the one that it comes from and the objects that it learned from."""
    origin = parent.partition(" + ")[0].removesuffix(".safetensors")
    return f"{origin} + {count} objects" + (f" of {source}" if source else "")


def _ignore(_: LearningState) -> None:
    """Report to no one."""


@dataclass(frozen=True, eq=False)
class _Trial:
    """Weights that were learned without some objects, and figures of these."""

    held_out: tuple[ObjectKey, ...]
    weights: Mapping[str, Tensor]
    before: Figures
    after: dict[float, Figures]
    found: Found | None


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
        cache: EmbeddingCache,
    ) -> None:
        self._parent, self._examples, self._settings = parent, examples, settings
        self._progress, self._clock = progress, clock
        self._start, self._wall_start = clock(), time.monotonic()
        self._later = 0.0  # seconds for the groups that are held out after the present one
        self._embed: Embed = encode_rgb8
        if not parent.trains_encoder:
            self._embed = SharedEmbeddings(parent.model, cache)
        self._replay = None
        known: Sequence[LabelledImage] = []
        if settings.replay_share > 0 and not self._sees_whole_planes:
            images, known = hold_back(read_replay() if replay is None else replay)
            self._replay = make_sampler(images) if images else None
        check = partial(self._measure, phase="measuring what is kept")
        self._memory = Memory(parent.model, known, check)

    def run(self, name: str) -> Learned:
        """Learn with objects held out in turn, choose the step, compare."""
        groups = hold_out(self._examples.objects, self._settings.seed)
        share = 60 * self._settings.minutes * (1 - REMEMBERED_SHARE) / len(groups)
        trials = []
        for number, group in enumerate(groups, start=1):
            self._later = share * (len(groups) - number)
            trials.append(self._try(group, share))
        before = _join(trial.before for trial in trials)
        after = {step: _join(trial.after[step] for trial in trials) for step in STEPS}
        weights = mean_of_weights([trial.weights for trial in trials])
        step = self._choose_step(before, after, weights)
        shown = step or STEPS[0]  # what is not better is shown, too, but not offered
        learned = self._parent.between(weights, shown)
        model = self._parent.make_model(learned, name)
        return Learned(
            model if step else self._parent.model,
            self._parent.model,
            before,
            after[shown],
            step,
            self._examples.objects,
            self._settings,
            self._elapsed,
            learned if step else {},
            self._find_after(trials, shown),
        )

    def _choose_step(
        self, before: Figures, after: Mapping[float, Figures], weights: Mapping[str, Tensor]
    ) -> float:
        """Choose the best step that forgets little. The smallest step is not asked."""
        tried = dict(after)
        step = choose_step(before, tried)
        while step > min(STEPS) and not self._memory.is_kept_by(
            self._make_model(weights, step)
        ):
            del tried[step]
            step = choose_step(before, tried)
        return step

    @property
    def _sees_whole_planes(self) -> bool:
        return self._parent.model.sam.tile_size is None

    @property
    def _elapsed(self) -> float:
        return self._clock() - self._start

    def _find_after(self, trials: Sequence[_Trial], step: float) -> tuple[Found, Found] | None:
        """Count the held-out objects that are found without a prompt, before and after."""
        searched = [trial for trial in trials if trial.found is not None]
        if not searched:
            return None
        after = [self._find(self._make_model(t.weights, step), t.held_out) for t in searched]
        return Found.join([t.found for t in searched]), Found.join(after)

    def _make_model(self, weights: Mapping[str, Tensor], step: float) -> PromptableModel:
        """Make a model a share of the way to some weights, to be measured."""
        return self._parent.make_model(self._parent.between(weights, step), "learned")

    def _find(self, model: PromptableModel, held_out: tuple[ObjectKey, ...]) -> Found | None:
        """Find some held-out objects without a prompt, if there are enough to tell anything."""
        if len(held_out) < FEWEST_HELD_OUT:
            return None
        check = partial(self._check, "finding objects")
        return measure_found(model, self._examples, held_out[:MOST_MEASURED], check)

    def _try(self, held_out: tuple[ObjectKey, ...], seconds: float) -> _Trial:
        """Learn without some objects, and measure them before and after."""
        start = self._clock()
        planes = self._examples.only(held_out[:MOST_MEASURED])
        before = self._measure(self._parent.model, planes, "measuring before")
        cost = (1 + len(STEPS)) * (self._clock() - start)
        start = self._clock()
        found = self._find(self._parent.model, held_out)
        cost += 2 * (self._clock() - start)
        weights = self._learn(held_out, max(seconds - cost, (1 - MEASURED_SHARE) * seconds))
        after = {
            step: self._measure(self._make_model(weights, step), planes, "measuring after")
            for step in STEPS
        }
        return _Trial(held_out, weights, before, after, found)

    def _measure(
        self, model: PromptableModel, planes: Sequence[LabelledImage], phase: str
    ) -> Figures:
        return measure(model, planes, lambda: self._check(phase), self._embed)

    def _learn(self, held_out: tuple[ObjectKey, ...], seconds: float) -> dict[str, Tensor]:
        """Learn from all objects but the held-out ones, and watch the loss of these."""
        network = self._parent.make_network()
        own, seen = self._examples.without(held_out), self._examples.only(held_out)
        if self._sees_whole_planes:
            model = self._parent.model
            sources = [PlaneSource(model, planes, self._embed) for planes in (own, seen)]
            learner = Learner(network, self._settings, *sources)
        else:
            learner = self._make_learner_of_crops(network, own, seen)
        schedule = Schedule(seconds, self._clock, self._settings.max_steps)
        return learner.run(schedule, self._report)

    def _make_learner_of_crops(
        self, network: Sam, own: Sequence[LabelledImage], seen: Sequence[LabelledImage]
    ) -> Learner:
        """Learn from new crops at each step, or from views that are encoded once."""
        share, model = self._settings.replay_share, self._parent.model
        source: Source
        source = crops = CropSource(network, make_sampler(own), self._replay, share)
        watched = CropSource(network, make_sampler(seen), None, 0.0)
        if not self._parent.trains_encoder:
            rng = np.random.default_rng([self._settings.seed, len(own)])
            count = sum(len({*np.unique(p.labels)} - p.held_out - {0}) for p in own)
            crops = replace(crops, network=model.sam)
            source = ViewSource(crops, count, rng, lambda: self._check("encoding"))
            watched = replace(watched, network=model.sam)
        return Learner(network, self._settings, source, watched)

    def _check(self, phase: str) -> None:
        """Report, so that a cancellation is noticed."""
        left = max(0.0, 60 * self._settings.minutes - self._elapsed)
        self._report(LearningState(phase, 0, left - self._later))

    def _report(self, state: LearningState) -> None:
        """Report progress. The time left is longer if the machine has other work to do."""
        waited = (time.monotonic() - self._wall_start) / max(self._elapsed, 1e-9)
        left = (state.seconds_left + self._later) * min(max(waited, 1.0), LONGEST_WAIT)
        self._progress(replace(state, seconds_left=left))


def _join(figures: Iterable[Figures]) -> Figures:
    """Figures of all objects together."""
    return Figures(tuple(each for one in figures for each in one.objects))


def choose_step(before: Figures, after: Mapping[float, Figures]) -> float:
    """Choose the step whose figures are best, or 0 if none is better than before.

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
