"""The file prompts.json: what was asked, so that it can be asked again without a screen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from napari_promptable.errors import PromptError
from napari_promptable.fields import parse_field
from napari_promptable.files.prompts_schema import FORMAT, VERSIONS, Plane, PromptFile
from napari_promptable.files.run_lengths import decode_mask, encode_mask
from napari_promptable.files.writing import complete_file
from napari_promptable.planes import Index, PlaneAxes
from napari_promptable.prompts import PlanePrompts
from napari_promptable.sizes import ExpectedSize
from napari_promptable.validation import refused_as_prompt_error

_PLANES = TypeAdapter(list[Plane])


@dataclass(frozen=True)
class PromptDocument:
    """All prompts of one image.

    Attributes
    ----------
    image_name : str
        Name of the image, for people.
    image_shape : tuple of int
        Shape of the image without an RGB axis.
    plane_axes : (int, int)
        Axes of the image that are rows and columns of a plane.
    model : str
        Registry name of the model.
    objects : dict of int to dict of Index to PlanePrompts
        By object id, then by plane.
    extra, object_extra, image_extra : dict
        Unknown keys of the file, its objects and its image, kept on a round trip.
    class_colors : dict of str to str
        Colors, "#rrggbb", by name of the class.
    """

    image_name: str
    image_shape: tuple[int, ...]
    plane_axes: tuple[int, int]
    model: str
    objects: Mapping[int, Mapping[Index, PlanePrompts]]
    extra: Mapping[str, Any] = field(default_factory=dict)
    object_extra: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    image_extra: Mapping[str, Any] = field(default_factory=dict)
    class_colors: Mapping[str, str] = field(default_factory=dict)


def read_prompts(path: str | Path) -> PromptDocument:
    """Read a prompts.json.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    PromptDocument
        Its content.

    Raises
    ------
    PromptError
        If the file cannot be read, is not of this format and version, or a value is wrong.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))  # with or without BOM
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise PromptError(
            f"{path} cannot be read as JSON: {error}; give a file of format {FORMAT}"
        ) from error
    try:
        return parse_prompts(content)
    except PromptError as error:
        raise PromptError(f"{path}: {error}") from error


def write_prompts(document: PromptDocument, path: str | Path) -> Path:
    """Write a prompts.json, complete or not at all.

    Parameters
    ----------
    document : PromptDocument
        What to write.
    path : str or Path
        Where to.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    PromptError
        If it cannot be written.
    """
    path = Path(path)
    text = json.dumps(format_prompts(document), indent=1) + "\n"
    with complete_file(path, PromptError) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def parse_prompts(content: Any) -> PromptDocument:
    """Make a document of parsed JSON. Raises PromptError if anything is missing or wrong."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise PromptError(f'the key "format" must be "{FORMAT}"')
    version = content.get("version")
    if type(version) is not int or version not in VERSIONS:
        known = " and ".join(f"version {each}" for each in VERSIONS)
        raise PromptError(
            f"version {version!r} is unknown; this program reads {known}: update it, or save "
            "the prompts with the older one"
        )
    with refused_as_prompt_error():
        file = PromptFile.model_validate(content)
    axes = _plane_axes_of(file)
    counts = Counter(entry.id for entry in file.objects)
    twice = [object_id for object_id, count in counts.items() if count > 1]
    if twice:
        raise PromptError(f"object id {twice[0]} stands twice; give each object its own id")
    objects = {entry.id: _parse_object(entry.id, entry.planes, axes) for entry in file.objects}
    return PromptDocument(
        file.image.name,
        axes.shape,
        axes.axes,
        file.model,
        objects,
        file.extra,
        {entry.id: entry.extra for entry in file.objects},
        file.image.extra,
        {each.name: each.color for each in file.classes},
    )


def _plane_axes_of(file: PromptFile) -> PlaneAxes:
    """Check how the image is cut into planes."""
    shape, (rows, columns) = tuple(file.image.shape), file.plane_axes
    if not rows < columns < len(shape):
        raise PromptError(
            f"plane_axes {file.plane_axes} are not two increasing axes of shape {shape}"
        )
    return PlaneAxes(shape, (rows, columns))


def _parse_object(
    object_id: int, entries: Sequence[Plane], axes: PlaneAxes
) -> dict[Index, PlanePrompts]:
    """Make an object's prompts. Raises PromptError for planes outside the image or twice."""
    try:
        planes = dict(map(_parse_plane, entries))
    except PromptError as error:
        raise PromptError(f"object {object_id}: {error}") from error
    if len(planes) < len(entries):
        raise PromptError(f"object {object_id} has two entries for one index; unite them")
    for index in planes:
        if len(index) != len(axes.other_axes) or not axes.contains(index):
            raise PromptError(
                f"object {object_id}: index {list(index)} is no plane of an image of shape "
                f"{axes.shape} with plane_axes {axes.axes}"
            )
    return planes


