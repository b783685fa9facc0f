"""Labels of OME-Zarr (OME-NGFF), in the group of the image or in one of their own.

Source: https://ngff.openmicroscopy.org, section "labels metadata". Pixels, axes, pixel sizes,
classes, class colors and confidences all come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.axes import CHANNEL
from napari_promptable.files.formats.labelled_objects import (
    DEFAULT_CLASS,
    Color,
    LabelledObjects,
)
from napari_promptable.files.ngff_labels import (
    LABELS_NAME,
    Level,
    add_to_list,
    describe_axes,
    fill_label_group,
    show_labels_as_image,
)
from napari_promptable.files.ome_zarr import read_attributes, read_zarr
from napari_promptable.files.writing import complete_folder
from napari_promptable.planes import Index

_READ_ERRORS = (OSError, ValueError, KeyError, TypeError, IndexError)


def write_ngff(path: Path, objects: LabelledObjects) -> None:
    """Write labels/objects, into an image's group if the path is one, else into a new group.

    Parameters
    ----------
    path : Path
        An OME-Zarr image of version 0.4 or 0.5, or a folder to make.
    objects : LabelledObjects
        What to write. In an image's group they get the image's resolutions.

    Raises
    ------
    ImageFormatError
        If the image has another shape or has labels of this name already, or the folder
        cannot be written.
    """
    import zarr

    if is_image_group(path):
        _add_to_image(path, objects)
        return
    with complete_folder(path, ImageFormatError) as folder:
        root = zarr.open_group(folder, mode="w")
        labels, axes = root.create_group("labels"), _axes_of(objects)
        scale = [float(size) for size in objects.scale]
        level = Level("0", tuple(objects.labels.shape), [{"type": "scale", "scale": scale}])
        _fill(labels.create_group(LABELS_NAME), objects, axes, [level], {})
        add_to_list(labels, LABELS_NAME)
        show_labels_as_image(root, axes, [level])


def is_image_group(path: Path) -> bool:
    """Whether a path is an OME-Zarr image."""
    return "multiscales" in _attributes_of(path)


def is_label_group(path: Path) -> bool:
    """Whether a path is an OME-Zarr group that holds label images, or one of these."""
    return "image-label" in _attributes_of(path) or "labels" in _attributes_of(path / "labels")


def _attributes_of(path: Path) -> Mapping[str, Any]:
    import zarr

    if not path.is_dir():
        return {}
    try:
        node = zarr.open(path, mode="r")
    except _READ_ERRORS:
        return {}
    return read_attributes(node)


def _add_to_image(path: Path, objects: LabelledObjects) -> None:
    import zarr

    image = zarr.open_group(path, mode="r+")
    axes, levels = _levels_of(image, objects, path)
    zarr_format = image.metadata.zarr_format
    labels = image.require_group("labels")
    with complete_folder(path / "labels" / LABELS_NAME, ImageFormatError) as folder:
        group = zarr.open_group(folder, mode="w", zarr_format=zarr_format)
        _fill(group, objects, axes, levels, {"source": {"image": "../../"}})
    add_to_list(labels, LABELS_NAME)


def _levels_of(
    image: Any, objects: LabelledObjects, path: Path
) -> tuple[list[dict[str, str]], list[Level]]:
    """Axes and resolutions of an image without its channels."""
    described = read_attributes(image)["multiscales"][0]
    names = [axis["name"][:1].upper() for axis in described["axes"]]
    kept = [i for i, name in enumerate(names) if name != CHANNEL]
    levels = []
    for dataset in described["datasets"]:
        shape = image[dataset["path"]].shape
        transformations = [
            {**one, one["type"]: [one[one["type"]][i] for i in kept]}
            for one in dataset["coordinateTransformations"]
        ]
        levels.append(Level(dataset["path"], tuple(shape[i] for i in kept), transformations))
    if levels[0].shape != tuple(objects.labels.shape):
        raise ImageFormatError(
            f"the image {path} has the shape {levels[0].shape} without channels and the labels "
            f"have {tuple(objects.labels.shape)}; give the image that the labels were made on"
        )
    return [described["axes"][i] for i in kept], levels


def _axes_of(objects: LabelledObjects) -> list[dict[str, str]]:
    has_unit = objects.unit != "pixel"
    units = {**dict.fromkeys("ZYX", objects.unit), "T": "second"} if has_unit else {}
    return describe_axes(objects.axes, units)


def _fill(
    group: Any,
    objects: LabelledObjects,
    axes: Sequence[Mapping[str, str]],
    levels: Sequence[Level],
    source: Mapping[str, Any],
) -> None:
    ids = objects.find_ids()
    dtype = np.uint16 if max(ids, default=0) <= np.iinfo(np.uint16).max else np.uint32
    image_label = {
        "colors": [
            {"label-value": i, "rgba": [*objects.color_of(i), 255]}
            for i in ids
            if objects.class_of(i) in objects.class_colors
        ],
        "properties": _properties(objects, ids),
        **source,
    }
    image_label = {key: value for key, value in image_label.items() if value}
    fill_label_group(group, objects.labels, dtype, axes, levels, image_label)


def _properties(objects: LabelledObjects, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Class and confidences of each object."""
    by_id: dict[int, list[dict[str, Any]]] = {}
    for (object_id, index), value in objects.confidence.items():
        entry = {"position": list(index), "value": round(float(value), 6)}
        by_id.setdefault(object_id, []).append(entry)
    return [
        {"label-value": i, "class": objects.class_of(i)}
        | ({"predicted_iou": by_id[i]} if i in by_id else {})
        for i in ids
    ]


