"""Label images in files, with the facts about their objects that files beside them hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.axes import CHANNEL, SAMPLES, UNIT_SYMBOLS
from napari_promptable.files.formats.labelled_objects import LabelledObjects, hex_to_rgb
from napari_promptable.files.formats.ngff import is_label_group, read_ngff
from napari_promptable.files.image_file import ImageFile, describe_array
from napari_promptable.files.images import open_image
from napari_promptable.files.label_images import write_labels
from napari_promptable.files.prompts_json import PromptDocument, read_prompts
from napari_promptable.planes import Index


def open_labels(
    path: str | Path,
    axes: str | None = None,
    image: str | Path | None = None,
    prompts: str | Path | None = None,
) -> LabelledObjects:
    """Open a label image and collect what is known about its objects.

    Parameters
    ----------
    path : str or Path
        A label image in any format that `open_image` opens; of an OME-Zarr image with labels,
        our labels or the only ones.
    axes : str, optional
        A letter for each axis of the image, or of the labels if there is no image.
    image : str or Path, optional
        The image that was segmented: its axes, pixel sizes and name replace what the labels'
        file says.
    prompts : str or Path, optional
        The prompts.json that was saved with the labels; it holds classes and confidences.

    Returns
    -------
    LabelledObjects
        Pixels may not be read yet.

    Raises
    ------
    ImageFormatError
        If a file cannot be read, it holds no labels, or the image has another shape.
    PromptError
        If `prompts` cannot be read.
    """
    path = Path(path)
    own_axes = axes if image is None else None
    if is_label_group(path):
        objects = read_ngff(path)
        objects = objects if own_axes is None else replace(objects, axes=own_axes.upper())
    else:
        objects = _to_objects(open_image(path, own_axes))
    if image is not None:
        objects = placed_in(objects, open_image(image, axes))
    return objects if prompts is None else with_facts(objects, read_prompts(prompts))


def _to_objects(file: ImageFile) -> LabelledObjects:
    """Take a file for labels. Raises ImageFormatError if it is a picture."""
    dtype = np.dtype(file.data.dtype)
    if dtype.kind not in "uib" or SAMPLES in file.axes or not file.axes.endswith("YX"):
        raise ImageFormatError(
            f"{file.name} holds {dtype} pixels, {file.sentence}; labels are whole numbers with "
            "rows and columns last, give a label image or name its axes"
        )
    return LabelledObjects(
        file.data,
        file.axes,
        tuple(file.scale.get(axis, 1.0) for axis in file.axes),
        file.unit_word("X"),
        file.name,
    )


def placed_in(objects: LabelledObjects, image: ImageFile) -> LabelledObjects:
    """Take axes, pixel sizes and the name from the image that was segmented.

    Raises
    ------
    ImageFormatError
        If the image has another shape, channels left out.
    """
    axes, shape = label_grid(image)
    if shape != tuple(objects.labels.shape):
        raise ImageFormatError(
            f"{image.name} has the shape {shape} ({image.sentence}) and the labels have "
            f"{tuple(objects.labels.shape)}; give the image that the labels were made on"
        )
    scale = tuple(image.scale.get(axis, 1.0) for axis in axes)
    unit = image.unit_word("X")
    return replace(objects, axes=axes, scale=scale, unit=unit, image_name=image.name)


def label_grid(image: ImageFile) -> tuple[str, tuple[int, ...]]:
    """Axes and shape of an image's labels: all but channels and colours."""
    axes = "".join(axis for axis in image.axes if axis not in (CHANNEL, SAMPLES))
    return axes, tuple(image.data.shape[image.axes.index(axis)] for axis in axes)


def with_facts(objects: LabelledObjects, document: PromptDocument) -> LabelledObjects:
    """Add classes and confidences that a saved session knows."""
    class_names = {
        object_id: str(extra["class"])
        for object_id, extra in document.object_extra.items()
        if "class" in extra
    }
    confidence: dict[tuple[int, Index], float] = {}
    for object_id, extra in document.object_extra.items():
        for entry in extra.get("slices", ()):
            if entry.get("confidence") is not None:
                confidence[object_id, tuple(entry["index"])] = float(entry["confidence"])
    colors = {name: hex_to_rgb(color) for name, color in document.class_colors.items()}
    return replace(
        objects,
        class_colors={**objects.class_colors, **colors},
        class_names={**objects.class_names, **class_names},
        confidence={**objects.confidence, **confidence},
    )


def write_label_image(path: Path, objects: LabelledObjects) -> None:
    """Write pixels, axes and pixel sizes as a TIFF, PNG or NumPy file."""
    units = {} if objects.unit == "pixel" else dict.fromkeys("ZYX", objects.unit)
    symbols = {axis: UNIT_SYMBOLS.get(unit, unit) for axis, unit in units.items()}
    scale = {a: s for a, s in zip(objects.axes, objects.scale, strict=True) if s != 1}
    labels, name = objects.labels, objects.image_name
    image = describe_array(labels, objects.axes, name, scale=scale, units=symbols)
    write_labels(path, labels, image)


def read_label_image(path: Path, _shape: tuple[int, ...], axes: str) -> LabelledObjects:
    """Read a label image of any format. Raises ImageFormatError if it holds no labels."""
    found = open_labels(path, axes or None)
    return replace(found, labels=np.asarray(found.labels))
