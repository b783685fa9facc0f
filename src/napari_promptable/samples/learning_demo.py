"""The demo of learning: label five objects of a bundled image, and see what they were worth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.evaluation.evaluate import Protocol, score_objects
from napari_promptable.files.images import read_image
from napari_promptable.files.label_images import write_labels
from napari_promptable.instances.automatic import find_objects
from napari_promptable.learning.learn import learn
from napari_promptable.learning.learner import LearningState
from napari_promptable.learning.settings import LearningSettings
from napari_promptable.predict.predictor import PromptableModel, encode_image
from napari_promptable.samples.data import SAMPLES, sample_labels, sample_path

SAMPLE = "axons"
LABELLED, TESTED = 5, 24  # objects to learn from, and others to measure
MINUTES = 1.5
_LEAST_AREA = 100  # pixels, of an object that a person would choose
_SEED = 3  # of the choice of objects
_ROWS = ("one click", "+ 1 correction", "exact box", "all at once, SA50")

Image = npt.NDArray[np.generic]
Labels = npt.NDArray[np.integer[Any]]


def run_learning_demo(
    model: PromptableModel,
    folder: Path,
    say: Callable[[str], None],
    settings: LearningSettings | None = None,
    progress: Callable[[LearningState], None] | None = None,
) -> None:
    """Learn from five axons, and compare answers about others before and after.

    Parameters
    ----------
    model : PromptableModel
        The model to start from.
    folder : Path
        Where ``found.tif`` with the axons found by the learned model goes; created if missing.
    say : callable
        Called with each line of the report.
    settings : LearningSettings, optional
        By default one and a half minutes.
    progress : callable, optional
        As in `learn`.
    """
    image, truth = read_image(sample_path(SAMPLE)), sample_labels(SAMPLE)
    labelled, tested = choose_labels(truth)
    say(f"{SAMPLES[SAMPLE][0]}: {model.name} learns from {LABELLED} of {truth.max()} objects")
    learned = learn(
        model,
        [(image, labelled)],
        settings or LearningSettings(minutes=MINUTES),
        progress,
        source=SAMPLE,
    )
    models = (model, learned.model)
    found = [find_objects(each, image).new_labels for each in models]
    before, after = (
        (*_measure(each, image, tested), accuracy(labels, truth))
        for each, labels in zip(models, found, strict=True)
    )
    say(f"{TESTED} other objects{'before':>18}{'after':>10}")
    for title, first, second in zip(_ROWS, before, after, strict=True):
        say(f"{title:<18}{first:>16.2f}{second:>10.2f}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "found.tif"
    write_labels(path, found[-1])
    say(f"{learned.seconds:.0f} s of learning; all objects found: {path}")


def choose_labels(truth: Labels) -> tuple[Labels, Labels]:
    """Choose the objects to learn from and the others to measure, always the same ones."""
    areas = np.bincount(truth.ravel())
    areas[0] = 0
    ids = np.random.default_rng(_SEED).permutation(np.flatnonzero(areas >= _LEAST_AREA))
    labelled, tested = (
        np.where(np.isin(truth, chosen), truth, 0)
        for chosen in (ids[:LABELLED], ids[LABELLED : LABELLED + TESTED])
    )
    return labelled, tested


def _measure(model: PromptableModel, image: Image, tested: Labels) -> tuple[float, ...]:
    """Mean IoU of clicks, corrections and boxes."""
    embedding = encode_image(model, image)
    clicks = [
        each.ious for each in score_objects(model, embedding, tested, Protocol(corrections=1))
    ]
    boxes = [each.ious[0] for each in score_objects(model, embedding, tested, Protocol("box"))]
    return (*np.mean(clicks, axis=0), float(np.mean(boxes)))


def accuracy(found: Labels, truth: Labels) -> float:
    """SA50, TP / (TP + FP + FN). Pairs with an IoU above 0.5 are unique."""
    shared = np.zeros((found.max() + 1, truth.max() + 1))
    np.add.at(shared, (found.ravel(), truth.ravel()), 1)
    union = shared.sum(axis=1)[1:, None] + shared.sum(axis=0)[None, 1:] - shared[1:, 1:]
    hits = np.count_nonzero(shared[1:, 1:] > 0.5 * union)
    return float(hits / max(sum(union.shape) - hits, 1))