def parse_planes(entries: Sequence[Mapping[str, Any]]) -> dict[Index, PlanePrompts]:
    """Make prompts by plane. Raises PromptError if anything is missing or wrong."""
    with refused_as_prompt_error():
        planes = _PLANES.validate_python(entries)
    return dict(map(_parse_plane, planes))


def _parse_plane(plane: Plane) -> tuple[Index, PlanePrompts]:
    mask = None if plane.mask is None else decode_mask(plane.mask.model_dump())
    size = plane.expected_size
    return tuple(plane.index), PlanePrompts(
        [point.yx for point in plane.points],
        [point.label for point in plane.points],
        plane.boxes,
        plane.polygons,
        [point.refines for point in plane.points],
        plane.candidate,
        plane.extra,
        [point.extra for point in plane.points],
        mask,
        plane.one_part,
        [stroke.yx for stroke in plane.strokes],
        [stroke.label for stroke in plane.strokes],
        None if size is None else ExpectedSize(size.diameter, size.spread),
        None if plane.field is None else parse_field(**plane.field.model_dump()),
    )


def format_planes(planes: Mapping[Index, PlanePrompts]) -> list[dict[str, Any]]:
    """Make plain data for JSON of prompts by plane."""
    return [_format_plane(index, plane) for index, plane in planes.items()]


def format_prompts(document: PromptDocument) -> dict[str, Any]:
    """Make plain data for JSON of a document."""
    return {
        "format": FORMAT,
        "version": 2 if _has_strokes(document) else 1,
        "image": {
            "name": document.image_name,
            "shape": list(document.image_shape),
            **document.image_extra,
        },
        "plane_axes": list(document.plane_axes),
        "model": document.model,
        "objects": [
            {
                "id": object_id,
                "planes": format_planes(planes),
                **document.object_extra.get(object_id, {}),
            }
            for object_id, planes in document.objects.items()
        ],
        **({"classes": _format_classes(document)} if document.class_colors else {}),
        **document.extra,
    }


def _format_classes(document: PromptDocument) -> list[dict[str, str]]:
    return [{"name": name, "color": color} for name, color in document.class_colors.items()]


def _has_strokes(document: PromptDocument) -> bool:
    return any(plane.strokes_yx for at in document.objects.values() for plane in at.values())


def _format_plane(index: Index, plane: PlanePrompts) -> dict[str, Any]:
    points = [
        {"yx": point.tolist(), "label": int(label)}
        | ({} if refined is None else {"refines": refined})
        | dict(extra)
        for point, label, refined, extra in zip(
            plane.points_yx, plane.point_labels, plane.refines, plane.point_extra, strict=True
        )
    ]
    strokes = [
        {"yx": stroke.tolist(), "label": int(label)}
        for stroke, label in zip(plane.strokes_yx, plane.stroke_labels, strict=True)
    ]
    polygons = [polygon.tolist() for polygon in plane.polygons_yx]
    return {
        "index": list(index),
        "points": points,
        "boxes": plane.boxes_yxyx.tolist(),
        **({"strokes": strokes} if strokes else {}),
        **({"polygons": polygons} if polygons else {}),
        **({} if plane.mask is None else {"mask": encode_mask(plane.mask)}),
        "candidate": plane.candidate,
        **({"one_part": True} if plane.one_part else {}),
        **({"expected_size": asdict(plane.expected_size)} if plane.expected_size else {}),
        **({} if plane.field is None else {"field": plane.field.to_plain()}),
        **plane.extra,
    }
