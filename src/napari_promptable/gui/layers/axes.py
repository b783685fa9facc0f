"""Which axes of an image are z, time or channels, judged by their names and lengths."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from itertools import combinations

from napari.components import Dims
from napari.layers import Image

from napari_promptable.planes import Channel, PlaneAxes

_MAX_CHANNELS = 6  # a longer axis without a name is z or time rather than channels
_RGB_NAMES = ("red", "green", "blue")


class AxisKind(Enum):
    """Meaning of an axis."""

    Z = "z"
    TIME = "time"
    CHANNEL = "channel"
    UNKNOWN = "unknown"


_KINDS = {
    AxisKind.Z: {"z", "depth", "plane", "planes", "slice", "slices", "section"},
    AxisKind.TIME: {"t", "time", "frame", "frames"},
    AxisKind.CHANNEL: {"c", "ch", "channel", "channels", "wavelength", "lambda", "λ"},
}


def kind_of(name: str) -> AxisKind:
    """Tell the meaning of an axis by its name.

    Examples
    --------
    >>> kind_of("Z"), kind_of("Channel"), kind_of("-3")
    (<AxisKind.Z: 'z'>, <AxisKind.CHANNEL: 'channel'>, <AxisKind.UNKNOWN: 'unknown'>)
    """
    word = name.strip().lower()
    return next((kind for kind, names in _KINDS.items() if word in names), AxisKind.UNKNOWN)


def axis_names(layer: Image, dims: Dims) -> tuple[str, ...]:
    """Name the axes of a layer, by the viewer's names where it only numbers them."""
    of_viewer = dims.axis_labels[-layer.ndim :]
    return tuple(
        shown if _is_number(own) else own
        for own, shown in zip(layer.axis_labels, of_viewer, strict=True)
    )


def _is_number(name: str) -> bool:
    return name.lstrip("-").isdecimal()


def channel_axes(names: Sequence[str], planes: PlaneAxes) -> list[int]:
    """Find the axes that can be channels: named so or, if none is, short and without a name."""
    axes = [axis for axis in planes.other_axes if planes.shape[axis] > 1]
    named = [axis for axis in axes if kind_of(names[axis]) is AxisKind.CHANNEL]
    return named or [
        axis
        for axis in axes
        if kind_of(names[axis]) is AxisKind.UNKNOWN and planes.shape[axis] <= _MAX_CHANNELS
    ]


def propagation_axes(names: Sequence[str], planes: PlaneAxes) -> list[int]:
    """Find the axes that objects can be propagated along.

    Returns
    -------
    list of int
        All axes outside the plane that are longer than 1 and not named as channels. The best
        comes first: z, then time, then axes that are too long for channels, the last one first.
    """

    def rank(axis: int) -> tuple[int, int]:
        kind = kind_of(names[axis])
        if kind is AxisKind.UNKNOWN:
            return (3 if axis in channel_axes(names, planes) else 2), -axis
        return (0 if kind is AxisKind.Z else 1), -axis

    axes = [axis for axis in planes.other_axes if planes.shape[axis] > 1]
    return sorted((i for i in axes if kind_of(names[i]) is not AxisKind.CHANNEL), key=rank)


def channel_choices(
    layer: Image, planes: PlaneAxes, names: Sequence[str] | None = None
) -> list[tuple[str, Channel | None]]:
    """Name what a model can be shown: the plane in view, one channel, or three as RGB.

    Parameters
    ----------
    layer : Image
        The image.
    planes : PlaneAxes
        How it is cut into planes.
    names : sequence of str, optional
        From `axis_names`; by default the layer's names.

    Returns
    -------
    list of (str, Channel or None)
        Texts and values; None is the plane in view.
    """
    if layer.rgb:
        axis = len(planes.shape)
        colours = [(name, Channel(axis, (k,))) for k, name in enumerate(_RGB_NAMES)]
        return [("all", None), *colours]
    names = layer.axis_labels if names is None else names
    axes = channel_axes(names, planes)
    choices: list[tuple[str, Channel | None]] = [("as shown", None)]
    for axis in axes:
        count = planes.shape[axis]
        where = f" (axis {names[axis]})" if len(axes) > 1 else ""
        choices += [
            (f"channel {k + 1} of {count}{where}", Channel(axis, (k,))) for k in range(count)
        ]
        choices += [
            (
                f"channels {', '.join(str(k + 1) for k in some)} as RGB{where}",
                Channel(axis, some),
            )
            for some in combinations(range(count), min(count, 3))
        ]
    return choices
