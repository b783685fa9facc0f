"""At which zoom a click is answered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from napari_promptable.predict import answers
from napari_promptable.predict.answers import answer_at_best_zoom
from napari_promptable.predict.decoding import FrameMasks
from napari_promptable.predict.frames import FramePrompts, TileFrame
from napari_promptable.predict.predictor import PromptableModel, encode_image
from napari_promptable.prompts import PromptSet

CLICK = PromptSet([[64, 64]])
SMALL, FITTING = 12, 64  # input pixels along the side of an answer
Answer = Callable[[dict[int, float], int], list[int]]


@pytest.fixture
def embedding(tiny_model: PromptableModel):
    rows, columns = np.indices((128, 128))
    image = 40 + 160 * (np.hypot(rows - 64, columns - 64) < 20)
    return encode_image(tiny_model, image.astype(np.uint8))


@pytest.fixture
def answered_levels(tiny_model, embedding, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Function that answers a click with squares.

    It is given the predicted IoU by steps from the first level, and the side at that level. It
    returns the steps that were asked for, and last the one that answered.
    """

    def answer(predicted_iou: dict[int, float], side: int) -> list[int]:
        asked: list[int] = []

        def step_of(frame: object) -> int:
            assert isinstance(frame, TileFrame)
            asked.append(frame.tile.level)
            return asked[-1] - asked[0]

        def decode(_sam: object, prompts: list[FramePrompts]) -> list[FrameMasks]:
            return [draw(each, step_of(each.frame)) for each in prompts]

        def draw(prompts: FramePrompts, step: int) -> FrameMasks:
            x, y = np.rint(prompts.points_xy[0] / 4).astype(int) - 32
            half = round(side * 2.0**step / 8)
            logits = torch.full((4, 64, 64), -5.0)
            logits[:, max(y - half, 0) : y + half, max(x - half, 0) : x + half] = 5.0
            return FrameMasks(prompts, logits, torch.full((4,), predicted_iou[step]))

        monkeypatch.setattr(answers, "decode_all", decode)
        [found] = answer_at_best_zoom(tiny_model.sam, embedding, [CLICK], [(0,)])
        frame = found.prompts.frame
        assert isinstance(frame, TileFrame)
        return [level - asked[0] for level in (*asked, frame.tile.level)]

    return answer


@pytest.mark.parametrize(
    ("predicted_iou", "expected"),
    [
        ({0: 0.45, 2: 0.55}, [0, 2, 2]),
        ({0: 0.45, 2: 0.49}, [0, 2, 0]),
        ({0: 0.55}, [0, 0]),
        ({0: 0.3, -1: 0.4, 1: 0.4, 2: 0.4}, [0, -1, 1, 2, 2]),
    ],
    ids=["is surer there", "is not surer there", "is sure", "after the levels beside"],
)
def test_the_zoom_follows_the_size_of_an_unsure_answer(
    answered_levels: Answer, predicted_iou: dict[int, float], expected: list[int]
) -> None:
    assert answered_levels(predicted_iou, SMALL) == expected


def test_the_zoom_stays_where_it_suits_the_answer(answered_levels: Answer) -> None:
    assert answered_levels({0: 0.45}, FITTING) == [0, 0]
