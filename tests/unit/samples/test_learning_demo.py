"""The demo of learning, with a single step and few objects instead of its minutes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_promptable.files.images import read_image
from napari_promptable.learning.settings import LearningSettings
from napari_promptable.samples import learning_demo
from napari_promptable.samples.data import sample_labels
from napari_promptable.samples.learning_demo import (
    LABELLED,
    SAMPLE,
    TESTED,
    accuracy,
    choose_labels,
    run_learning_demo,
)


def _corner_of(read: Callable[[Any], np.ndarray]) -> Callable[[Any], np.ndarray]:
    """Read only the first rows and columns of a sample."""
    return lambda name: read(name)[:200, :200]


def test_objects_are_learned_from_or_measured() -> None:
    labelled, tested = choose_labels(sample_labels(SAMPLE))
    assert len(np.unique(labelled)) - 1 == LABELLED
    assert len(np.unique(tested)) - 1 == TESTED
    assert not (labelled.astype(bool) & tested.astype(bool)).any()


def test_accuracy_counts_misses_and_false_objects() -> None:
    truth = np.zeros((10, 30), int)
    truth[:, :10], truth[:, 20:] = 1, 2
    assert accuracy(truth, truth) == 1
    found = np.zeros_like(truth)
    found[:, :9], found[:, 12:18] = 1, 2
    assert accuracy(found, truth) == pytest.approx(1 / 3)
    assert accuracy(np.zeros_like(truth), truth) == 0


@pytest.mark.usefixtures("quick_learning")
def test_the_demo_prints_figures_before_and_after(tiny_model, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(learning_demo, "TESTED", 6)
    for read in (read_image, sample_labels):
        monkeypatch.setattr(learning_demo, read.__name__, _corner_of(read))
    said: list[str] = []
    settings = LearningSettings(minutes=600, max_steps=1)
    run_learning_demo(tiny_model, tmp_path, said.append, settings)
    text = "\n".join(said)
    for word in ("before", "after", "one click", "+ 1 correction", "exact box", "SA50"):
        assert word in text
    assert (tmp_path / "found.tif").is_file()
