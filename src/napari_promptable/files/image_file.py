"""An image as its file describes it: pixels, axes, scale, channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from napari_promptable.errors import ImageFormatError, PromptError
from napari_promptable.fields import INPUT_SIDE, Field, FieldRule
from napari_promptable.files.axes import (
    CHANNEL,
    MAX_AXES,
    SAMPLES,
    UNIT_WORDS,
    check_axes,
    fits,
    guess_axes,
)
from napari_promptable.files.lazy_view import fix_axis, in_file, move_to_end
from napari_promptable.plane_source import PlaneSource, levels_by_step
from napari_promptable.planes import PlaneAxes


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image and what its file says about it.

    Attributes
    ----------
    data : array of any kind
        The pixels; perhaps not read yet.
    axes : str
        A letter for each axis: T time, C channel, Z, Y, X, others unnamed stacks; S, last in
        an opened image, holds the 3 or 4 colours of RGB.
    name : str
        File name, for people.
    sentence : str
        How the file was read, such as "read as ZCYX, 4 channels, using channel 0".
    scale, units : dict of str to float and str
        Size of a pixel along an axis, and its unit, where the file has them.
    channel_names : tuple of str
        Names of the channels, or ().
    levels : tuple of array of any kind
        The same pixels at lower resolutions, if the file has them, with the axes of `data`.
    """

    data: Any
    axes: str
    name: str
    sentence: str
    scale: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    levels: tuple[Any, ...] = ()

    @property
    def description(self) -> str:
        """Name and sentence, to be shown to the user."""
        return f"{self.name}: {self.sentence}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape without the RGB axis."""
        return tuple(self.data.shape[: len(self.axes.removesuffix(SAMPLES))])

    @property
    def planes(self) -> PlaneAxes:
        """How the image is cut into planes of rows and columns."""
        rows, columns = sorted((self.axes.index("Y"), self.axes.index("X")))
        return PlaneAxes(self.shape, (rows, columns))

    @property
    def levels_by_step(self) -> dict[int, Any]:
        """Lower resolutions by step. See `napari_promptable.plane_source.levels_by_step`."""
        return levels_by_step([self.data, *self.levels], self.planes.axes)

    @property
    def source(self) -> PlaneSource:
        """Reads planes and fields, at lower resolutions from the file's own levels."""
        return PlaneSource(self.data, self.planes, levels=self.levels_by_step)

    @property
    def overview(self) -> Field | None:
        """Field in which models see whole planes of a pyramid. None is all their pixels."""
        steps = (1, *sorted(self.levels_by_step))
        return FieldRule(self.planes.plane_shape, INPUT_SIDE, steps).whole()

    @property
    def num_channels(self) -> int:
        """Length of the channel axis, or 1 without one."""
        return self.data.shape[self.axes.index(CHANNEL)] if CHANNEL in self.axes else 1

    def unit_word(self, axis: str) -> str:
        """Unit of an axis in a full word, such as "micrometer", or "pixel" if it is unknown."""
        unit = self.units.get(axis, "pixel")
        return UNIT_WORDS.get(unit, unit)

    def renamed(self, axes: str) -> ImageFile:
        """Use the axes that a user names. Raises ImageFormatError if they do not fit."""
        axes = check_axes(axes, tuple(self.data.shape))
        return replace(
            describe_array(self.data, axes, self.name),
            scale=self.scale,
            units=self.units,
            channel_names=self.channel_names,
            levels=self.levels,
        )

    def with_errors_named(self) -> ImageFile:
        """Raise ImageFormatError where a part that is read later is damaged."""
        return replace(
            self,
            data=in_file(self.data, self.name),
            levels=tuple(in_file(level, self.name) for level in self.levels),
        )

    def with_samples_last(self) -> ImageFile:
        """Move the RGB axis to the end."""
        if SAMPLES not in self.axes:
            return self
        number = self.axes.index(SAMPLES)
        return replace(
            self,
            data=move_to_end(self.data, number),
            levels=tuple(move_to_end(level, number) for level in self.levels),
            axes=self.axes.replace(SAMPLES, "") + SAMPLES,
        )

    def at_channel(self, channel: int) -> ImageFile:
        """Keep one channel only, or the image itself if it has no channel axis.

        Raises
        ------
        ImageFormatError
            If there is no such channel.
        """
        count = self.num_channels
        if not 0 <= channel < count:
            raise ImageFormatError(
                f"channel {channel} was asked for, but {self.name} was {self.sentence} and has "
                f"channels 0 to {count - 1}"
            )
        if CHANNEL not in self.axes:
            return self
        label = f" ({self.channel_names[channel]})" if channel < len(self.channel_names) else ""
        sentence = f"{self.sentence}, {count} channels, using channel {channel}{label}"
        return replace(self._fixed(CHANNEL, channel), sentence=sentence)

    def fitted(
        self, shape: tuple[int, ...], layer_name: str = "", channel: int | None = None
    ) -> ImageFile:
        """Find the view of the file that prompts were made on.

        Parameters
        ----------
        shape : tuple of int
            Shape of the prompts' image, without an RGB axis.
        layer_name : str
            Name of the prompts' image; it may name a channel.
        channel : int, optional
            Use this channel.

        Returns
        -------
        ImageFile
            With this shape: all of the file, or without axes of length 1, or one channel.

        Raises
        ------
        PromptError
            If no view has this shape.
        ImageFormatError
            If there is no such channel.
        """
        if channel is None:
            views = [self, self.at_channel(self._channel_named(layer_name))]
        else:
            views = [self.at_channel(channel)]
        for view in (one for whole in views for one in whole._without_single_planes()):
            if view.shape == shape:
                return view
        raise PromptError(
            f"the prompts are for an image of shape {shape}, but {self.name} has "
            f"{views[-1].shape} ({views[-1].sentence}); give the image that they were made on, "
            "or name its axes with --axes"
        )

    def as_stack(self) -> ImageFile:
        """Drop axes of length 1 where there is more than one besides the plane's.

        bioformats2raw, for one, writes T, C and Z of every image.
        """
        *_, reduced = self._without_single_planes()
        return self if len(self.shape) <= 3 else reduced

    def _channel_named(self, layer_name: str) -> int:
        """Find a layer's channel by its name, or by "[n]" at the end as napari adds it."""
        for number in range(self.num_channels):
            names = (*self.channel_names[number : number + 1], f"[{number}]")
            if any(name and layer_name.endswith(name) for name in names):
                return number
        return 0

    def _without_single_planes(self) -> Iterator[ImageFile]:
        """Yield the image, then without its stack axes of length 1."""
        yield self
        image = self
        for axis, length in zip(self.axes, self.shape, strict=False):
            if length == 1 and axis not in "YX":
                image = image._fixed(axis, 0)
        yield image

    def _fixed(self, axis: str, position: int) -> ImageFile:
        """Drop an axis by fixing it at a position."""
        number = self.axes.index(axis)
        return replace(
            self,
            data=fix_axis(self.data, number, position),
            levels=tuple(fix_axis(level, number, position) for level in self.levels),
            axes=self.axes.replace(axis, ""),
        )


