"""Prompts on some slices of a volume → labels of the whole volume."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import ImageFormatError, PromptError
from napari_promptable.predict.embeddings import ImageEmbedding, SizedCache
from napari_promptable.predict.segmenter import MemorySegmenter, Segmenter
from napari_promptable.progress import Progress
from napari_promptable.prompts import as_whole_number
from napari_promptable.propagation.anchors import SlicePrompts, answer_slices
from napari_promptable.propagation.chains import (
    Embed,
    PropagatedMask,
    propagate_masks,
)
from napari_promptable.propagation.gaps import Gap
from napari_promptable.propagation.memory_step import MemoryStep
from napari_promptable.propagation.prompt_step import PromptStep
from napari_promptable.propagation.settings import (
    DEFAULT_SETTINGS,
    PropagationSettings,
    StepKind,
    StopReason,
)
from napari_promptable.propagation.step import Step

_FIRST_ID, _LAST_ID = 1, np.iinfo(np.uint32).max


@dataclass(frozen=True, eq=False)
class PropagationResult:
    """Objects of a volume.

    Attributes
    ----------
    labels : ndarray of uint16 or uint32, shape (Z, Y, X)
        0 is background; objects keep their ids. Where masks overlap, the more confident one is
        on top; masks of prompted slices are above all others.
    confidence : dict of int to ndarray of float32, shape (Z,)
        By object id; NaN where the object is absent.
    stops : dict of int to dict of int to StopReason
        By object id and slice: why the chain ended there.
    """

    labels: npt.NDArray[np.unsignedinteger[Any]]
    confidence: dict[int, npt.NDArray[np.float32]]
    stops: dict[int, dict[int, StopReason]]


class VolumeMasks:
    """The masks of each object by slice. A later value replaces an earlier one."""

    def __init__(self) -> None:
        self._slices: dict[int, dict[int, PropagatedMask]] = {}

    def __iter__(self) -> Iterator[PropagatedMask]:
        for _, objects in sorted(self._slices.items()):
            yield from objects.values()

    def add(self, value: PropagatedMask) -> None:
        """Keep a value."""
        self._slices.setdefault(value.position, {})[value.object_id] = value

    def forget(self, gaps: Iterable[Gap]) -> None:
        """Drop the values in gaps that are about to be filled again."""
        for gap in gaps:
            for position in gap.slices:
                self._slices.get(position, {}).pop(gap.object_id, None)

    def on_slice(self, position: int) -> Mapping[int, PropagatedMask]:
        """Values of a slice by object id."""
        return self._slices.get(position, {})

    @property
    def positions(self) -> list[int]:
        """Slices with values, in order."""
        return sorted(self._slices)

    def ranked(self, position: int) -> list[PropagatedMask]:
        """Values of a slice in drawing order, the most confident last."""
        return sorted(self.on_slice(position).values(), key=_rank)

    def draw_labels(self, position: int, labels: npt.NDArray[Any]) -> None:
        """Draw the objects of a slice, the most confident on top.

        Parameters
        ----------
        position : int
            The slice.
        labels : ndarray of int, shape (H, W)
            The labels to draw on.
        """
        for value in self.ranked(position):
            if value.packed.region is not None:
                labels[value.packed.region][value.packed.crop()] = value.object_id

    def confidence(self, object_id: int, length: int) -> npt.NDArray[np.float32]:
        """Confidence of an object on each slice, ndarray of float32, shape (length,)."""
        confidence = np.full(length, np.nan, np.float32)
        for position, objects in self._slices.items():
            if object_id in objects:
                confidence[position] = objects[object_id].confidence
        return confidence

    def stops(self, object_id: int) -> dict[int, StopReason]:
        """Why chains of an object ended, by slice."""
        return {
            value.position: value.stop
            for value in self
            if value.object_id == object_id and value.stop is not None
        }


def _rank(value: PropagatedMask) -> tuple[bool, float, int]:
    """Drawing order: prompted masks last. Among equals, the lower id last."""
    confidence = value.confidence if value.is_present else -1.0
    return value.is_anchor, confidence, -value.object_id


def propagate(
    model: Segmenter,
    volume: Any,
    prompts: Mapping[int, SlicePrompts] | Mapping[int, Mapping[int, SlicePrompts]],
    settings: PropagationSettings | None = None,
    progress: Progress | None = None,
) -> PropagationResult:
    """Segment objects of a volume from prompts on some of its slices.

    Parameters
    ----------
    model : PromptableModel
        From `load_model`.
    volume : array of any kind, shape (Z, Y, X), (Z, Y, X, 3) or (Z, Y, X, 4)
        Any real dtype. Of zarr and dask arrays, only the slices that are needed are loaded. Z
        may be time.
    prompts : dict of int to PromptSet, or dict of int to dict of int to PromptSet
        Prompts of one object by slice, which gets the label 1; or prompts of many objects by
        object id and slice. The model answers them click by click, as in the widget.
        Background points alone say that the object is absent: propagation ends there.
    settings : PropagationSettings, optional
        Range, prompts and stop rules.
    progress : callable, optional
        Called with the numbers of finished and of all slices, counting each direction.

    Returns
    -------
    PropagationResult
        Labels of the whole volume, and their confidence.

    Raises
    ------
    ImageFormatError
        If the volume has another number of axes, or a slice cannot be encoded.
    PromptError
        If there are no prompts, a slice or an object id does not exist, no prompts of an object
        say where it is, or an object has no prompts within the range.
    """
    settings = DEFAULT_SETTINGS if settings is None else settings
    slices = volume if hasattr(volume, "shape") else np.asarray(volume)
    shape = _check_shape(tuple(slices.shape))
    objects = _by_object(prompts)
    check_prompts(objects, shape[0])
    embeddings: SizedCache[int, ImageEmbedding] = SizedCache()

    def embed(position: int) -> ImageEmbedding:
        return embeddings.get_or_make(
            position, lambda: model.encode(np.asarray(slices[position]))
        )

    masks = VolumeMasks()
    for value in propagate_prompts(
        model, embed, shape[0], objects, settings, progress=progress
    ):
        masks.add(value)
    labels = np.zeros(shape, np.uint16 if max(objects) < 2**16 else np.uint32)
    for position, plane in enumerate(labels):
        masks.draw_labels(position, plane)
    return PropagationResult(
        labels,
        {object_id: masks.confidence(object_id, shape[0]) for object_id in objects},
        {object_id: masks.stops(object_id) for object_id in objects},
    )


def propagate_prompts(
    model: Segmenter,
    embed: Embed,
    length: int,
    objects: Mapping[int, Mapping[int, SlicePrompts]],
    settings: PropagationSettings = DEFAULT_SETTINGS,
    *,
    changed: Mapping[int, Collection[int]] | None = None,
    progress: Progress | None = None,
) -> Iterator[PropagatedMask]:
    """Answer the prompts of objects, then carry the objects through a volume.

    Parameters
    ----------
    model : Segmenter
        Answers prompts.
    embed, length, settings, changed, progress
        As in `propagate_masks`.
    objects : dict of int to dict of int to PromptSet or PlanePrompts
        By object id and slice.

    Yields
    ------
    PropagatedMask
        As `propagate_masks` does.

    Raises
    ------
    PromptError
        As `choose_step`, `answer_slices` and `propagate_masks`.
    """
    step = choose_step(model, length, settings)
    anchors = answer_slices(model, step, embed, length, objects, settings)
    yield from propagate_masks(
        step, embed, length, anchors, settings, changed=changed, progress=progress
    )


def choose_step(model: Segmenter, length: int, settings: PropagationSettings) -> Step:
    """Choose how to move from slice to slice.

    Parameters
    ----------
    model : Segmenter
        The model.
    length : int
        Number of slices.
    settings : PropagationSettings
        Its `step` decides, or else whether the model has a memory.

    Returns
    -------
    Step
        By prompts, or by memory.

    Raises
    ------
    PromptError
        If the settings ask for a memory that the model does not have.
    """
    kind = settings.step
    has_memory = isinstance(model, MemorySegmenter) and model.has_memory
    if kind is StepKind.MEMORY and not has_memory:
        raise PromptError(
            "step 'memory' needs a model of SAM 2.1, whose names begin with sam2.1_hiera; "
            "choose one, or step 'prompts'"
        )
    if isinstance(model, MemorySegmenter) and has_memory and kind is not StepKind.PROMPTS:
        return MemoryStep(model, length, settings)
    return PromptStep(model, settings)


def _check_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Shape without the colour axis. Raises ImageFormatError if it is not a volume."""
    is_rgb = len(shape) == 4 and shape[-1] in (3, 4)
    if (len(shape) != 3 and not is_rgb) or 0 in shape:
        raise ImageFormatError(
            f"a volume of shape {shape} was given; it must be (Z, Y, X), or (Z, Y, X, 3) in "
            "colour, without an empty axis"
        )
    return shape[0], shape[1], shape[2]


