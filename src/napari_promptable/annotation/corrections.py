"""Masks that clicks correct, which no tool layer shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from napari_promptable.annotation.labels import ObjectLabels
from napari_promptable.annotation.prompt_edits import PromptsByPlane
from napari_promptable.annotation.records import Key
from napari_promptable.field_prompts import with_field
from napari_promptable.fields import draw_in
from napari_promptable.planes import Index
from napari_promptable.prompts import PlanePrompts


def with_masks(
    planes: PromptsByPlane, former: PromptsByPlane, labels: ObjectLabels, object_id: int
) -> dict[Index, PlanePrompts]:
    """Add the masks that are being corrected to prompts from tool layers.

    Parameters
    ----------
    planes : dict of Index to PlanePrompts
        An object's prompts as the tool layers show them.
    former : dict of Index to PlanePrompts
        Its prompts so far. A mask among them stays, unless it came from propagation and the
        clicks on it are gone.
    labels : ObjectLabels
        The committed objects.
    object_id : int
        The object.

    Returns
    -------
    dict of Index to PlanePrompts
        The first clicks on a plane that was propagated have its mask.
    """
    kept = {
        index: prompts if index in former else _as_correction(index, prompts, labels, object_id)
        for index, prompts in planes.items()
    }
    for index, before in former.items():
        if before.mask is not None and (
            index in planes or not labels.records.is_propagated(object_id, index)
        ):
            nothing = PlanePrompts(one_part=before.one_part, field=before.field)
            others = kept.get(index, nothing)
            moved = with_field(before, others.field, labels.planes.plane_shape)
            kept[index] = replace(others, mask=moved.mask)
    return kept


def as_corrected(
    labels: ObjectLabels, prompts_of: Callable[[int], PromptsByPlane], edited: Iterable[Key]
) -> dict[int, dict[Index, PlanePrompts]]:
    """Let the pixels of objects take the place of their prompts where they were edited.

    Parameters
    ----------
    labels : ObjectLabels
        Holds the pixels.
    prompts_of : callable
        Returns the prompts of an object, which no longer give these pixels.
    edited : iterable of (object id, Index)
        Where; planes without prompts stay without.

    Returns
    -------
    dict of int to dict of Index to PlanePrompts
        All prompts of the objects whose prompts change.
    """
    corrected: dict[int, dict[Index, PlanePrompts]] = {}
    for object_id, index in edited:
        planes = prompts_of(object_id)
        if index in planes:
            field = planes[index].field
            mask = draw_in(labels.find(object_id, index, field), field)
            changed = corrected.setdefault(object_id, dict(planes))
            changed[index] = PlanePrompts(mask=mask, field=field)
    return corrected


def _as_correction(
    index: Index, prompts: PlanePrompts, labels: ObjectLabels, object_id: int
) -> PlanePrompts:
    """Add the propagated mask to the first clicks on a plane. A box starts afresh."""
    is_propagated = labels.records.is_propagated(object_id, index)
    if prompts.num_regions or prompts.is_empty or not is_propagated:
        return prompts
    mask = draw_in(labels.find(object_id, index, prompts.field), prompts.field)
    return replace(prompts, mask=mask) if mask.any() else prompts
