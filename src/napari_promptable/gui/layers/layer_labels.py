"""Labels layers as arrays that objects are written to."""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np
import numpy.typing as npt
from napari.layers import Labels, Layer

from napari_promptable.errors import LabelError
from napari_promptable.gui.layers.label_pyramid import LabelPyramid
from napari_promptable.planes import PlaneAxes

_ARRAY_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    IndexError,
    NotImplementedError,
    RuntimeError,
)
"""What arrays raise where they cannot be read or written."""


def is_labels_layer_for(layer: Layer, planes: PlaneAxes) -> bool:
    """Whether objects of an image can be committed to this layer."""
    return (
        isinstance(layer, Labels)
        and has_labels_of(layer, planes)
        and all(map(is_writable, levels_of(layer)))
    )


def has_labels_of(layer: Labels, planes: PlaneAxes) -> bool:
    """Whether a labels layer holds integers of an image's shape.

    napari keeps whatever a script assigns as a layer's data, even if it cannot show it.
    """
    return shape_of(layer) == planes.shape and all(map(_has_integers, levels_of(layer)))


def levels_of(layer: Labels) -> list[Any]:
    """Arrays of a labels layer, the full resolution first."""
    return list(layer.data) if layer.multiscale else [layer.data]


def shape_of(layer: Labels) -> tuple[int, ...]:
    """Shape of a labels layer at full resolution, or () if a script made its data no array."""
    return tuple(getattr(levels_of(layer)[0], "shape", ()))


def array_of(layer: Labels) -> Any:
    """Return a labels layer's array at full resolution. Lower ones follow what is written."""
    return LabelPyramid(layer.data) if layer.multiscale else layer.data


def _has_integers(data: Any) -> bool:
    """Whether an array holds integers or booleans, and no Python objects."""
    return np.dtype(getattr(data, "dtype", object)).kind in "iub"


def is_writable(data: Any) -> bool:
    """Whether an array can be written in place, as far as it tells.

    Parameters
    ----------
    data : array of any kind
        NumPy arrays and memory maps tell by their flags, zarr arrays by `read_only`, HDF5 data
        sets by the mode of their file. Dask arrays never can: writing makes another graph.

    Returns
    -------
    bool
        False if writing would fail.
    """
    if not hasattr(data, "__setitem__") or hasattr(data, "__dask_graph__"):
        return False
    if isinstance(data, np.ndarray):
        return bool(data.flags.writeable)
    if getattr(data, "read_only", False):
        return False
    return bool(getattr(getattr(data, "file", None), "mode", "r+") != "r")


def highest_id(layer: Labels) -> int:
    """Return the highest id in a labels layer, or 0 if it is empty or not in memory."""
    return int(layer.data.max(initial=0)) if is_in_memory(layer) else 0


def is_in_memory(layer: Labels) -> bool:
    """Whether the labels are held in memory."""
    return isinstance(layer.data, np.ndarray) and not isinstance(layer.data, np.memmap)


class LayerLabels:
    """A labels layer as the array that commits are written to.

    Parameters
    ----------
    layer : Labels
        Of any integer dtype; its array is written in place. The reference is weak, so that a
        session that outlives its job does not keep a removed layer in memory.

    Raises
    ------
    LabelError
        By each access, if the layer is gone, has data of another shape than at first, or its
        array cannot be read or written.
    """

    def __init__(self, layer: Labels) -> None:
        self._layer, self._shape = ref(layer), shape_of(layer)

    @property
    def layer(self) -> Labels:
        """The layer. Raises LabelError if it is gone or holds no such labels any more."""
        layer = self._layer()
        if layer is None:
            raise LabelError("the labels layer was removed; choose another one")
        if shape_of(layer) != self._shape or not all(map(_has_integers, levels_of(layer))):
            raise LabelError(
                f'"{layer.name}" no longer holds labels of shape {self._shape}; choose another '
                "labels layer, or a new one"
            )
        return layer

    @property
    def dtype(self) -> np.dtype[Any]:
        """Integer dtype of the layer's data."""
        dtype: np.dtype[Any] = np.dtype(levels_of(self.layer)[0].dtype)
        return dtype

    def __getitem__(self, region: Any) -> npt.NDArray[np.integer[Any]]:
        """Read a region."""
        layer = self.layer
        try:
            return np.asarray(array_of(layer)[region])
        except _ARRAY_ERRORS as error:
            raise LabelError(
                f'the labels layer "{layer.name}" cannot be read ({error}); choose another one'
            ) from error

    def __setitem__(self, region: Any, values: Any) -> None:
        """Write a region. The caller refreshes the layer."""
        layer = self.layer
        try:
            array_of(layer)[region] = values
        except _ARRAY_ERRORS as error:
            raise LabelError(
                f'the labels layer "{layer.name}" cannot be written ({error}); choose another '
                "labels layer, or a new one"
            ) from error