def _by_object(
    prompts: Mapping[int, SlicePrompts] | Mapping[int, Mapping[int, SlicePrompts]],
) -> dict[int, dict[int, SlicePrompts]]:
    """Prompts by object id and slice, as integers. Raises PromptError if malformed."""
    many: Mapping[Any, Any] = prompts if isinstance(prompts, Mapping) else {}
    if many and all(isinstance(value, SlicePrompts) for value in many.values()):
        many = {_FIRST_ID: many}
    elif not many or not all(isinstance(value, Mapping) for value in many.values()):
        raise PromptError(
            "prompts must be {slice: PromptSet} for one object or {object id: {slice: "
            f"PromptSet}}}} for many, with at least one prompt, not {prompts!r}"
        )
    return {
        as_whole_number(object_id, "object id"): {
            as_whole_number(position, "slice"): asked for position, asked in at.items()
        }
        for object_id, at in many.items()
    }


def check_prompts(objects: Mapping[int, Mapping[int, SlicePrompts]], length: int) -> None:
    """Refuse ids and slices that do not exist, and prompts that cannot be answered."""
    for object_id, at in objects.items():
        if not _FIRST_ID <= object_id <= _LAST_ID:
            raise PromptError(
                f"object id {object_id} was given; ids are {_FIRST_ID} to {_LAST_ID}"
            )
        if not at:
            raise PromptError(
                f"object {object_id} has no prompts; give it some, or leave it out"
            )
        for position, asked in at.items():
            if not 0 <= position < length:
                raise PromptError(
                    f"object {object_id} has prompts on slice {position}; the volume has "
                    f"slices 0 to {length - 1}"
                )
            if not isinstance(asked, SlicePrompts):
                raise PromptError(
                    f"the prompts of object {object_id} on slice {position} must be a "
                    f"PromptSet, not {asked!r}"
                )
            if not asked.is_answerable and len(asked.points_yx) == 0:
                raise PromptError(
                    f"the prompts of object {object_id} on slice {position} are empty; give a "
                    "foreground point or a box, or a background point to say that it is absent"
                )
        if not any(asked.is_answerable for asked in at.values()):
            raise PromptError(
                f"the prompts of object {object_id} do not say where it is; give a PromptSet "
                "with a foreground point or a box on one slice"
            )
