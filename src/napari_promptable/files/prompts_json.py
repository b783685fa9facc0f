"""The file prompts.json: what was asked, so that it can be asked again without a screen."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import index as as_integer
from pathlib import Path
from typing import Any

from napari_promptable.errors import PromptError
from napari_promptable.masks import decode_mask, encode_mask
from napari_promptable.planes import PlaneAxes
from napari_promptable.prompts import PlanePrompts

FORMAT, VERSION = "napari-promptable/prompts", 1

Index = tuple[int, ...]
"""Position on the axes that are not in the plane, in axis order; () for a 2D image."""


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
    """

    image_name: str
    image_shape: tuple[int, ...]
    plane_axes: tuple[int, int]
    model: str
    objects: Mapping[int, Mapping[Index, PlanePrompts]]
    extra: Mapping[str, Any] = field(default_factory=dict)
    object_extra: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    image_extra: Mapping[str, Any] = field(default_factory=dict)


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
        content = json.loads(Path(path).read_text(encoding="utf-8"))
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
    temporary = path.with_name(path.name + ".tmp")
    text = json.dumps(format_prompts(document), indent=1) + "\n"
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise PromptError(
            f"{path} cannot be written ({error.strerror or error}); name a folder that exists "
            "and that you may write to"
        ) from error
    return path


def parse_prompts(content: Any) -> PromptDocument:
    """Make a document of parsed JSON; PromptError where something is missing or wrong."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise PromptError(f'the key "format" must be "{FORMAT}"')
    if content.get("version") != VERSION:
        raise PromptError(
            f"version {content.get('version')!r} is unknown; this program reads version "
            f"{VERSION}: update it, or save the prompts with the older one"
        )
    rest = dict(content)
    for key in ("format", "version"):
        del rest[key]
    try:
        image = dict(rest.pop("image"))
        plane_axes = _as_integers(rest.pop("plane_axes"))
        objects: dict[int, dict[Index, PlanePrompts]] = {}
        object_extra = {}
        model = str(rest.pop("model"))
        for entry in rest.pop("objects"):
            entry = dict(entry)
            object_id = as_integer(entry.pop("id"))
            planes = entry.pop("planes")
            if object_id < 1 or object_id in objects:
                raise PromptError(f"object id {object_id} is not positive, or stands twice")
            objects[object_id] = parse_planes(planes)
            object_extra[object_id] = entry
            if len(objects[object_id]) < len(planes):
                raise PromptError(f"object {object_id} has two entries for one index")
        name, shape = str(image.pop("name")), _as_integers(image.pop("shape"))
        if len(plane_axes) != 2 or not 0 <= plane_axes[0] < plane_axes[1] < len(shape):
            raise PromptError(
                f"plane_axes {plane_axes} are not two increasing axes of shape {shape}"
            )
        axes = PlaneAxes(shape, (plane_axes[0], plane_axes[1]))
        for index in (index for planes in objects.values() for index in planes):
            if len(index) != len(shape) - 2 or not axes.contains(index):
                raise PromptError(
                    f"index {list(index)} is no plane of an image of shape {shape} with "
                    f"plane_axes {plane_axes}"
                )
        return PromptDocument(name, shape, axes.axes, model, objects, rest, object_extra, image)
    except KeyError as error:
        raise PromptError(f"the key {error} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise PromptError(f"a value is malformed: {error}") from error


def parse_planes(entries: Sequence[Mapping[str, Any]]) -> dict[Index, PlanePrompts]:
    """Make prompts by plane of parsed JSON."""
    return dict(_parse_plane(entry) for entry in entries)


def format_planes(planes: Mapping[Index, PlanePrompts]) -> list[dict[str, Any]]:
    """Make plain data for JSON of prompts by plane."""
    return [_format_plane(index, plane) for index, plane in planes.items()]


def _parse_plane(entry: Mapping[str, Any]) -> tuple[Index, PlanePrompts]:
    rest = dict(entry)
    index = _as_integers(rest.pop("index"))
    points = [dict(point) for point in rest.pop("points", [])]
    mask = rest.pop("mask", None)
    return index, PlanePrompts(
        [point.pop("yx") for point in points],
        [point.pop("label") for point in points],
        rest.pop("boxes", []),
        tuple(rest.pop("polygons", [])),
        tuple(point.pop("refines", None) for point in points),
        rest.pop("candidate", None),
        rest,
        tuple(points),
        None if mask is None else decode_mask(mask),
    )


def _as_integers(numbers: Any) -> tuple[int, ...]:
    return tuple(map(as_integer, numbers))


def format_prompts(document: PromptDocument) -> dict[str, Any]:
    """Make plain data for JSON of a document."""
    return {
        "format": FORMAT,
        "version": VERSION,
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
        **document.extra,
    }


def _format_plane(index: Index, plane: PlanePrompts) -> dict[str, Any]:
    points = [
        {"yx": point.tolist(), "label": int(label)}
        | ({} if refined is None else {"refines": refined})
        | dict(extra)
        for point, label, refined, extra in zip(
            plane.points_yx, plane.point_labels, plane.refines, plane.point_extra, strict=True
        )
    ]
    polygons = [polygon.tolist() for polygon in plane.polygons_yx]
    return {
        "index": list(index),
        "points": points,
        "boxes": plane.boxes_yxyx.tolist(),
        **({"polygons": polygons} if polygons else {}),
        **({} if plane.mask is None else {"mask": encode_mask(plane.mask)}),
        "candidate": plane.candidate,
        **plane.extra,
    }
