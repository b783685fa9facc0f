from dataclasses import dataclass, replace

import numpy as np
import pytest

from napari_promptable.errors import PromptError
from napari_promptable.predict.prediction import Prediction
from napari_promptable.prompts import PromptSet
from napari_promptable.propagation.memory_step import MemoryStep
from napari_promptable.propagation.prompt_step import PromptStep
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.propagation.volume import choose_step, propagate

LENGTH = 9


@dataclass(frozen=True)
class FakeTrail:
    """Where an object was prompted, how far it was carried, and what lies ahead."""

    steps: int = 0
    ahead: int | None = None

    def expect(self, distance: int, other: "FakeTrail") -> "FakeTrail":
        assert other.steps == 0
        return replace(self, ahead=distance)


@pytest.fixture
def memory_segmenter(fake_segmenter):
    """The fake segmenter with a memory that copies masks."""

    class MemorySegmenter(type(fake_segmenter)):
        has_memory = True

        def __init__(self) -> None:
            super().__init__()
            self.remembered: list[np.ndarray] = []
            self.followed: list[tuple[FakeTrail, int]] = []

        def remember(self, embedding, mask) -> FakeTrail:
            self.remembered.append(mask)
            return FakeTrail()

        def follow(self, embedding, trails, num_planes):
            self.followed += [(trail, num_planes) for trail in trails]
            mask = self.remembered[0]
            low_res = np.where(mask, 5, -5).astype(np.float32)
            prediction = Prediction(mask[None], np.array([0.9], np.float32), low_res[None])
            return [(prediction, replace(trail, steps=trail.steps + 1)) for trail in trails]

    return MemorySegmenter()


@pytest.fixture
def volume(disk_image: np.ndarray) -> np.ndarray:
    return np.stack([disk_image] * LENGTH)


CLICK = PromptSet([[30, 36]])


def test_the_step_is_chosen_by_the_model_and_the_settings(
    fake_segmenter, memory_segmenter
) -> None:
    def choose(model, kind: str) -> type:
        return type(choose_step(model, LENGTH, PropagationSettings(step=kind)))

    assert choose(memory_segmenter, "auto") is MemoryStep
    assert choose(memory_segmenter, "memory") is MemoryStep
    assert choose(memory_segmenter, "prompts") is PromptStep
    assert choose(fake_segmenter, "auto") is PromptStep
    with pytest.raises(PromptError, match=r"'memory' needs a model of SAM 2\.1"):
        choose(fake_segmenter, "memory")
    memory_segmenter.has_memory = False
    assert choose(memory_segmenter, "auto") is PromptStep


def test_memory_begins_with_the_accepted_mask_and_counts_steps(
    memory_segmenter, volume: np.ndarray
) -> None:
    result = propagate(memory_segmenter, volume, {4: CLICK})
    assert np.array_equal(memory_segmenter.remembered[0], result.labels[4] > 0)
    assert [trail.steps for trail, _ in memory_segmenter.followed] == [0, 1, 2, 3] * 2
    assert {num_planes for _, num_planes in memory_segmenter.followed} == {LENGTH}
    assert all(trail.ahead is None for trail, _ in memory_segmenter.followed)
    assert (result.labels.reshape(LENGTH, -1).any(axis=1)).all()


def test_between_two_prompted_slices_both_are_remembered(
    memory_segmenter, volume: np.ndarray
) -> None:
    settings = PropagationSettings(first=2, last=6)
    propagate(memory_segmenter, volume, {2: CLICK, 6: CLICK}, settings)
    trails = [trail for trail, _ in memory_segmenter.followed]
    assert [trail.ahead for trail in trails] == [4] * 6
    assert [trail.steps for trail in trails] == [0, 1, 2] * 2


@pytest.mark.parametrize(("split", "count"), [("largest", 1), ("all", 2)])
def test_parts_are_kept_as_the_settings_say(
    split: str, count: int, memory_segmenter, volume: np.ndarray
) -> None:
    step = MemoryStep(memory_segmenter, LENGTH, PropagationSettings(split=split))
    embedding = memory_segmenter.encode(volume[0])
    prediction = memory_segmenter.predict_many(embedding, [CLICK])[0]
    anchor = step.begin(embedding, prediction, 0)
    halves = anchor.mask.copy()
    halves[:, 35:37] = False
    memory_segmenter.remembered[0] = halves
    [found] = step.advance(embedding, [anchor])
    assert len(set(np.nonzero(np.diff(found.mask.any(axis=0).astype(int)))[0])) == 2 * count
