"""Reading with the reader plugins that are installed for napari, through npe2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_promptable.errors import ImageFormatError
from napari_promptable.files.axes import CHANNEL, SAMPLES, guess_axes
from napari_promptable.files.image_file import ImageFile, describe_array


def read_with_plugins(path: Path) -> ImageFile:
    """Read a file with the first plugin that can.

    Parameters
    ----------
    path : Path
        A file of any format.

    Returns
    -------
    ImageFile
        The first image layer; several of one shape become channels.

    Raises
    ------
    ImageFormatError
        If no plugin reads it, or the plugin finds no image.
    """
    import npe2

    npe2.PluginManager.instance().discover()
    try:
        layers = npe2.read([path], stack=False)
    except Exception as error:  # a plugin may raise anything
        raise ImageFormatError(f"no reader plugin of napari opens {path} ({error})") from error
    images = [layer for layer in layers if len(layer) < 3 or layer[2] == "image"]
    if not images:
        raise ImageFormatError(f"the plugin that opens {path} finds no image in it")
    return _describe_layers(path, images)


def _describe_layers(path: Path, layers: list[Any]) -> ImageFile:
    """Make one image of the layers of one shape."""
    options = layers[0][1] if len(layers[0]) > 1 else {}
    arrays = [_full_resolution(layer[0], options) for layer in layers]
    arrays = [array for array in arrays if array.shape == arrays[0].shape]
    data, axes = arrays[0], _axes_of(arrays[0], options)
    names = [str(layer[1].get("name", "")) for layer in layers[: len(arrays)] if len(layer) > 1]
    if len(arrays) > 1 and CHANNEL not in axes:
        import dask.array

        data = dask.array.stack([dask.array.asarray(array) for array in arrays])
        axes = CHANNEL + axes
    spatial = [axis for axis in axes if axis not in (CHANNEL, SAMPLES)]
    scale = options.get("scale", ())
    units = [str(unit) for unit in options.get("units", ()) or ()]
    return describe_array(
        data,
        axes,
        path.name,
        scale=dict(zip(spatial, scale, strict=False)),
        units=dict(zip(spatial, units, strict=False)),
        channel_names=names if CHANNEL in axes else (),
        remark=" by a plugin",
    )


def _full_resolution(data: Any, options: dict[str, Any]) -> Any:
    """Largest level of a multiscale layer."""
    is_multiscale = options.get("multiscale", isinstance(data, list | tuple))
    return data[0] if is_multiscale else data


def _axes_of(data: Any, options: dict[str, Any]) -> str:
    """Axes as the layer's options tell them, else by the shape."""
    ndim = len(data.shape)
    channel_axis = options.get("channel_axis")
    labels = [str(label)[:1].upper() for label in options.get("axis_labels") or ()]
    if options.get("rgb") and len(labels) == ndim - 1:
        labels.append(SAMPLES)
    if len(set(labels)) == len(labels) == ndim and {"Y", "X"} <= set(labels):
        return "".join(labels)
    if channel_axis is None:
        return guess_axes(tuple(data.shape))
    place = channel_axis % ndim
    others = guess_axes((*data.shape[:place], *data.shape[place + 1 :]))
    return others[:place] + CHANNEL + others[place:]
