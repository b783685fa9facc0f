from collections.abc import Sequence

import numpy as np

from napari_promptable.predict.prediction import Prediction


def test_best_is_the_highest_predicted_iou() -> None:
    masks, logits = np.zeros((3, 4, 4), bool), np.zeros((3, 4, 4), np.float32)
    prediction = Prediction(masks, np.array([0.2, 0.9, 0.5], np.float32), logits)
    assert prediction.best == 1
    assert prediction.default == 0


def test_masks_are_drawn_when_they_are_asked_for() -> None:
    masks = np.arange(3 * 4 * 4).reshape(3, 4, 4) % 3 == 0
    drawn: list[list[int]] = []

    def draw(candidates: Sequence[int]) -> np.ndarray:
        drawn.append(list(candidates))
        return masks[list(candidates)]

    prediction = Prediction(draw, np.zeros(3, np.float32), np.zeros((3, 4, 4), np.float32))
    assert len(prediction) == 3
    assert drawn == []
    for _ in range(2):
        assert np.array_equal(prediction.mask(1), masks[1])
    assert drawn == [[1]]
    for _ in range(2):
        assert np.array_equal(prediction.masks, masks)
    assert drawn == [[1], [0, 1, 2]]
    assert np.shares_memory(prediction.mask(1), prediction.masks)


def test_logits_are_drawn_when_they_are_asked_for() -> None:
    logits, calls = np.ones((3, 2, 2), np.float32), []

    def draw() -> np.ndarray:
        calls.append(1)
        return logits

    prediction = Prediction(np.zeros((3, 4, 4), bool), np.zeros(3, np.float32), draw)
    assert calls == []
    assert all(prediction.low_res_logits is logits for _ in range(2))
    assert calls == [1]
