"""Reading zarr folders: plain arrays and groups, OME-Zarr of all versions, and its layouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.axes import UNIT_SYMBOLS
from napari_promptable.files.image_file import ImageFile, describe_array
from napari_promptable.files.lazy_view import describe_error

_OLD_AXES = "TCZYX"  # of versions before 0.3, which do not name them


def read_zarr(path: Path) -> ImageFile:
    """Open the image in a zarr folder at full resolution. Nothing is read yet.

    Parameters
    ----------
    path : Path
        An array; a group with one array; an OME-Zarr image, label image or field of a plate; or
        what bioformats2raw makes of one or several images.

    Returns
    -------
    ImageFile
        The image.

    Raises
    ------
    ImageFormatError
        If the folder holds several images, such as a plate, or none; the message names them.
        It is also raised if the folder is no zarr folder, or its metadata are damaged.
    """
    import zarr

    try:
        node = zarr.open(path, mode="r")
    except FileNotFoundError as error:
        raise ImageFormatError(
            f"{path} is a folder without an image (it holds neither zarr.json nor .zarray or "
            ".zgroup); give a file, or the folder of a zarr image"
        ) from error
    try:
        return _read_node(node, path, "")
    except (LookupError, TypeError, AttributeError) as error:
        raise ImageFormatError(
            f"the OME-Zarr metadata of {path} are damaged or incomplete "
            f"({describe_error(error)}); give the folder of one of its arrays instead"
        ) from error


def read_attributes(node: Any) -> Mapping[str, Any]:
    """Return the OME-Zarr metadata of a node: beside others in 0.4, under "ome" in 0.5."""
    attributes: Mapping[str, Any] = node.attrs.get("ome", node.attrs)
    return attributes


def _read_node(node: Any, path: Path, remark: str) -> ImageFile:
    import zarr

    if isinstance(node, zarr.Array):
        return describe_array(node, _dimension_names(node), path.name, remark=remark)
    attributes = read_attributes(node)
    if "multiscales" in attributes:
        return _read_multiscales(node, attributes, path, remark)
    _refuse_several(attributes, path)
    if "bioformats2raw.layout" in attributes:
        return _read_converted(node, path)
    return _read_only_child(node, path, remark)


def _dimension_names(array: Any) -> str | None:
    """Axes that zarr 3 keeps with an array, if they are letters."""
    names = getattr(array.metadata, "dimension_names", None) or ()
    letters = "".join(str(name).upper() for name in names)
    is_named = len(letters) == array.ndim == len(set(letters)) and {"Y", "X"} <= set(letters)
    return letters if is_named else None


def _read_multiscales(
    group: Any, attributes: Mapping[str, Any], path: Path, remark: str
) -> ImageFile:
    """Open the full resolution of an OME-Zarr image."""
    image = attributes["multiscales"][0]
    level = image["datasets"][0]
    array = group[level["path"]]
    axes = [
        axis if isinstance(axis, dict) else {"name": axis} for axis in image.get("axes", [])
    ]
    letters = "".join(axis["name"][:1].upper() for axis in axes)
    if not axes and array.ndim == len(_OLD_AXES):
        letters = _OLD_AXES
    sizes = _pixel_sizes(image, level, array.ndim)
    units = [axis.get("unit", "") for axis in axes]
    channels = attributes.get("omero", group.attrs.get("omero", {})).get("channels", ())
    described = describe_array(
        array,
        letters or None,
        path.name,
        scale={axis: size for axis, size in zip(letters, sizes, strict=False) if size != 1},
        units={
            axis: UNIT_SYMBOLS.get(unit, unit)
            for axis, unit in zip(letters, units, strict=False)
            if unit
        },
        channel_names=[str(channel.get("label", "")) for channel in channels],
        remark=remark,
    )
    return replace(
        described, levels=tuple(group[each["path"]] for each in image["datasets"][1:])
    )


def _pixel_sizes(image: Mapping[str, Any], level: Mapping[str, Any], ndim: int) -> list[float]:
    """Multiply the scales of a level with those of all levels."""
    sizes = [1.0] * ndim
    for part in (level, image):
        for transformation in part.get("coordinateTransformations", ()):
            factors = transformation.get("scale", [1.0] * ndim)
            sizes = [size * factor for size, factor in zip(sizes, factors, strict=True)]
    return sizes


def _refuse_several(attributes: Mapping[str, Any], path: Path) -> None:
    """Raise ImageFormatError for a plate or a well, which hold many images."""
    if "plate" in attributes:
        wells = [well["path"] for well in attributes["plate"]["wells"]]
        example = path / wells[0] / "0" if wells else path
        raise ImageFormatError(
            f"{path} is a plate ({len(wells)} wells); give one field, such as {example}"
        )
    if "well" in attributes:
        fields = [field["path"] for field in attributes["well"]["images"]]
        raise ImageFormatError(
            f"{path} is a well with fields {', '.join(fields)}; give one, such as "
            f"{path / fields[0]}"
        )


def _read_converted(group: Any, path: Path) -> ImageFile:
    """Open the first image of a folder that bioformats2raw made."""
    names = group["OME"].attrs.get("series") if "OME" in group else None
    names = names or sorted((name for name in group if name.isdigit()), key=int)
    count = len(names)
    remark = f", image 1 of {count} (give {path / names[-1]} for the last)" if count > 1 else ""
    return _read_node(group[names[0]], path, remark)


def _read_only_child(group: Any, path: Path, remark: str) -> ImageFile:
    """Open the one image in a plain group, or in a group of label images."""
    names = sorted(group.keys())
    if not names:
        raise ImageFormatError(f"{path} holds no image; give a folder with a zarr array")
    if len(names) > 1:
        raise ImageFormatError(
            f"{path} holds {', '.join(names)}; give one of them, such as {path / names[0]}"
        )
    return _read_node(group[names[0]], path, remark)
