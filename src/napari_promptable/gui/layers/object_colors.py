"""Colours of objects: their own, and how some are hidden or stand out."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from napari.layers import Labels
from napari.utils import CyclicLabelColormap, DirectLabelColormap
from napari.utils.colormaps.standardize_color import transform_color

# fmt: off
OBJECT_COLORS = [
    "#00ff00", "#aa00ff", "#ff5500", "#00c2ff", "#dbff9e", "#ff2486", "#0061ff", "#ffff00",
    "#008600", "#00ffdb", "#926d00", "#db6dff", "#00ff79", "#249261", "#ce3d3d", "#9ef33d",
]
# fmt: on
"""Half-transparent, they differ from each other and from the image under them, on grey of any
brightness and on tissue stained pink and purple; the first ones differ most.
"""

_MAX_SMALL, _MAX_COLORS = 2**8 - 1, 2**16 - 2
"""Most colours, without the background's, of labels of 8 bits, and of more than 8: napari draws
labels of more than 16 bits modulo the number of colours, in 16 bits.
"""

NO_CLASS = "#bbbbbb"
"""Color of objects without a class, where objects are shown in their class's color."""

_DIMMED = 0.3  # opacity of the other objects while some are selected


def make_colormap() -> CyclicLabelColormap:
    """Make the colormap of a new labels layer for objects."""
    return CyclicLabelColormap(colors=transform_color(["transparent", *OBJECT_COLORS]))


class ObjectColors:
    """Hides some objects of a labels layer and lets others stand out, by its colormap.

    Parameters
    ----------
    layer : Labels
        Its own colormap returns as soon as no object is treated differently.

    Attributes
    ----------
    hidden : set of int
        Objects that the user has hidden.
    covered : set of int
        Objects that are hidden because their preview is shown instead.
    selected : set of int
        Objects that stand out: all others are dimmed.
    class_colors : dict of int to str
        Colors that objects have instead of their own.
    """

    def __init__(self, layer: Labels) -> None:
        self._layer = layer
        self._own: CyclicLabelColormap | DirectLabelColormap = layer.colormap
        self._ours: CyclicLabelColormap | None = None
        self.hidden: set[int] = set()
        self.covered: set[int] = set()
        self.selected: set[int] = set()
        self.class_colors: dict[int, str] = {}

    def set_class_colors(self, colors: Mapping[int, str]) -> None:
        """Show objects in these colors, and the others, or all if it is empty, in their own."""
        if self.class_colors != colors:
            self.class_colors = dict(colors)
            self._apply()

    def set_hidden(self, object_id: int, is_hidden: bool) -> None:
        """Hide an object, or show it again."""
        (self.hidden.add if is_hidden else self.hidden.discard)(object_id)
        self._apply()

    def cover(self, object_ids: Collection[int]) -> None:
        """Hide these objects, and no others, under their preview."""
        if self.covered != set(object_ids):
            self.covered = set(object_ids)
            self._apply()

    def select(self, object_ids: Collection[int]) -> None:
        """Let these objects stand out, and no others."""
        if self.selected != set(object_ids):
            self.selected = set(object_ids)
            self._apply()

    def restore(self) -> None:
        """Show all objects as the layer's own colormap does."""
        self.hidden, self.covered, self.selected = set(), set(), set()
        self.class_colors = {}
        self._apply()

    def _apply(self) -> None:
        if self._layer.colormap is not self._ours:  # the user may have chosen another
            self._own = self._layer.colormap
        if self.hidden or self.covered or self.selected or self.class_colors:
            self._ours = self._changed_colormap()
            self._layer.colormap = self._ours
        elif self._ours is not None:
            self._ours = None
            self._layer.colormap = self._own

    def _changed_colormap(self) -> CyclicLabelColormap:
        """Make a colour for each label. Unlike a direct colormap, it needs no compiler."""
        own = self._own
        is_small = self._layer.data.dtype.itemsize == 1
        cycle = len(own.colors) - 1 if isinstance(own, CyclicLabelColormap) else 1
        count = 1 + cycle * ((_MAX_SMALL if is_small else _MAX_COLORS) // cycle)
        labels = np.arange(count, dtype=np.uint8 if is_small else np.uint16)
        colors = np.array(own.map(labels))
        if self.class_colors:
            places = self._places(self.class_colors, len(colors))
            colors[places] = transform_color(list(self.class_colors.values()))
        if self.selected:
            strong = colors[self._places(self.selected, len(colors))]
            colors[:, 3] *= _DIMMED
            colors[self._places(self.selected, len(colors))] = strong
        colors[self._places(self.hidden | self.covered, len(colors)), 3] = 0
        return CyclicLabelColormap(colors=colors)

    @staticmethod
    def _places(object_ids: Collection[int], count: int) -> list[int]:
        """Places of objects in a cycle of so many colours, of which 0 is for the background."""
        return [(object_id - 1) % (count - 1) + 1 for object_id in object_ids]
