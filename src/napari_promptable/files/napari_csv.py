"""Prompts from the CSV files that napari writes for its Points and Shapes layers."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import PromptError
from napari_promptable.files.prompts_json import PromptDocument
from napari_promptable.masks import ellipse_to_polygon
from napari_promptable.planes import Index, PlaneAxes
from napari_promptable.prompts import BACKGROUND, FOREGROUND, PlanePrompts
from napari_promptable.wording import on_plane

_AXIS, _SHAPE = "axis-", "shape-type"  # begins of column names
_SIGNS = {"positive": FOREGROUND, "negative": BACKGROUND, "1": FOREGROUND, "0": BACKGROUND}

Row = Mapping[str, str]
Owner = int | str
"""Object id, or the place in a file of an object without one."""
Part = tuple[Owner, Index, PlanePrompts]


def count_axes(path: str | Path) -> int:
    """Count the axes of the positions in a file. Raises PromptError if it cannot be read."""
    return len(_axis_columns(_read_rows(Path(path))[0]))


def read_csv_prompts(
    paths: Sequence[str | Path], image_name: str, planes: PlaneAxes, model: str
) -> PromptDocument:
    """Read points and shapes as prompts.

    Parameters
    ----------
    paths : sequence of str or Path
        Files with columns ``axis-0``, ``axis-1`` …; with ``shape-type`` and ``index``, their
        rows are the vertices of rectangles, ellipses and polygons, otherwise points. A column
        ``object_id`` says to which object a row belongs; without it, each point and each shape
        is an object of its own. A column ``label`` holds positive or 1, and negative or 0.
    image_name : str
        Name of the image, for people.
    planes : PlaneAxes
        How the image is cut into planes.
    model : str
        Name of the model that answers.

    Returns
    -------
    PromptDocument
        Objects without an id are numbered after the highest id, in the order of the rows.

    Raises
    ------
    PromptError
        If a file cannot be read, a value is wrong, or a position is outside the image.
    """
    found: dict[Owner, dict[Index, list[PlanePrompts]]] = {}
    for path in map(Path, paths):
        rows = _read_rows(path)
        parts = _read_shapes if _SHAPE in rows[0] else _read_points
        for owner, index, part in parts(path, rows, planes):
            found.setdefault(owner, {}).setdefault(index, []).append(part)
    objects = {
        object_id: {index: _unite(parts) for index, parts in found[owner].items()}
        for object_id, owner in _number(found).items()
    }
    return PromptDocument(image_name, planes.shape, planes.axes, model, objects)


def _number(owners: Iterable[Owner]) -> dict[int, Owner]:
    """Give an id to each object that has none."""
    free = itertools.count(1 + max((one for one in owners if isinstance(one, int)), default=0))
    return {one if isinstance(one, int) else next(free): one for one in owners}


def _unite(parts: Sequence[PlanePrompts]) -> PlanePrompts:
    """Put the prompts of one object on one plane together."""
    return PlanePrompts(
        [point for part in parts for point in part.points_yx],
        [label for part in parts for label in part.point_labels],
        [box for part in parts for box in part.boxes_yxyx],
        [polygon for part in parts for polygon in part.polygons_yx],
        one_part=True,
    )


def _read_points(path: Path, rows: Sequence[Row], planes: PlaneAxes) -> Iterator[Part]:
    """Make a click of each row."""
    for number, row in enumerate(rows, start=1):
        place = f"{path}, row {number}"
        [index], position = _place(place, [row], planes)
        sign = row.get("label", "positive").strip().lower()
        if sign not in _SIGNS:
            raise PromptError(
                f"{place}: label must be one of {', '.join(_SIGNS)}, not {row['label']!r}"
            )
        yield _owner_of(place, row), index, PlanePrompts(position, [_SIGNS[sign]])


def _read_shapes(path: Path, rows: Sequence[Row], planes: PlaneAxes) -> Iterator[Part]:
    """Make a box or an outline of each group of rows with one index."""
    shapes: dict[str, list[Row]] = {}
    for row in rows:
        shapes.setdefault(row.get("index", ""), []).append(row)
    for number, vertices in shapes.items():
        place = f"{path}, shape {number}"
        indices, corners = _place(place, vertices, planes)
        if len(set(indices)) > 1:
            raise PromptError(f"{place} crosses slices; draw each shape on one slice")
        kind = vertices[0][_SHAPE]
        yield _owner_of(place, vertices[0]), indices[0], _region(place, kind, corners)


def _region(place: str, kind: str, corners_yx: npt.NDArray[np.float32]) -> PlanePrompts:
    """Make a box of a rectangle, and an outline of an ellipse or polygon."""
    if kind == "rectangle":
        box = [*corners_yx.min(axis=0), *corners_yx.max(axis=0)]
        return PlanePrompts(boxes_yxyx=[box])
    if kind == "ellipse":
        return PlanePrompts(polygons_yx=[ellipse_to_polygon(corners_yx)])
    if kind == "polygon":
        return PlanePrompts(polygons_yx=[corners_yx])
    raise PromptError(f"{place} is a {kind}; draw a rectangle, an ellipse or a polygon")


def _place(
    place: str, rows: Sequence[Row], planes: PlaneAxes
) -> tuple[list[Index], npt.NDArray[np.float32]]:
    """Find the planes and positions of rows. Raises PromptError if one is outside the image."""
    columns = _axis_columns(rows[0])
    if len(columns) != len(planes.shape):
        raise PromptError(
            f"{place} has {len(columns)} axes, but the image has shape {planes.shape}; give "
            "the image that the positions belong to"
        )
    try:
        positions = np.array([[float(row[column]) for column in columns] for row in rows])
    except (TypeError, ValueError) as error:
        raise PromptError(f"{place}: positions must be numbers ({error})") from error
    is_inside = (positions >= -0.5) & (positions <= np.array(planes.shape) - 0.5)
    if _SHAPE not in rows[0] and not is_inside.all():
        raise PromptError(
            f"{place} is at {positions[0].tolist()}, outside the image of shape {planes.shape}"
        )
    indices, points_yx = planes.split(positions)
    if not all(map(planes.contains, indices)):
        raise PromptError(f"{place} is {on_plane(indices[0])}, which the image does not have")
    return indices, points_yx


def _owner_of(place: str, row: Row) -> Owner:
    """Object id of a row, or its place if it has none."""
    if "object_id" not in row:
        return place
    try:
        object_id = int(float(row["object_id"]))
    except (TypeError, ValueError):
        object_id = 0
    if object_id < 1:
        raise PromptError(
            f"{place}: object_id must be a whole number from 1, not {row['object_id']!r}"
        )
    return object_id


def _axis_columns(row: Row) -> list[str]:
    return [column for column in row if column and column.startswith(_AXIS)]


def _read_rows(path: Path) -> list[Row]:
    """Read a table with positions and at least one row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows: list[Row] = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PromptError(f"{path} cannot be read as CSV ({error}); check the path") from error
    if not rows or len(_axis_columns(rows[0])) < 2:
        raise PromptError(
            f"{path} holds no positions; give the CSV of a Points or Shapes layer of napari, "
            f"with rows and the columns {_AXIS}0, {_AXIS}1 …"
        )
    return rows
