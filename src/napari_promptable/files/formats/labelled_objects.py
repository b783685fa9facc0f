"""Labels together with the facts about their objects that other programs keep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_promptable.errors import ImageFormatError
from napari_promptable.planes import Index, PlaneAxes

Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""


def hex_to_rgb(color: str) -> Color:
    """Read a color such as "#e69f00"."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue


def rgb_to_hex(color: Color) -> str:
    """Write a color as "#rrggbb"."""
    return f"#{bytes(color).hex()}"


DEFAULT_CLASS = "object"
_DEFAULT_AXES = "CTZYX"
_DEFAULT_COLOR: Color = (255, 200, 0)


@dataclass(frozen=True, eq=False)
class LabelledObjects:
    """A label image and the facts about its objects.

    Attributes
    ----------
    labels : array of int of any kind, shape (..., Y, X)
        0 is background. Read plane by plane.
    axes : str
        A letter for each axis of `labels`, such as "TZYX"; ends in "YX".
    scale : tuple of float
        Size of a pixel along each axis, in `unit` (seconds for T).
    unit : str
        Unit of length of `scale`.
    image_name : str
        File name of the image that was segmented.
    class_names : mapping of int to str
        Class of an object; those that are missing are of the class "object".
    class_colors : mapping of str to Color
        Color of a class.
    confidence : mapping of (int, Index) to float
        Predicted IoU of an object on a plane, 0 to 1, where it is known.
    """

    labels: Any
    axes: str = ""
    scale: tuple[float, ...] = ()
    unit: str = "pixel"
    image_name: str = ""
    class_names: Mapping[int, str] = field(default_factory=dict)
    class_colors: Mapping[str, Color] = field(default_factory=dict)
    confidence: Mapping[tuple[int, Index], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        num_axes = len(self.labels.shape)
        if not 2 <= num_axes <= len(_DEFAULT_AXES):
            raise ImageFormatError(
                f"labels have the shape {tuple(self.labels.shape)}; give an array of 2 to "
                f"{len(_DEFAULT_AXES)} axes, rows and columns last"
            )
        if not self.axes:
            object.__setattr__(self, "axes", _DEFAULT_AXES[-num_axes:])
        if len(self.axes) != num_axes or not self.axes.endswith("YX"):
            raise ImageFormatError(
                f"axes {self.axes!r} do not fit labels of the shape "
                f"{tuple(self.labels.shape)}; name each axis by a letter, Y and X last"
            )
        if not self.scale:
            object.__setattr__(self, "scale", (1.0,) * num_axes)

    @property
    def planes(self) -> PlaneAxes:
        """How the labels are cut into planes."""
        shape = tuple(self.labels.shape)
        return PlaneAxes(shape, (len(shape) - 2, len(shape) - 1))

    def class_of(self, object_id: int) -> str:
        """Name of an object's class."""
        return self.class_names.get(object_id) or DEFAULT_CLASS

    def color_of(self, object_id: int) -> Color:
        """Color of an object's class."""
        return self.class_colors.get(self.class_of(object_id), _DEFAULT_COLOR)

    def position(self, index: Index) -> dict[str, int]:
        """Map the axis letters that are not in the plane to positions, such as {"Z": 3}."""
        return dict(zip(self.axes[:-2], index, strict=True))

    def find_ids(self) -> list[int]:
        """Ids of all objects in ascending order. Reads all pixels."""
        ids: set[int] = set()
        for index in self.planes.indices():
            ids.update(np.unique(np.asarray(self.labels[index])).tolist())
        return sorted(ids - {0})

    def slices(self) -> Iterator[ObjectSlice]:
        """Yield each object of each plane, in the order of planes and ids."""
        for index in self.planes.indices():
            plane = np.asarray(self.labels[self.planes.region(index)])
            yield from _slices_of_plane(plane, index)


@dataclass(frozen=True, eq=False)
class ObjectSlice:
    """An object on one plane.

    Attributes
    ----------
    object_id : int
        Its label.
    index : Index
        Position of the plane on the other axes.
    origin : (int, int)
        First row and first column of the bounding box.
    mask : ndarray of bool, shape (height, width)
        Pixels of the object in its bounding box.
    """

    object_id: int
    index: Index
    origin: tuple[int, int]
    mask: npt.NDArray[np.bool_]

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.mask))


def _slices_of_plane(
    plane: npt.NDArray[np.integer[Any]], index: Index
) -> Iterator[ObjectSlice]:
    """Find the objects of one plane. Ids may be large, so they are numbered first."""
    ids, numbered = np.unique(plane, return_inverse=True)
    numbered = numbered.reshape(plane.shape)
    if ids[0] == 0:
        ids = ids[1:]
    else:
        numbered = numbered + 1
    for number, (object_id, region) in enumerate(
        zip(ids, ndimage.find_objects(numbered), strict=True), start=1
    ):
        rows, columns = region
        origin = (int(rows.start), int(columns.start))
        yield ObjectSlice(int(object_id), index, origin, numbered[region] == number)


def as_objects(labels: Any) -> LabelledObjects:
    """Take an array for labels about which nothing else is known."""
    return labels if isinstance(labels, LabelledObjects) else LabelledObjects(labels)
