"""Verbs that correct objects in the labels by hand: shape, parts and class."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.annotation.corrections import as_corrected
from napari_promptable.annotation.history import Verb
from napari_promptable.annotation.labels import ObjectLabels
from napari_promptable.annotation.outcomes import Outcome, Reason
from napari_promptable.annotation.patches import (
    Extent,
    LabelPatch,
    check_id,
    join_extents,
    shift_extent,
)
from napari_promptable.annotation.records import Key, ObjectOnSlice, Origin, Records
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.written import Written
from napari_promptable.errors import PromptError
from napari_promptable.mask_edits import (
    REACH,
    fill_holes,
    grow,
    nearest_piece,
    remove_specks,
    shrink,
    smooth,
    split_by_line,
)
from napari_promptable.masks import BoolArray, mask_region
from napari_promptable.planes import Index
from napari_promptable.wording import on_plane

PLANES, LINE = "planes", "line"
"""Keys of a change's details: the planes that were corrected, and the line that divided."""

_EDITS: Mapping[Verb, Callable[[BoolArray], BoolArray]] = {
    Verb.FILL: fill_holes,
    Verb.SMOOTH: smooth,
    Verb.CLEAN: remove_specks,
    Verb.GROW: grow,
    Verb.SHRINK: shrink,
}


def touch_up(
    session: SegmentationSession,
    verb: Verb,
    object_ids: Sequence[int],
    indices: Collection[Index] | None = None,
) -> Outcome:
    """Correct the shape of objects, plane by plane, as one entry of the history.

    Other objects keep every pixel, whatever the policy, and no object disappears from a plane.
    Where an object has prompts, its new mask takes their place: clicks correct it from then on.

    Parameters
    ----------
    session : SegmentationSession
        Holds the objects.
    verb : Verb
        One of `TOUCH_UPS`.
    object_ids : sequence of int
        The objects, corrected in this order.
    indices : collection of Index, optional
        Planes to correct; by default, all on which the objects are.

    Returns
    -------
    Outcome
        What changed.
    """
    edit = _EDITS[verb]
    keys = [
        (object_id, index)
        for object_id in object_ids
        for index in sorted(session.records.of(object_id))
        if indices is None or index in indices
    ]
    if not keys:
        return Outcome(verb, tuple(object_ids), reason=Reason.NO_ANSWER)
    written = session.labels.apply(_edit_each(session.labels, keys, edit))
    return _finish(session, verb, tuple(object_ids), written, _plain(keys))


def _edit_each(
    labels: ObjectLabels, keys: Sequence[Key], edit: Callable[[BoolArray], BoolArray]
) -> Iterator[tuple[LabelPatch, Records]]:
    """Plan the corrections one by one, each on labels that hold the former ones."""
    for object_id, index in keys:
        record = labels.records.of(object_id)[index]
        assert record.extent is not None  # records without one are not kept
        extent = _widen(record.extent, labels.planes.plane_shape)
        region = labels.planes.region(index, *extent)
        before = np.array(labels.array[region])
        mask = before == object_id
        edited = edit(mask)
        after = np.where(mask & ~edited, 0, before)
        after[edited & (before == 0)] = object_id
        found = _found(record, after == object_id, extent)
        if found is not None and not np.array_equal(before, after):
            patch = LabelPatch(region, before, after.astype(before.dtype))
            yield patch, {(object_id, index): found}


def _widen(extent: Extent, shape: tuple[int, int]) -> Extent:
    """Add the pixels around an extent on which corrections depend."""
    rows, columns = (
        slice(max(part.start - REACH, 0), min(part.stop + REACH, length))
        for part, length in zip(extent, shape, strict=True)
    )
    return rows, columns


def _found(record: ObjectOnSlice, mask: BoolArray, extent: Extent) -> ObjectOnSlice | None:
    """Record of a corrected object, which the user has seen, or None for an empty mask."""
    place = shift_extent(mask_region(mask), extent)
    return None if place is None else replace(record, extent=place, is_checked=True)


