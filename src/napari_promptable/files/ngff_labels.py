"""Label images of OME-Zarr: pixels at each resolution, axes, and facts about the labels.

Source: https://ngff.openmicroscopy.org, versions 0.4 (zarr 2) and 0.5 (zarr 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.files.axes import UNIT_WORDS
from napari_promptable.files.ome_zarr import read_attributes

LABELS_NAME = "objects"
"""Name of our label image in the group `labels`."""

_CHUNK = 1024  # rows and columns of a zarr chunk
_KINDS = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


@dataclass(frozen=True)
class Level:
    """A label image at one resolution.

    Attributes
    ----------
    path : str
        Name of the array in the group.
    shape : tuple of int
        Shape of the array.
    transformations : list of dict
        `coordinateTransformations` of the level, for the axes of the labels.
    """

    path: str
    shape: tuple[int, ...]
    transformations: list[dict[str, Any]]


def describe_axes(axes: str, units: Mapping[str, str]) -> list[dict[str, str]]:
    """Describe axes as OME-Zarr does, with units in full words. `units` may hold symbols."""
    described = []
    for axis in axes:
        unit = units.get(axis)
        parts = {
            "name": axis.lower(),
            "type": _KINDS.get(axis),
            "unit": UNIT_WORDS.get(unit or "", unit),
        }
        described.append({key: value for key, value in parts.items() if value})
    return described


def add_to_list(labels_group: Any, name: str) -> None:
    """List a label image in the metadata of the group `labels`."""
    names = list(read_attributes(labels_group).get("labels", ()))
    _write_attributes(labels_group, {"labels": list(dict.fromkeys([*names, name]))})


def fill_label_group(
    group: Any,
    labels: Any,
    dtype: npt.DTypeLike,
    axes: Sequence[Mapping[str, str]],
    levels: Sequence[Level],
    image_label: Mapping[str, Any],
) -> None:
    """Write the pixels and the metadata of a label image.

    Parameters
    ----------
    group : zarr.Group
        Empty group of the label image; its zarr format decides the version, 0.4 or 0.5.
    labels : array of int of any kind, shape (..., Y, X)
        Read once for each level: in bands for the full resolution, else plane by plane.
    dtype : dtype
        Of the arrays.
    axes : sequence of dict
        From `describe_axes`.
    levels : sequence of Level
        The highest resolution first. Lower ones take the nearest pixel.
    image_label : dict
        Colors, properties and source of the labels.
    """
    names = [axis["name"] for axis in axes]
    for level in levels:
        _write_level(group, level, labels, dtype, names)
    image = _describe_levels(group, axes, levels)
    _write_attributes(
        group, {"multiscales": [image], "image-label": _versioned(group, image_label)}
    )


def show_labels_as_image(
    root: Any, axes: Sequence[Mapping[str, str]], levels: Sequence[Level]
) -> None:
    """Describe our label image as the image of the group that holds `labels`.

    Without it, other programs find nothing to show in a group that has labels only. Parameters
    as in `fill_label_group`.
    """
    folder = f"labels/{LABELS_NAME}"
    inside = [replace(level, path=f"{folder}/{level.path}") for level in levels]
    _write_attributes(root, {"multiscales": [_describe_levels(root, axes, inside)]})


def _describe_levels(
    group: Any, axes: Sequence[Mapping[str, str]], levels: Sequence[Level]
) -> dict[str, Any]:
    datasets = [
        {"path": level.path, "coordinateTransformations": level.transformations}
        for level in levels
    ]
    return _versioned(group, {"name": LABELS_NAME, "axes": list(axes), "datasets": datasets})


def _versioned(group: Any, described: Mapping[str, Any]) -> dict[str, Any]:
    """Add the version where each part has its own: in 0.5, the group has it."""
    return dict(described) | ({"version": "0.4"} if group.metadata.zarr_format == 2 else {})


def _write_attributes(group: Any, attributes: Mapping[str, Any]) -> None:
    if group.metadata.zarr_format == 2:
        group.attrs.update(attributes)
    else:
        group.attrs["ome"] = {"version": "0.5", **attributes}


def _write_level(
    group: Any, level: Level, labels: Any, dtype: npt.DTypeLike, names: list[str]
) -> None:
    is_old = group.metadata.zarr_format == 2
    target = group.create_array(
        level.path,
        shape=level.shape,
        dtype=dtype,
        chunks=(
            *[1] * (len(level.shape) - 2),
            *(max(1, min(side, _CHUNK)) for side in level.shape[-2:]),
        ),
        chunk_key_encoding={"name": "v2" if is_old else "default", "separator": "/"},
        dimension_names=None if is_old else names,
    )
    *others, rows, columns = (
        _nearest(length, full) for length, full in zip(level.shape, labels.shape, strict=True)
    )
    for index in np.ndindex(*level.shape[:-2]):
        source = tuple(int(axis[i]) for axis, i in zip(others, index, strict=True))
        if level.shape[-2:] == tuple(labels.shape[-2:]):
            for top in range(0, level.shape[-2], _CHUNK):
                band = slice(top, top + _CHUNK)
                target[(*index, band)] = np.asarray(labels[(*source, band)])
        else:
            target[index] = np.asarray(labels[source])[np.ix_(rows, columns)]


def _nearest(length: int, full: int) -> npt.NDArray[np.int_]:
    """Positions of `length` pixel centres on an axis of `full` pixels."""
    return ((np.arange(length) + 0.5) * full / length).astype(int)
