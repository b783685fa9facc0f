"""How to learn from labelled objects."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from napari_promptable.validation import PlainSettings, raises_prompt_errors


class TrainedPart(StrEnum):
    """Which part of the network learns."""

    AUTO = "auto"  #: everything, or the decoder of a network that sees whole planes
    ALL = "all"  #: encoder, decoder and the maps of all objects
    DECODER = "decoder"  #: decoder and maps, on embeddings that are computed once


@raises_prompt_errors
@dataclass(frozen=True)
class LearningSettings(PlainSettings):
    """Time and method of learning.

    The defaults follow from a few short runs; see "Learning from your objects" in the
    documentation.

    Attributes
    ----------
    minutes : float, default 2
        Time after which learning stops, figures before and after included; it counts the work
        of the process, see `WorkClock`.
    part : TrainedPart or str, default "auto"
        Which part of the network learns: "auto", "all" or "decoder".
    is_complete : bool, default False
        Whether every object of the images is labelled. If not, pixels without a label are
        unknown, not background.
    learning_rate : float, default 5e-4
        Rate of the decoder.
    encoder_rate : float, default 0.3
        Rate of the encoder, as a share of the decoder's.
    replay_share : float, 0 to 0.9, default 0.3
        Share of the crops that come from images the bundled model was trained on, so that it
        keeps what it knew.
    max_steps : int or None, default None
        Number of steps after which learning stops, however much time is left.
    seed : int, default 0
        Seed of the choice of crops, prompts and held-out objects.

    Raises
    ------
    PromptError
        If a value is not allowed.

    Examples
    --------
    >>> LearningSettings(minutes=0.5).part
    <TrainedPart.AUTO: 'auto'>
    """

    title: ClassVar[str] = "learning settings"

    minutes: Annotated[float, Field(gt=0, le=600)] = 2.0
    part: TrainedPart = TrainedPart.AUTO
    is_complete: bool = False
    learning_rate: Annotated[float, Field(gt=0, le=0.1)] = 5e-4
    encoder_rate: Annotated[float, Field(ge=0, le=10)] = 0.3
    replay_share: Annotated[float, Field(ge=0, le=0.9)] = 0.3
    max_steps: Annotated[int | None, Field(ge=1)] = None
    seed: Annotated[int, Field(ge=0)] = 0
