"""The demo of learning, with a single step and few objects instead of its minutes."""

import numpy as np
import pytest

from napari_promptable.learning import learn as learn_module
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


def test_the_demo_prints_figures_before_and_after(tiny_model, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(learn_module, "STEPS", (1.0,))
    monkeypatch.setattr(learning_demo, "TESTED", 6)
    said: list[str] = []
    settings = LearningSettings(minutes=600, max_steps=1)
    run_learning_demo(tiny_model, tmp_path, said.append, settings)
    text = "\n".join(said)
    for word in ("before", "after", "one click", "+ 1 correction", "exact box", "SA50"):
        assert word in text
    assert (tmp_path / "found.tif").is_file()
