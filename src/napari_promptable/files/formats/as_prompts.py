"""Objects of other programs as prompts: their bounding boxes, or points inside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_promptable.errors import PromptError
from napari_promptable.files.formats.exchange import find_format, import_objects
from napari_promptable.files.formats.labelled_objects import (
    LabelledObjects,
    ObjectSlice,
    rgb_to_hex,
)
from napari_promptable.files.prompts_json import PromptDocument
from napari_promptable.masks import interior_point_yx, mask_to_box_yxyx
from napari_promptable.planes import Index
from napari_promptable.prompts import PlanePrompts

BOX, POINT = "box", "point"
"""The exact bounding box, and the point that is farthest from the object's border."""


def import_for_prompts(
    path: str | Path,
    kind: str,
    shape: tuple[int, ...],
    axes: str,
    scale: tuple[float, ...],
    format_name: str = "",
) -> LabelledObjects:
    """Read objects of which prompts are to be made, see `import_objects`.

    Formats that hold positions only can become points: each object is one pixel then. `scale`
    has the size of a pixel along each axis.
    """
    path = Path(path)
    read = find_format(path, format_name).read_positions
    if kind == POINT and read is not None and path.exists():
        return read(path, shape, axes, scale)
    return import_objects(path, shape, axes, format_name)


def to_prompts(objects: LabelledObjects, kind: str) -> dict[int, dict[Index, PlanePrompts]]:
    """Make a prompt of each object on each of its planes.

    Parameters
    ----------
    objects : LabelledObjects
        The objects; read plane by plane.
    kind : {"box", "point"}
        Which prompt.

    Returns
    -------
    dict of int to dict of Index to PlanePrompts
        By object id and plane.

    Raises
    ------
    PromptError
        If the kind is unknown.

    Examples
    --------
    >>> labels = np.zeros((20, 30), int)
    >>> labels[3:9, 4:12] = 5
    >>> to_prompts(LabelledObjects(labels), "box")[5][()].boxes_yxyx.tolist()
    [[3.0, 4.0, 8.0, 11.0]]
    """
    if kind not in (BOX, POINT):
        raise PromptError(f"there is no prompt {kind!r}; choose box or point")
    prompts: dict[int, dict[Index, PlanePrompts]] = {}
    for part in objects.slices():
        prompts.setdefault(part.object_id, {})[part.index] = _prompt_of(part, kind)
    return prompts


def _prompt_of(part: ObjectSlice, kind: str) -> PlanePrompts:
    corner = np.array(part.origin, np.float32)
    if kind == POINT:
        return PlanePrompts([interior_point_yx(part.mask) + corner], [1])
    return PlanePrompts(boxes_yxyx=[mask_to_box_yxyx(part.mask) + np.tile(corner, 2)])


def to_document(objects: LabelledObjects, kind: str, model: str) -> PromptDocument:
    """Make the content of a prompts.json, with the objects' classes. See `to_prompts`."""
    prompts = to_prompts(objects, kind)
    names = {i: name for i, name in objects.class_names.items() if i in prompts}
    colors = {
        name: rgb_to_hex(objects.class_colors[name])
        for name in dict.fromkeys(names.values())
        if name in objects.class_colors
    }
    return PromptDocument(
        objects.image_name,
        objects.planes.shape,
        objects.planes.axes,
        model,
        prompts,
        object_extra={object_id: {"class": name} for object_id, name in names.items()},
        class_colors=colors,
    )
