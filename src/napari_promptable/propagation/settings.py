"""Settings of a propagation: every rule that a user can see and change."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from napari_promptable.validation import (
    MaxArea,
    Number,
    PlainSettings,
    Share,
    raises_prompt_errors,
)


class Direction(StrEnum):
    """In which direction to propagate from a prompted slice."""

    BOTH = "both"  #: up and down
    FORWARD = "forward"  #: towards higher slices
    BACKWARD = "backward"  #: towards lower slices


class StepKind(StrEnum):
    """How to find an object on the next slice."""

    AUTO = "auto"  #: by memory if the model has one, as SAM 2.1 does, otherwise by prompts
    PROMPTS = "prompts"  #: the previous mask becomes prompts
    MEMORY = "memory"  #: the model remembers the object on the slices that it has passed


class StepPrompt(StrEnum):
    """How the previous slice's mask becomes a prompt for the next slice."""

    AUTO = "auto"  #: its low-res logits if the model is better at that, else its box
    BOX = "box"  #: its bounding box
    BOX_AND_POINT = "box and point"  #: and its innermost point
    BOX_AND_LOGITS = "box and logits"  #: and its low-res logits
    LOGITS = "logits"  #: low-res logits alone
    POINT = "point"  #: the innermost point alone


class SplitPolicy(StrEnum):
    """Which parts to follow when an object splits."""

    LARGEST = "largest"  #: the largest part
    OVERLAPPING = "overlapping"  #: the part that overlaps the previous mask most
    ALL = "all"  #: all parts, each with prompts of its own


class StopReason(StrEnum):
    """Why a propagation ended."""

    EMPTY = "empty"  #: the model found nothing
    LOST = "lost"  #: the mask hardly overlaps the one before it
    DRIFTED = "drifted"  #: area or colour differ too much from the first mask
    UNSURE = "unsure"  #: the predicted IoU is far lower than for the first mask
    TOUCHING = "touching"  #: a more confident object covers the mask


SliceNumber = Annotated[int | None, Field(ge=0)]


@raises_prompt_errors
@dataclass(frozen=True)
class PropagationSettings(PlainSettings):
    """Range, prompts and stop rules of a propagation.

    The defaults were chosen by measurement; see "Through a volume" in the documentation.

    Attributes
    ----------
    first, last : int or None
        First and last slice to fill; None is the end of the volume. Prompts outside the range
        are ignored.
    direction : Direction or str, default "both"
        Direction from a prompted slice: "both", "forward" or "backward".
    step : StepKind or str, default "auto"
        How to find an object on the next slice: "auto", "prompts" or "memory".
    step_prompt : StepPrompt or str, default "auto"
        Prompts for the next slice, if it is found by prompts.
    box_margin : float, -0.25 to 1
        How far each side of a box lies outside the expected mask, as a share of the mask's
        height or width; inside if negative.
    split : SplitPolicy or str
        Which parts to follow when an object splits: "largest", "overlapping" or "all".
    lost_iou : float, 0 to 1
        Minimum IoU of a mask with the one before it; 0 never stops.
    min_predicted_iou : float, 0 to 1
        Minimum predicted IoU, relative to the first mask; 0 never stops.
    min_area, max_area : float
        Minimum and maximum area, relative to the first mask; 0 and infinity never stop.
    min_likeness : float, 0 to 1
        Minimum similarity in colour: 1 is the colour of the first mask, 0 the colour of its
        surroundings; 0 hardly ever stops. Applies if colour tells the first mask from its
        surroundings and the model keeps the image, as the bundled one does.
    max_overlap : float, 0 to 1
        Share of a mask that more confident objects may cover; 1 never stops, 0 stops at the
        first common pixel. Common pixels go to the more confident object.

    Raises
    ------
    PromptError
        If a value is not allowed.

    Examples
    --------
    >>> PropagationSettings(first=3, direction="forward").to_dict()["direction"]
    'forward'
    """

    title: ClassVar[str] = "propagation settings"

    first: SliceNumber = None
    last: SliceNumber = None
    direction: Annotated[
        Direction,
        Field(
            title="Direction",
            description="Where to go from a prompted slice",
            json_schema_extra={"choices": ["⟵ both ⟶", "forward ⟶", "⟵ backward"]},
        ),
    ] = Direction.BOTH
    step: StepKind = StepKind.AUTO
    step_prompt: StepPrompt = StepPrompt.AUTO
    box_margin: Annotated[Number, Field(ge=-0.25, le=1)] = -0.03
    split: Annotated[
        SplitPolicy,
        Field(
            title="If it splits, follow",
            description="Which part to follow when the object splits",
            json_schema_extra={
                "choices": ["the largest part", "the closest part", "all parts"]
            },
        ),
    ] = SplitPolicy.ALL
    lost_iou: Annotated[
        Share,
        Field(
            title="Min. overlap",
            description="Stop where the IoU with the previous slice's mask is lower",
        ),
    ] = 0.3
    min_predicted_iou: Annotated[
        Share,
        Field(
            title="Min. confidence",
            description="Stop where the predicted IoU is lower, as a share of the first mask's",
        ),
    ] = 0.5
    min_area: Annotated[
        Share,
        Field(
            title="Min. area",
            description="Stop where the area is smaller, as a multiple of the first mask's",
        ),
    ] = 0.25
    max_area: Annotated[
        MaxArea,
        Field(
            title="Max. area",
            description="Stop where the area is larger, as a multiple of the first mask's",
        ),
    ] = 10.0
    min_likeness: Annotated[
        Share,
        Field(
            title="Min. similarity",
            description="Stop where the colour is less like the first mask's (1) and more like "
            "that of its surroundings (0)",
        ),
    ] = 0.5
    max_overlap: Annotated[
        Share,
        Field(
            title="Max. covered",
            description="Stop where other objects cover a larger share of the mask",
        ),
    ] = 1.0

    @model_validator(mode="after")
    def _check_range(self) -> PropagationSettings:
        if self.first is not None and self.last is not None and self.first > self.last:
            raise ValueError(
                f"the range begins at slice {self.first} and ends at {self.last}; the first "
                "slice must not come after the last"
            )
        return self


DEFAULT_SETTINGS = PropagationSettings()
