import json

import pytest

from napari_promptable.errors import PromptError
from napari_promptable.propagation.settings import (
    Direction,
    PropagationSettings,
    SplitPolicy,
    StepPrompt,
)


def test_settings_survive_json() -> None:
    settings = PropagationSettings(
        first=2,
        last=9,
        direction="backward",
        step_prompt=StepPrompt.LOGITS,
        split="all",
        max_area=float("inf"),
        max_overlap=0.25,
    )
    text = json.dumps(settings.to_dict(), allow_nan=False)
    assert PropagationSettings.from_dict(json.loads(text)) == settings
    assert settings.direction is Direction.BACKWARD
    assert settings.split is SplitPolicy.ALL
    assert PropagationSettings.from_dict({}) == PropagationSettings()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"direction": "sideways"}, "'both', 'forward' or 'backward', not 'sideways'"),
        ({"step_prompt": 3}, "step_prompt must be .*'box and point'"),
        ({"split": None}, "largest"),
        ({"first": -1}, "first must be 0 or more, not -1"),
        ({"last": 2.5}, "last must be a whole number, not 2.5"),
        ({"first": 5, "last": 4}, "begins at slice 5"),
        ({"lost_iou": 1.5}, "lost_iou must be 1.0 or less, not 1.5"),
        ({"min_predicted_iou": float("nan")}, "min_predicted_iou"),
        ({"max_area": 0.5}, "max_area"),
        ({"box_margin": "wide"}, "box_margin"),
        ({"max_overlap": True}, "max_overlap"),
        ({"spead": 1}, "'spead'; known are first"),
    ],
)
def test_wrong_settings_are_refused(values: dict, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        PropagationSettings.from_dict(values)


@pytest.mark.parametrize("values", [None, [1], "both"])
def test_settings_must_be_a_mapping(values: object) -> None:
    with pytest.raises(PromptError, match="names and values"):
        PropagationSettings.from_dict(values)  # type: ignore[arg-type]
