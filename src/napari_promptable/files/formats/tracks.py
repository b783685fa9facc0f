"""Objects of a time series as tracks: when each one is there, and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.formats.labelled_objects import LabelledObjects


@dataclass(frozen=True)
class Detection:
    """An object at one time.

    Attributes
    ----------
    object_id : int
        Its label.
    time : int
        Frame, counted from 0.
    center : tuple of float
        Centroid on the axes besides T, in pixels: (z, y, x) or (y, x).
    area : int
        Number of pixels.
    """

    object_id: int
    time: int
    center: tuple[float, ...]
    area: int


def require_time(objects: LabelledObjects, format_name: str) -> None:
    """Raise ImageFormatError unless the axes are TYX or TZYX."""
    if objects.axes not in ("TYX", "TZYX"):
        raise ImageFormatError(
            f"{format_name} is for time series with the axes TYX or TZYX, and these labels "
            f"have {objects.axes}; give the axes, or choose another format"
        )


def find_detections(objects: LabelledObjects) -> Iterator[Detection]:
    """Yield each object of each frame, frame by frame and in the order of ids."""
    for time in range(objects.labels.shape[0]):
        frame = np.asarray(objects.labels[time])
        ids, numbered = np.unique(frame, return_inverse=True)
        numbered = numbered.ravel()
        areas = np.bincount(numbered)
        centers = [
            np.bincount(numbered, weights=grid.ravel()) / areas
            for grid in np.indices(frame.shape, dtype=np.float32)
        ]
        for i, object_id in enumerate(ids.tolist()):
            if object_id:
                center = tuple(float(axis[i]) for axis in centers)
                yield Detection(object_id, time, center, int(areas[i]))
