"""Propagation in a field of view: all slices are seen in the same part of their planes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from napari_promptable.field_prompts import in_field, with_field
from napari_promptable.fields import Field, unite_fields
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.progress import Progress
from napari_promptable.prompts import PlanePrompts
from napari_promptable.propagation.chains import PropagatedMask
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.propagation.volume import propagate_prompts

EmbedField = Callable[[int, Field | None], ImageEmbedding]
"""Returns the embedding of a field of a slice, or of the whole slice."""


def field_of(objects: Mapping[int, Mapping[int, PlanePrompts]]) -> Field | None:
    """Find the field that holds the fields of all prompts. None is the whole plane."""
    return unite_fields([asked.field for at in objects.values() for asked in at.values()])


def propagate_in_field(
    model: Segmenter,
    embed: EmbedField,
    length: int,
    objects: Mapping[int, Mapping[int, PlanePrompts]],
    settings: PropagationSettings,
    plane_shape: tuple[int, int],
    field: Field | None,
    *,
    changed: Mapping[int, Collection[int]] | None = None,
    progress: Progress | None = None,
) -> Iterator[PropagatedMask]:
    """Propagate objects in one field of all slices.

    Parameters
    ----------
    model, length, settings, changed, progress
        As in `propagate_prompts`.
    embed : callable
        Given a slice and a field, returns its embedding.
    objects : dict of int to dict of int to PlanePrompts
        By object id and slice, in pixels of the plane.
    plane_shape : (int, int)
        Height and width of a plane.
    field : Field or None
        What the model sees of each slice, see `field_of`; None is the whole plane. Objects that
        are propagated some at a time get the same masks in the same field.

    Yields
    ------
    PropagatedMask
        In pixels of the plane.

    Raises
    ------
    PromptError
        As in `propagate_prompts`.
    """
    local = {
        object_id: {
            position: in_field(with_field(asked, field, plane_shape))
            for position, asked in at.items()
        }
        for object_id, at in objects.items()
    }
    values = propagate_prompts(
        model,
        lambda position: embed(position, field),
        length,
        local,
        settings,
        changed=changed,
        progress=progress,
    )
    for value in values:
        packed = value.packed
        placed = packed if field is None else field.place(packed.unpack(), plane_shape)
        yield replace(value, packed=placed)
