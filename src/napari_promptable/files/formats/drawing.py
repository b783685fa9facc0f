"""A label image that is filled object by object."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import ImageFormatError
from napari_promptable.planes import Index


class LabelCanvas:
    """Labels to draw on. The first object on a pixel keeps it.

    Parameters
    ----------
    shape : tuple of int
        Shape of the labels, (..., Y, X).

    Attributes
    ----------
    labels : ndarray of uint32, shape `shape`
        What was drawn.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.labels = np.zeros(shape, np.uint32)

    def draw(
        self,
        object_id: int,
        index: Index,
        region: tuple[slice, slice],
        mask: npt.NDArray[np.bool_],
    ) -> None:
        """Draw an object on one plane.

        Parameters
        ----------
        object_id : int
            1 to 4,294,967,295.
        index : Index
            Position of the plane; positions on leading axes of length one may be missing.
        region : (slice, slice)
            Rows and columns of `mask` in the plane.
        mask : ndarray of bool
            Pixels of the object.

        Raises
        ------
        ImageFormatError
            If the id or the plane does not exist.
        """
        if not 0 < object_id <= np.iinfo(np.uint32).max:
            raise ImageFormatError(f"object id {object_id} is not between 1 and 4294967295")
        others = self.labels.shape[:-2]
        index = (0,) * (len(others) - len(index)) + index
        if len(index) > len(others) or any(
            not 0 <= i < n for i, n in zip(index, others, strict=True)
        ):
            raise ImageFormatError(
                f"object {object_id} lies on plane {index}, but the image has planes {others}; "
                "choose the image that these objects were drawn on"
            )
        plane = self.labels[index]
        height, width = plane[region].shape
        mask = mask[:height, :width]
        part = plane[region]
        part[mask & (part == 0)] = object_id
