"""How an object is carried from slice to slice: every rule that a user can see and change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from operator import index as as_integer
from typing import Any

from napari_promptable.errors import PromptError


class Direction(StrEnum):
    """Where to go from a prompted slice."""

    BOTH = "both"  #: up and down
    FORWARD = "forward"  #: towards higher slices
    BACKWARD = "backward"  #: towards lower slices


class StepPrompt(StrEnum):
    """What of the previous slice's mask is asked about on the next slice."""

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
    step_prompt : StepPrompt or str
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

    first: int | None = None
    last: int | None = None
    direction: Direction | str = Direction.BOTH
    step_prompt: StepPrompt | str = StepPrompt.BOX
    box_margin: float = -0.03
    split: SplitPolicy | str = SplitPolicy.ALL
    lost_iou: float = 0.3
    min_predicted_iou: float = 0.5
    min_area: float = 0.25
    max_area: float = 10.0
    min_likeness: float = 0.5
    max_overlap: float = 1.0

    def __post_init__(self) -> None:
        """Convert words and refuse what is not allowed."""
        for name, kind in _WORDS.items():
            object.__setattr__(self, name, _as_word(name, getattr(self, name), kind))
        for name in ("first", "last"):
            object.__setattr__(self, name, _as_slice(name, getattr(self, name)))
        if self.first is not None and self.last is not None and self.first > self.last:
            raise PromptError(
                f"the range begins at slice {self.first} and ends at {self.last}; the first "
                "slice must not come after the last"
            )
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not low <= value <= high:
                raise PromptError(f"{name} must be a number of {low} to {high}, not {value!r}")

    def to_dict(self) -> dict[str, Any]:
        """Make plain data for JSON; infinity becomes None."""
        values = {
            name: str(value) if isinstance(value, StrEnum) else value
            for name, value in asdict(self).items()
        }
        return values | {"max_area": None if self.max_area == _NO_LIMIT else self.max_area}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PropagationSettings:
        """Undo `to_dict`; what is missing has its default.

        Raises
        ------
        PromptError
            If a key is unknown or a value is not allowed.
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
        given = dict(values)
        if "max_area" in given and given["max_area"] is None:
            given["max_area"] = _NO_LIMIT
        return cls(**given)


_NO_LIMIT = float("inf")
_WORDS = {"direction": Direction, "step_prompt": StepPrompt, "split": SplitPolicy}
_LIMITS = {
    "box_margin": (-0.25, 1.0),
    "lost_iou": (0.0, 1.0),
    "min_predicted_iou": (0.0, 1.0),
    "min_area": (0.0, 1.0),
    "max_area": (1.0, _NO_LIMIT),
    "min_likeness": (0.0, 1.0),
    "max_overlap": (0.0, 1.0),
}


def _as_word(name: str, value: object, kind: type[StrEnum]) -> StrEnum:
    """Find a word among those allowed; PromptError otherwise."""
    words = [str(word) for word in kind]
    if value not in words:
        raise PromptError(f"{name} must be one of {', '.join(words)}, not {value!r}")
    return kind(value)


def _as_slice(name: str, value: object) -> int | None:
    """Check and convert a slice number; PromptError otherwise."""
    if value is None:
        return None
    try:
        number = as_integer(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if number < 0:
        raise PromptError(f"{name} must be a slice number, 0 or more, or None, not {value!r}")
    return number


DEFAULT_SETTINGS = PropagationSettings()
