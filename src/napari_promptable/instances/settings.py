"""Settings of automatic segmentation: every rule that a user can see and change."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from napari_promptable.validation import (
    NO_LIMIT,
    MaxArea,
    Number,
    PlainSettings,
    Share,
    raises_prompt_errors,
)

_OF_SAM = {"min_confidence": 0.88, "min_stability": 0.95, "max_overlap": 0.7}


class Seeds(StrEnum):
    """Where the prompts come from that the decoder answers."""

    AUTO = "auto"  #: the model's own instance maps if it has them, otherwise a grid
    MAPS = "maps"  #: the model's own instance maps
    TINY = "tiny"  #: the instance maps of the bundled model, whichever model answers
    GRID = "grid"  #: a grid of clicks, as in SAM


@raises_prompt_errors
@dataclass(frozen=True)
class AutomaticSettings(PlainSettings):
    """Seeds and thresholds of automatic segmentation.

    Attributes
    ----------
    seeds : Seeds or str, default "auto"
        Where the prompts come from: "auto", "maps", "tiny" or "grid".
    min_confidence : float, 0 to 1
        Minimum confidence of an object: its predicted IoU, times its agreement with the
        instance maps if the seeds come from maps.
    min_stability : float, 0 to 1
        Minimum IoU of an object's masks at a higher and at a lower threshold.
    max_overlap : float, 0 to 1
        Maximum IoU of an object with a more confident one; 1 keeps both.
    max_containment : float, 0 to 1
        Maximum share of the smaller of two objects that they have in common.
    min_area, max_area : float
        Minimum and maximum area of an object in pixels.
    points_per_side : int, 1 to 256
        Clicks along the longer side of the grid.

    Raises
    ------
    PromptError
        If a value is not allowed.

    Notes
    -----
    "Segment Anything" (arXiv 2304.02643), appendix B, takes 32 points per side, a predicted IoU
    of 0.88 and a stability of 0.95; see `AutomaticSettings.for_grid`. The other defaults were
    chosen on validation images, for seeds from instance maps.

    Examples
    --------
    >>> AutomaticSettings(min_confidence=0.5).to_dict()["seeds"]
    'auto'
    """

    title: ClassVar[str] = "automatic settings"

    seeds: Annotated[
        Seeds,
        Field(
            title="By",
            description="Where the prompts come from",
            json_schema_extra={
                "choices": [
                    "best for the model",
                    "its own maps",
                    "maps of tiny",
                    "grid of clicks",
                ]
            },
        ),
    ] = Seeds.AUTO
    min_confidence: Annotated[
        Share,
        Field(title="Min. confidence", description="Leave out objects that are less certain"),
    ] = 0.6
    min_stability: Annotated[
        Share,
        Field(
            title="Min. stability",
            description="Leave out objects whose outline depends more on the threshold",
        ),
    ] = 0.0
    max_overlap: Annotated[
        Share,
        Field(
            title="Max. overlap",
            description="Leave out objects whose IoU with a more certain one is higher",
        ),
    ] = 0.5
    max_containment: Annotated[
        Share,
        Field(
            title="Max. containment",
            description="Leave out objects that lie with a larger share in another",
        ),
    ] = 0.7
    min_area: Annotated[
        Annotated[Number, Field(ge=1)],
        Field(
            title="Min. area",
            description="Leave out smaller objects, in pixels",
            json_schema_extra={"largest": 1e6},
        ),
    ] = 25.0
    max_area: Annotated[
        MaxArea,
        Field(title="Max. area", description="Leave out larger objects, in pixels"),
    ] = NO_LIMIT
    points_per_side: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=256)],
        Field(title="Clicks per side", description="Of the grid, along the longer side"),
    ] = 32

    @classmethod
    def for_grid(cls, **changes: Any) -> AutomaticSettings:
        """Return SAM's own thresholds for a grid of clicks, with some changes."""
        return cls(**{"seeds": Seeds.GRID, **_OF_SAM, **changes})
