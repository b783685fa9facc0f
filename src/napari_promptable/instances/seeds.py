"""From the regions of a view to prompts, one set per object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_promptable.instances.regions import Regions, divide_into_regions
from napari_promptable.instances.views import View
from napari_promptable.masks import BoolArray, interior_point_yx
from napari_promptable.prompts import PromptSet

MAP_STRIDE = 2  # input pixels per map pixel

_MIN_REGION = 9  # map pixels
_CLAIM = 2.0  # input pixels beyond its core that a view claims, so that no centre is lost

Box = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Seed:
    """One object as the maps of a view show it.

    Attributes
    ----------
    view : View
        Where it was seen.
    regions : Regions
        All objects of the view.
    number : int
        Its label in `regions`.
    box : (slice, slice)
        Rows and columns of its region, in map pixels.
    point_yx : ndarray of float, shape (2,)
        A position inside it, in pixels of the view's part of the image.
    """

    view: View
    regions: Regions
    number: int
    box: Box
    point_yx: npt.NDArray[np.float64]

    @property
    def prompts(self) -> PromptSet:
        """Point and box in pixels of the view's part of the image."""
        size = np.array(self.view.embedding.original_size)
        scale = MAP_STRIDE / self.view.zoom_yx
        low = np.array([part.start for part in self.box]) * scale
        high = np.array([part.stop for part in self.box]) * scale - 1
        box = np.clip([low, np.maximum(low, high)], 0, size - 1).ravel()
        return PromptSet([np.clip(self.point_yx, 0, size - 1)], box_yxyx=box)

    @property
    def point_in_image(self) -> npt.NDArray[np.float64]:
        """A position inside the object, in pixels of the image."""
        return self.point_yx + self.view.corner

    def prompts_in_image(self) -> PromptSet:
        """Point and box in pixels of the image."""
        here, corner = self.prompts, np.array(self.view.corner, np.float32)
        assert here.box_yxyx is not None
        return PromptSet(here.points_yx + corner, box_yxyx=here.box_yxyx + np.tile(corner, 2))

    def region_on(self, grid: tuple[int, int], image_size: tuple[int, int]) -> BoolArray:
        """Draw the region on a grid that covers the image, ndarray of bool, shape `grid`."""
        region = np.zeros(grid, bool)
        wanted = []
        for axis, (cells, length) in enumerate(zip(grid, image_size, strict=True)):
            centres = (np.arange(cells) + 0.5) * length / cells - self.view.corner[axis]
            rows = np.floor(centres * self.view.zoom_yx[axis] / MAP_STRIDE).astype(int)
            inside = (rows >= self.box[axis].start) & (rows < self.box[axis].stop)
            wanted.append((np.flatnonzero(inside), rows[inside]))
        (to_rows, rows), (to_columns, columns) = wanted
        region[np.ix_(to_rows, to_columns)] = (
            self.regions.labels[np.ix_(rows, columns)] == self.number
        )
        return region


def find_seeds(view: View) -> Iterator[Seed]:
    """Find the objects whose centres lie in the core of a view.

    Parameters
    ----------
    view : View
        With maps.

    Yields
    ------
    Seed
        One per object.
    """
    regions = divide_into_regions(view.maps, view.diameters)
    scale = MAP_STRIDE / view.zoom_yx
    low, high = np.reshape(view.core_yxyx, (2, 2)) + np.outer(
        [-_CLAIM, _CLAIM], 1 / view.zoom_yx
    )
    for number, box in enumerate(ndimage.find_objects(regions.labels), start=1):
        if box is None or np.count_nonzero(regions.labels[box] == number) < _MIN_REGION:
            continue
        centre = (regions.centres_yx[number - 1] + 0.5) * scale - 0.5 + view.corner
        if ((centre >= low) & (centre < high)).all():
            point = (_inner_point(regions, number, box) + 0.5) * scale - 0.5
            yield Seed(view, regions, number, box, point)


def _inner_point(regions: Regions, number: int, box: Box) -> npt.NDArray[np.float64]:
    """Row and column of a region's centre, or of its innermost pixel if that lies outside."""
    row, column = regions.centres_yx[number - 1]
    inner = np.array([row, column], float)
    if regions.labels[row, column] != number:
        inner[:] = interior_point_yx(regions.labels[box] == number)
        inner += [part.start for part in box]
    return inner