def split_object(
    session: SegmentationSession,
    object_id: int,
    line_yx: npt.ArrayLike,
    index: Index,
    indices: Collection[Index] | None = None,
) -> Outcome:
    """Make several objects of one, along a line across it, as one entry of the history.

    No pixel is lost. The largest piece keeps the id and the prompts; the others get free ids
    and the class of the object.

    Parameters
    ----------
    session : SegmentationSession
        Holds the object.
    object_id : int
        The object.
    line_yx : array_like of float, shape (N, 2)
        Corners of the line, (row, col).
    index : Index
        The plane on which the line was drawn.
    indices : collection of Index, optional
        Further planes to divide: there, each pixel goes to the piece that is nearest to it on
        the line's plane. By default, all planes of the object.

    Returns
    -------
    Outcome
        The id of the object first, then the new ids.

    Raises
    ------
    PromptError
        If the object is not on the plane.
    LabelError
        If a new id does not fit the labels; nothing is written.
    """
    records = session.records.of(object_id)
    if index not in records:
        raise PromptError(
            f"object {object_id} is not {on_plane(index)}; draw the line on an object in view"
        )
    planes = {index, *(records if indices is None else records.keys() & set(indices))}
    extent: Extent | None = None
    for each in planes:
        extent = join_extents(extent, records[each].extent)
    assert extent is not None
    pieces = _pieces_on(session.labels, object_id, line_yx, index, extent)
    new_ids = list(islice(session.prompts.free_ids(), int(pieces.max()) - 1))
    if not new_ids:
        return Outcome(Verb.SPLIT, (object_id,), reason=Reason.UNCHANGED)
    check_id(max(new_ids), session.labels.array.dtype)
    keys = [(object_id, each) for each in sorted(planes)]
    edits = _divide_each(session.labels, keys, new_ids, nearest_piece(pieces), extent)
    written = session.labels.apply(edits)
    name = session.classes.of([object_id])[object_id]
    details = {LINE: np.asarray(line_yx, float).tolist(), **_plain([(object_id, index), *keys])}
    classes = dict.fromkeys(new_ids, name)
    return _finish(session, Verb.SPLIT, (object_id, *new_ids), written, details, classes)


def _pieces_on(
    labels: ObjectLabels, object_id: int, line_yx: npt.ArrayLike, index: Index, extent: Extent
) -> npt.NDArray[np.integer[Any]]:
    """Divide an object on one plane. The pieces lie within an extent."""
    mask = np.asarray(labels.array[labels.planes.region(index, *extent)]) == object_id
    corner = [part.start for part in extent]
    return split_by_line(mask, np.asarray(line_yx, float) - corner)


def _divide_each(
    labels: ObjectLabels,
    keys: Sequence[Key],
    new_ids: Sequence[int],
    nearest: npt.NDArray[np.integer[Any]],
    extent: Extent,
) -> Iterator[tuple[LabelPatch, Records]]:
    """Plan giving an object's pixels on each plane to the pieces."""
    for object_id, index in keys:
        record = labels.records.of(object_id)[index]
        region = labels.planes.region(index, *extent)
        before = np.array(labels.array[region])
        ids = np.array([0, object_id, *new_ids], before.dtype)
        after = np.where(before == object_id, ids[nearest], before)
        if np.array_equal(before, after):
            continue
        found: dict[Key, ObjectOnSlice | None] = {}
        for each in (object_id, *new_ids):
            piece = _found(record, after == each, extent)
            if piece is not None and each != object_id:
                piece = replace(piece, origin=Origin.FOUND)  # it has no prompts
            found[each, index] = piece
        yield LabelPatch(region, before, after), found


def classify_objects(
    session: SegmentationSession, object_ids: Sequence[int], name: str
) -> Outcome:
    """Set the class of objects, as one entry of the history.

    Parameters
    ----------
    session : SegmentationSession
        Holds the objects.
    object_ids : sequence of int
        The objects.
    name : str
        Defined if it is new; empty for no class.
    """
    classes = dict.fromkeys(object_ids, name)
    ids = tuple(object_ids)
    if session.classes.of(object_ids) == classes:
        return Outcome(Verb.CLASSIFY, ids, reason=Reason.UNCHANGED, class_name=name)
    nothing = Written((), 0, 0, {}, {})
    session.add_change(Verb.CLASSIFY, ids, nothing, {}, classes=classes)
    return Outcome(Verb.CLASSIFY, ids, class_name=name)


def _plain(keys: Sequence[Key]) -> dict[str, Any]:
    return {PLANES: [list(index) for index in dict.fromkeys(index for _, index in keys)]}


def _finish(
    session: SegmentationSession,
    verb: Verb,
    object_ids: tuple[int, ...],
    written: Written,
    details: Mapping[str, Any],
    classes: Mapping[int, str] | None = None,
) -> Outcome:
    """Let prompts follow the pixels, add the change to the history, and report."""
    if not written.num_pixels:
        return Outcome(verb, object_ids, reason=Reason.UNCHANGED)
    prompts = as_corrected(session.labels, session.prompts.of, written.records_after)
    session.add_change(verb, object_ids, written, prompts, None, details, classes)
    session.prompts.show(session.prompts.current_object)
    return Outcome(verb, object_ids, written.num_pixels, written.num_slices)
