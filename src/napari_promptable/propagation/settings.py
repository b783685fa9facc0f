"""How an object is carried from slice to slice: every rule that a user can see and change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from napari_promptable.errors import PromptError
from napari_promptable.validation import raises_prompt_errors

_NO_LIMIT = float("inf")  # None in JSON


class Direction(StrEnum):
    """Where to go from a prompted slice."""

    BOTH = "both"  #: up and down
    FORWARD = "forward"  #: towards higher slices
    BACKWARD = "backward"  #: towards lower slices


class StepPrompt(StrEnum):
    """What of the previous slice's mask is asked about on the next slice."""

    AUTO = "auto"  #: its low-res logits with models trained for it, else its bounding box
    BOX = "box"  #: its bounding box
    BOX_AND_POINT = "box and point"  #: and its innermost point
    BOX_AND_LOGITS = "box and logits"  #: and its low-res logits
    LOGITS = "logits"  #: low-res logits alone
    POINT = "point"  #: the innermost point alone


class SplitPolicy(StrEnum):
    """What becomes of an object that falls into several parts on a slice."""

    LARGEST = "largest"  #: it is the largest part
    OVERLAPPING = "overlapping"  #: it is the part that overlaps the previous mask most
    ALL = "all"  #: it is all parts, and each of them is followed


class StopReason(StrEnum):
    """Why an object is not followed further."""

    EMPTY = "empty"  #: the model found nothing
    LOST = "lost"  #: the mask hardly overlaps the one before it
    DRIFTED = "drifted"  #: area or colour are far from those of the first mask
    UNSURE = "unsure"  #: the predicted IoU is far below that of the first mask
    TOUCHING = "touching"  #: a more confident object covers the mask


Number = Annotated[float, Field(strict=True)]
Share = Annotated[Number, Field(ge=0, le=1)]
SliceNumber = Annotated[int | None, Field(ge=0)]
MaxArea = Annotated[
    Number,
    Field(ge=1),
    BeforeValidator(
        lambda v: _NO_LIMIT if v is None else v, json_schema_input_type=float | None
    ),
    PlainSerializer(lambda v: None if v == _NO_LIMIT else v),
]


@raises_prompt_errors
@dataclass(frozen=True)
class PropagationSettings:
    """Range, prompts and stop rules of a propagation.

    The defaults were chosen by measurement; see "Through a volume" in the documentation.

    Attributes
    ----------
    first, last : int or None
        The range: first and last slice that may be filled; None is the volume's end. Prompts
        outside of it are not used.
    direction : Direction or str, default "both"
        Where to go from a prompted slice: "both", "forward" or "backward".
    step_prompt : StepPrompt or str, default "auto"
        What is asked on the next slice.
    box_margin : float, -0.25 to 1
        By how much a box is larger than the expected mask, at each side, as a share of its
        height or width; smaller if negative.
    split : SplitPolicy or str
        What becomes of an object in several parts: "largest", "overlapping" or "all".
    lost_iou : float, 0 to 1
        Least IoU of a mask with the one before it; 0 never stops.
    min_predicted_iou : float, 0 to 1
        Least predicted IoU, as a share of that of the first mask; 0 never stops.
    min_area, max_area : float
        Least and largest area, as a multiple of that of the first mask; 0 and infinity never
        stop.
    min_likeness : float, 0 to 1
        How much the mask must look like the first one: 1 has its colour, 0 the colour of what
        is around the object; 0 stops hardly ever. Only where the first mask can be told from
        its surroundings, and with models that keep the image, as the bundled one does.
    max_overlap : float, 0 to 1
        Share of a mask that more confident objects may cover; 1 never stops, 0 stops at the
        first common pixel. Whatever is common goes to the more confident object.

    Raises
    ------
    PromptError
        If a value is not allowed.

    Examples
    --------
    >>> PropagationSettings(first=3, direction="forward").to_dict()["direction"]
    'forward'
    """

    first: SliceNumber = None
    last: SliceNumber = None
    direction: Direction = Direction.BOTH
    step_prompt: StepPrompt = StepPrompt.AUTO
    box_margin: Annotated[Number, Field(ge=-0.25, le=1)] = -0.03
    split: SplitPolicy = SplitPolicy.ALL
    lost_iou: Share = 0.3
    min_predicted_iou: Share = 0.5
    min_area: Share = 0.25
    max_area: MaxArea = 10.0
    min_likeness: Share = 0.5
    max_overlap: Share = 1.0

    @model_validator(mode="after")
    def _check_range(self) -> PropagationSettings:
        if self.first is not None and self.last is not None and self.first > self.last:
            raise ValueError(
                f"the range begins at slice {self.first} and ends at {self.last}; the first "
                "slice must not come after the last"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Make plain data for JSON; infinity becomes None."""
        values: dict[str, Any] = _PLAIN.dump_python(self, mode="json")
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PropagationSettings:
        """Undo `to_dict`; missing values get their defaults.

        Raises
        ------
        PromptError
            If a name is unknown or a value is not allowed.
        """
        if not isinstance(values, Mapping):
            raise PromptError(f"propagation settings must be names and values, not {values!r}")
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise PromptError(
                f"propagation settings hold {', '.join(map(repr, unknown))}; known are "
                f"{', '.join(known)}"
            )
        return cls(**values)


_PLAIN = TypeAdapter(PropagationSettings)

DEFAULT_SETTINGS = PropagationSettings()
