"""napari's reader for prompts.json: the viewer's widget loads the file, or layers show it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from napari_promptable.errors import PromptError
from napari_promptable.files.prompts_json import PromptDocument, read_prompts
from napari_promptable.gui.opening import PROMPTS, each_of, hand_over
from napari_promptable.planes import PlaneAxes

LayerData = tuple[Any, ...]
Read = Callable[[str | list[str]], list[LayerData]]

NO_LAYER: list[LayerData] = [(None,)]  # napari's sentinel for a file without layers
_SIGNS = ("negative", "positive")


def get_reader(path: str | list[str]) -> Read | None:
    """Return a reader if a file is a prompts.json, or None for other JSON."""
    try:
        read_prompts(each_of(path)[0])
    except PromptError:
        return None
    return _read


def _read(path: str | list[str]) -> list[LayerData]:
    """Hand files to the viewer's widget. Without one, return points and boxes as layers."""
    if hand_over(PROMPTS, path):
        return NO_LAYER
    return list(chain.from_iterable(_to_layers(Path(one)) for one in each_of(path)))


def _to_layers(path: Path) -> list[LayerData]:
    """Show the clicks and boxes of a file, with their objects as features."""
    document = read_prompts(path)
    points, point_features = _points_of(document)
    boxes, box_features = _boxes_of(document)
    return [
        (points, {"name": f"{path.stem} points", "features": point_features}, "points"),
        (boxes, {"name": f"{path.stem} boxes", "features": box_features}, "shapes"),
    ]


def _points_of(document: PromptDocument) -> tuple[Any, dict[str, list[Any]]]:
    planes = PlaneAxes(document.image_shape, document.plane_axes)
    positions: list[Any] = [np.empty((0, len(planes.shape)))]
    features: dict[str, list[Any]] = {"label": [], "object_id": []}
    for object_id, at in document.objects.items():
        for index, prompts in at.items():
            positions.append(planes.join(index, prompts.points_yx))
            features["label"] += [_SIGNS[label] for label in prompts.point_labels]
            features["object_id"] += [object_id] * len(prompts.points_yx)
    return np.concatenate(positions), features


def _boxes_of(document: PromptDocument) -> tuple[list[Any], dict[str, list[Any]]]:
    planes = PlaneAxes(document.image_shape, document.plane_axes)
    boxes: list[Any] = []
    features: dict[str, list[Any]] = {"object_id": []}
    for object_id, at in document.objects.items():
        for index, prompts in at.items():
            for top, left, bottom, right in prompts.boxes_yxyx.tolist():
                corners = [[top, left], [top, right], [bottom, right], [bottom, left]]
                boxes.append(planes.join(index, np.array(corners)))
                features["object_id"].append(object_id)
    return boxes, features
