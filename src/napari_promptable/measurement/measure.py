"""Measure the objects of a label image with scikit-image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from skimage.measure import regionprops_table

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.formats.labelled_objects import LabelledObjects, as_objects
from napari_promptable.planes import Index

if TYPE_CHECKING:
    import pandas as pd

_SHAPE_2D = (
    "area",
    "perimeter",
    "equivalent_diameter_area",
    "axis_major_length",
    "axis_minor_length",
    "eccentricity",
    "solidity",
)
_SHAPE_3D = ("area", "equivalent_diameter_area", "extent")
_INTENSITY = ("intensity_mean", "intensity_std", "intensity_min", "intensity_max")


def measure_objects(
    objects: LabelledObjects | npt.NDArray[Any],
    image: Any = None,
    channel_axis: int | None = None,
    per_slice: bool = False,
) -> pd.DataFrame:
    """Measure every object.

    Parameters
    ----------
    objects : LabelledObjects, or ndarray of int, shape (..., Y, X)
        Labels; those with axes, pixel sizes, classes and confidences are measured in these.
    image : array of any kind, or dict of str to such arrays, optional
        Where intensities are measured: the shape of the labels, with one more axis if there are
        channels. A dict holds channels by name, each of the labels' shape. Read block by block.
    channel_axis : int, optional
        The axis of `image` that holds the channels.
    per_slice : bool, default False
        Whether each plane of a stack is measured by itself; else an object is measured in 3D.

    Returns
    -------
    pandas.DataFrame
        A row for each object in each frame (or plane): `object_id`, `class`, a column for each
        axis that is not measured along, then sizes and shapes (lengths in the unit of
        `objects`, areas and volumes in its powers), `centroid_*` in the same unit,
        `confidence` (the lowest over the slices, NaN where it is not known), and
        `intensity_*`, followed by the channel's name, or its number if there are several.

    Raises
    ------
    ImageFormatError
        If image and labels do not have the same shape.

    Examples
    --------
    >>> labels = np.zeros((6, 8), int)
    >>> labels[1:4, 2:7] = 3
    >>> table = measure_objects(LabelledObjects(labels, "YX", (0.5, 0.5), "micrometer"))
    >>> table.loc[0, ["area", "centroid_y"]].tolist()
    [3.75, 1.0]
    """
    import pandas as pd

    objects = as_objects(objects)
    channels = _split_channels(image, channel_axis, tuple(objects.labels.shape))
    tables = [
        _measure_block(objects, index, num_spatial, channels)
        for index, num_spatial in _blocks(objects, per_slice)
    ]
    filled = [table for table in tables if len(table)]
    return pd.concat(filled or tables[:1], ignore_index=True)


@dataclass(frozen=True, eq=False)
class _Channel:
    """One channel of an image, read block by block.

    Attributes
    ----------
    name : str
        How its columns end; empty for the only channel.
    image : array of any kind
        The image.
    axis : int or None
        The axis of the channels; None if there is none.
    number : int
        Position on this axis.
    """

    name: str
    image: Any
    axis: int | None = None
    number: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape without the channel axis."""
        shape = list(self.image.shape)
        if self.axis is not None:
            del shape[self.axis]
        return tuple(shape)

    def read(self, index: Index) -> npt.NDArray[np.generic]:
        """Read the block at a position on the first axes."""
        region: list[int | slice] = [slice(None)] * len(self.shape)
        region[: len(index)] = index
        if self.axis is not None:
            region.insert(self.axis, self.number)
        return np.asarray(self.image[tuple(region)])


def _split_channels(
    image: Any, channel_axis: int | None, shape: tuple[int, ...]
) -> list[_Channel]:
    """List the channels of the image. Each has the labels' shape."""
    if image is None:
        return []
    if isinstance(image, Mapping):
        channels = [_Channel(name, each) for name, each in image.items()]
    elif channel_axis is None:
        channels = [_Channel("", image)]
    else:
        axis = channel_axis % len(image.shape)
        count = image.shape[axis]
        channels = [
            _Channel(str(number) if count > 1 else "", image, axis, number)
            for number in range(count)
        ]
    for channel in channels:
        if channel.shape != shape:
            given = f"{tuple(channel.image.shape)}" + (
                "" if channel_axis is None else f" with channels on axis {channel_axis}"
            )
            raise ImageFormatError(
                f"the image has the shape {given} and the labels have {shape}; give the image "
                "that the labels were made on, and its channel axis if there is one"
            )
    return channels


def _blocks(objects: LabelledObjects, per_slice: bool) -> Iterator[tuple[Index, int]]:
    """Yield position and number of spatial axes of each block to measure."""
    is_volume = "Z" in objects.axes[-3:-2] and not per_slice
    num_spatial = 3 if is_volume else 2
    for index in np.ndindex(*objects.labels.shape[:-num_spatial]):
        yield index, num_spatial


def _measure_block(
    objects: LabelledObjects,
    index: Index,
    num_spatial: int,
    channels: list[_Channel],
) -> pd.DataFrame:
    import pandas as pd

    labels = np.asarray(objects.labels[index])
    ids, numbered = np.unique(labels, return_inverse=True)
    numbered = numbered.reshape(labels.shape) + (ids[0] != 0)
    values = np.stack([channel.read(index) for channel in channels], -1) if channels else None
    shape_names = _SHAPE_2D if num_spatial == 2 else _SHAPE_3D
    table = pd.DataFrame(
        regionprops_table(
            numbered,
            values,
            properties=(
                "label",
                "num_pixels",
                *shape_names,
                "centroid",
                *(_INTENSITY if channels else ()),
            ),
            spacing=objects.scale[-num_spatial:],
        )
    )
    table["label"] = ids[ids != 0]
    table = table.rename(columns=_column_names(objects.axes[-num_spatial:], channels))
    for place, (axis, position) in enumerate(
        zip(objects.axes[:-num_spatial], index, strict=True), start=1
    ):
        table.insert(place, axis.lower(), position)
    object_ids = table["object_id"].tolist()
    table.insert(1, "class", [objects.class_of(object_id) for object_id in object_ids])
    lowest = _lowest_confidence(objects, len(index))
    table["confidence"] = [lowest.get((i, index), float("nan")) for i in object_ids]
    return table


def _column_names(axes: str, channels: list[_Channel]) -> dict[str, str]:
    """Map scikit-image's names to ours: axes by letter, channels by name."""
    names = {"label": "object_id"}
    names |= {f"centroid-{i}": f"centroid_{axis.lower()}" for i, axis in enumerate(axes)}
    if len(axes) == 3:
        names["area"] = "volume"
    for i, channel in enumerate(channels):
        ending = f"_{channel.name}" if channel.name else ""
        names |= {f"{name}-{i}": f"{name}{ending}" for name in _INTENSITY}
    return names


def _lowest_confidence(
    objects: LabelledObjects, num_others: int
) -> dict[tuple[int, Index], float]:
    """Map object and position of the block to the lowest confidence on the block's planes."""
    lowest: dict[tuple[int, Index], float] = {}
    for (object_id, plane), value in objects.confidence.items():
        key = object_id, plane[:num_others]
        lowest[key] = min(value, lowest.get(key, value))
    return lowest
