"""Volumes: `propagate` with SAM 2.1 gives the masks of the reference's video predictor."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from napari_promptable.models.cpu.prepare import prepare_for_inference
from napari_promptable.predict.predictor import PromptableModel, predict_masks
from napari_promptable.prompts import PromptSet
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.propagation.volume import PropagationResult, propagate
from napari_promptable.transforms import to_rgb8
from tests.parity.test_sam2_memory import Stack

LENGTH, ANCHOR, LAST_ANCHOR = 9, 3, 7
PIXEL_TOLERANCE = 1e-3  # share of pixels
NEVER_STOPPING: dict[str, Any] = {
    "lost_iou": 0,
    "min_predicted_iou": 0,
    "min_area": 0,
    "max_area": float("inf"),
    "min_likeness": 0,
}
CLICK, BOX = PromptSet([[120, 100]]), PromptSet(box_yxyx=[60, 40, 150, 180])


class Volume:
    """A volume for both implementations."""

    def __init__(self, pair: Any, planes: np.ndarray) -> None:
        self.planes = planes
        self.stack = Stack(pair, [to_rgb8(plane) for plane in planes])
        sam = prepare_for_inference(copy.deepcopy(pair.ours))
        self.model = PromptableModel("hiera_tiny", "hiera_tiny", "test", sam)

    def propagate(self, prompts: dict[int, PromptSet], direction: str) -> PropagationResult:
        settings = PropagationSettings(direction=direction, **NEVER_STOPPING)
        return propagate(self.model, self.planes, prompts, settings)

    def propagate_reference(
        self, prompts: dict[int, PromptSet], direction: str
    ) -> dict[int, np.ndarray]:
        """Masks by slice; the prompts' masks are given to the reference as they are."""
        run = self.stack.start_reference()
        for position, prompt in prompts.items():
            embedding = self.model.encode(self.planes[position])
            prediction = predict_masks(self.model, embedding, prompt, None)
            run.show(position, torch.from_numpy(prediction.mask(prediction.default)))
        is_backward = direction == "backward"
        start = max(prompts) if is_backward else min(prompts)
        answers = run.predictor.propagate_in_video(run.state, start, reverse=is_backward)
        return {frame: (logits[0, 0] > 0).numpy() for frame, _, logits in answers}


@pytest.fixture(scope="module")
def volume(make_sam2_pair: Callable, make_image: Callable) -> Volume:
    """Nine grey planes that change slowly."""
    first, last = (make_image(256, 256, seed)[..., 0].astype(float) for seed in (0, 1))
    shares = np.linspace(0, 1, LENGTH)[:, None, None]
    planes = ((1 - shares) * first + shares * last).astype(np.uint8)
    return Volume(make_sam2_pair("hiera_tiny"), planes)


@pytest.mark.parametrize(
    ("anchors", "direction", "compared"),
    [
        ({0: CLICK}, "forward", range(LENGTH)),
        ({LENGTH - 1: BOX}, "backward", range(LENGTH)),
        ({ANCHOR: BOX}, "forward", range(ANCHOR, LENGTH)),
        ({ANCHOR: CLICK, LAST_ANCHOR: BOX}, "forward", range(ANCHOR, LAST_ANCHOR + 1)),
        ({ANCHOR: CLICK, LAST_ANCHOR: BOX}, "backward", range(ANCHOR, LAST_ANCHOR + 1)),
    ],
    ids=["forward", "backward", "from the middle", "between, forward", "between, backward"],
)
def test_masks_are_the_references(
    anchors: dict[int, PromptSet], direction: str, compared: range, volume: Volume
) -> None:
    found = volume.propagate(anchors, direction).labels > 0
    expected = volume.propagate_reference(anchors, direction)
    for position in set(compared) - set(anchors):  # there, ours keeps every pixel as it was
        assert expected[position].any()
        difference = np.mean(found[position] != expected[position])
        assert difference <= PIXEL_TOLERANCE, position
    assert any(expected[position].mean() < 0.9 for position in compared)


def test_several_objects_are_carried_as_one_by_one(volume: Volume) -> None:
    prompts = {4: {2: CLICK}, 6: {2: BOX}}
    settings = PropagationSettings(first=2, last=5, **NEVER_STOPPING)
    together = propagate(volume.model, volume.planes, prompts, settings)
    for object_id, at in prompts.items():
        alone = propagate(volume.model, volume.planes, {object_id: at}, settings)
        np.testing.assert_allclose(
            together.confidence[object_id], alone.confidence[object_id], rtol=1e-3
        )


def test_prompts_can_be_asked_for_instead(volume: Volume) -> None:
    settings = PropagationSettings(step="prompts", first=3, last=4, **NEVER_STOPPING)
    by_prompts = propagate(volume.model, volume.planes, {3: BOX}, settings)
    by_memory = volume.propagate({3: BOX}, "forward")
    assert np.array_equal(by_prompts.labels[3], by_memory.labels[3])
    assert not np.array_equal(by_prompts.labels[4], by_memory.labels[4])