def read_ngff(path: Path) -> LabelledObjects:
    """Open labels of OME-Zarr at full resolution. Pixels are not read yet.

    Parameters
    ----------
    path : Path
        A label image; or a group with labels, of which ours or the only ones are read.

    Returns
    -------
    LabelledObjects
        With classes, class colors and confidences if the metadata hold them.

    Raises
    ------
    ImageFormatError
        If there are no labels, or several of which none are ours.
    """
    try:
        return _read_label_image(_find_label_image(path))
    except _READ_ERRORS as error:
        if isinstance(error, ImageFormatError):
            raise
        raise ImageFormatError(
            f"{path} holds no labels of OME-Zarr ({type(error).__name__}: {error}); give a "
            "label image, or a group with labels"
        ) from error


def _find_label_image(path: Path) -> Path:
    if "image-label" in _attributes_of(path):
        return path
    names = list(_attributes_of(path / "labels").get("labels", ()))
    if not names:
        raise ImageFormatError(f"{path} holds no labels of OME-Zarr; give a group with labels")
    if LABELS_NAME not in names and len(names) > 1:
        raise ImageFormatError(
            f"{path} holds the labels {', '.join(names)}; give one of them, such as "
            f"{path / 'labels' / names[0]}"
        )
    return path / "labels" / (LABELS_NAME if LABELS_NAME in names else names[0])


def _read_label_image(path: Path) -> LabelledObjects:
    described = _attributes_of(path).get("image-label", {})
    image = read_zarr(path)
    properties = {int(entry["label-value"]): entry for entry in described.get("properties", ())}
    names = {i: str(entry["class"]) for i, entry in properties.items() if "class" in entry}
    names = {i: name for i, name in names.items() if name != DEFAULT_CLASS}
    confidence: dict[tuple[int, Index], float] = {
        (i, tuple(known["position"])): float(known["value"])
        for i, entry in properties.items()
        for known in entry.get("predicted_iou", ())
    }
    colors: dict[str, Color] = {}
    for entry in described.get("colors", ()):
        red, green, blue, _ = entry.get("rgba") or (255, 255, 255, 255)
        name = names.get(int(entry["label-value"]), DEFAULT_CLASS)
        colors[name] = (int(red), int(green), int(blue))
    return LabelledObjects(
        image.data,
        image.axes,
        tuple(image.scale.get(axis, 1.0) for axis in image.axes),
        image.unit_word("X"),
        image.name,
        class_names=names,
        class_colors=colors,
        confidence=confidence,
    )
