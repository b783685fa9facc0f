"""The content of a prompts.json as pydantic models, from which its JSON schema is made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

FORMAT, VERSIONS = "napari-promptable/prompts", (1, 2)
"""Version 2 adds strokes; without any, files are still written as version 1."""

Count = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[int, Field(strict=True, gt=0)]
Coordinate = Annotated[FiniteFloat, Field(strict=True)]
Position = tuple[Coordinate, Coordinate]
Box = tuple[Coordinate, Coordinate, Coordinate, Coordinate]


class _Part(BaseModel):
    """A JSON object that keeps unknown keys."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]

    @property
    def extra(self) -> dict[str, Any]:
        """Unknown keys, to be written again."""
        return dict(self.__pydantic_extra__)


class Point(_Part):
    """A click."""

    yx: Position = Field(description="[row, col] in image pixels")
    label: Literal[0, 1] = Field(description="1 inside the object, 0 outside")
    refines: Count | None = Field(
        None,
        description="candidate of the previous answer that it corrects; null: the offered one",
    )


class Stroke(_Part):
    """A line drawn by hand, of any length."""

    yx: list[Position] = Field(min_length=1, description="corners, [row, col] in image pixels")
    label: Literal[0, 1] = Field(description="1 inside the object, 0 outside")


class Mask(BaseModel):
    """An existing object as COCO's uncompressed run lengths, down the columns."""

    size: tuple[Positive, Positive] = Field(description="[height, width]")
    counts: list[Count] = Field(description="lengths of runs of background and object in turn")


class Size(_Part):
    """The likely size of an object."""

    diameter: Annotated[Coordinate, Field(gt=0)] = Field(
        description="of a disk of the object's area, in image pixels"
    )
    spread: Annotated[Coordinate, Field(gt=0)] = Field(
        description="standard deviation of the diameter's binary logarithm"
    )


class FieldOfView(BaseModel):
    """A part of a plane on which prompts are answered."""

    corner: tuple[Count, Count] = Field(description="first row and column")
    size: tuple[Positive, Positive] = Field(description="[height, width] in image pixels")
    step: Positive = Field(1, description="image pixels per pixel that the model is shown")


class Plane(_Part):
    """All prompts of one object on one plane."""

    index: list[Count] = Field(description="position on the axes outside the plane; [] in 2D")
    points: list[Point] = Field([], description="clicks in the order in which they were made")
    boxes: list[Box] = Field([], description="[top, left, bottom, right]; masks are united")
    strokes: list[Stroke] = Field([], description="since version 2; clicks along each line")
    polygons: list[list[Position]] = Field([], description="outlines; each is a mask prompt")
    mask: Mask | None = Field(
        None, description="existing object to correct, in pixels of the field if there is one"
    )
    candidate: Count | None = Field(
        None, description="mask that was chosen, from 0; null: the offered one"
    )
    one_part: bool = Field(
        False, description="keep only the part that holds the clicks, and fill small holes"
    )
    expected_size: Size | None = Field(
        None, description="likely size, which the first answer to clicks takes into account"
    )
    field: FieldOfView | None = Field(
        None, description="part of the plane that the model is shown; null: all of it"
    )


class PromptedObject(_Part):
    """One object."""

    id: Positive = Field(description="value in the label image, unique in the file")
    planes: list[Plane]


class ObjectClass(BaseModel):
    """A class that objects can have."""

    name: str = Field(min_length=1)
    color: str = Field(pattern="^#[0-9a-fA-F]{6}$", description="#rrggbb")


class Image(_Part):
    """The image that the prompts belong to."""

    name: str = Field(description="for people")
    shape: list[Positive] = Field(description="all axes except RGB")


class PromptFile(_Part):
    """A prompts.json."""

    format: Literal["napari-promptable/prompts"]
    version: Literal[1, 2] = Field(description="2 if there are strokes")
    image: Image
    plane_axes: tuple[Count, Count] = Field(description="axes that are rows and columns")
    model: str = Field(description="registry name of the model, or path of its weights")
    objects: list[PromptedObject]
    classes: list[ObjectClass] = Field([], description="classes that objects can have")
