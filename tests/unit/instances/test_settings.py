import json
import math

import pytest

from napari_promptable.errors import PromptError
from napari_promptable.instances.settings import AutomaticSettings, Seeds


def test_settings_survive_json() -> None:
    settings = AutomaticSettings(seeds="tiny", min_area=40.0, points_per_side=16)
    plain = json.loads(json.dumps(settings.to_dict()))
    assert plain["max_area"] is None
    assert AutomaticSettings.from_dict(plain) == settings
    assert AutomaticSettings.from_dict({}).max_area == math.inf


def test_a_grid_has_thresholds_of_its_own() -> None:
    settings = AutomaticSettings.for_grid(min_area=3.0)
    assert settings.seeds is Seeds.GRID
    assert (settings.min_confidence, settings.min_stability) == (0.88, 0.95)
    assert settings.min_area == 3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"min_confidence": 1.2}, "min_confidence must be 1.0 or less, not 1.2"),
        ({"points_per_side": 0}, "points_per_side must be 1 or more, not 0"),
        ({"seeds": "magic"}, "seeds"),
    ],
)
def test_wrong_values_are_refused(values, words) -> None:
    with pytest.raises(PromptError) as error:
        AutomaticSettings(**values)
    assert words in str(error.value)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(PromptError, match="'sides'; known are seeds"):
        AutomaticSettings.from_dict({"sides": 3})