def describe_array(
    data: Any,
    axes: str | None,
    name: str,
    *,
    scale: Mapping[str, float] | None = None,
    units: Mapping[str, str] | None = None,
    channel_names: Sequence[str] = (),
    remark: str = "",
) -> ImageFile:
    """Describe an array that was read from a file.

    Parameters
    ----------
    data : array of any kind
        The pixels.
    axes : str or None
        A letter for each axis, in any order. None guesses them from the shape, and so do
        letters that do not fit it. S that is not 3 or 4 long holds channels.
    name : str
        File name, for people.
    scale, units, channel_names
        See `ImageFile`.
    remark : str
        What else a user should know about how the file was read.

    Returns
    -------
    ImageFile
        With the axes in the file's order.

    Raises
    ------
    ImageFormatError
        If it is not an image.
    """
    shape = tuple(data.shape)
    if 0 in shape or not 2 <= len(shape) <= MAX_AXES:
        raise ImageFormatError(
            f"{name} has shape {shape}; an image needs 2 to {MAX_AXES} axes, and pixels"
        )
    is_own = axes is not None and fits(axes, shape)
    found = axes if axes is not None and is_own else guess_axes(shape)
    if SAMPLES in found and shape[found.index(SAMPLES)] not in (3, 4):
        found = found.replace(SAMPLES, CHANNEL)
    sentence = f"read as {found}"
    if not is_own and (axes or len(shape) > 2):
        sentence += " by its shape"
    if axes and not is_own:
        sentence += f", which its axes {axes} do not fit"
    sentence += remark
    return ImageFile(
        data, found, name, sentence, scale or {}, units or {}, tuple(channel_names)
    )
