"""Slices on which an object is not: the click that says so, and what to clear."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from napari_promptable.annotation.history import Verb
from napari_promptable.annotation.labels import ObjectLabels
from napari_promptable.annotation.outcomes import Outcome, Reason
from napari_promptable.annotation.records import ObjectOnSlice, Origin, nothing_on
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.masks import FloatArray, interior_point_yx
from napari_promptable.planes import Index, SliceLine
from napari_promptable.prompts import BACKGROUND, PlanePrompts
from napari_promptable.strokes import stroke_to_clicks


def make_absence(
    labels: ObjectLabels,
    object_id: int,
    prompts: Mapping[Index, PlanePrompts],
    index: Index,
) -> PlanePrompts | None:
    """Make prompts that say that an object is not on a plane.

    Parameters
    ----------
    labels : ObjectLabels
        The committed objects.
    object_id : int
        The object.
    prompts : dict of Index to PlanePrompts
        Its prompts.
    index : Index
        The plane.

    Returns
    -------
    PlanePrompts or None
        One background click: inside the object's mask on this or the nearest plane, or else
        where it was prompted nearby. None if the object has neither pixels nor prompts.
    """
    committed = _nearest(labels.records.of(object_id), index)
    prompted = _nearest((i for i in prompts if prompts[i].is_answerable), index)
    if committed is not None:
        point = interior_point_yx(labels.find(object_id, committed).unpack())
    elif prompted is not None:
        point = _place_of(prompts[prompted])
    else:
        return None
    return PlanePrompts(point[None], [BACKGROUND])


def _nearest(planes: Iterable[Index], index: Index) -> Index | None:
    """Find the plane whose index is nearest."""
    return min(
        planes,
        key=lambda i: sum(abs(a - b) for a, b in zip(i, index, strict=True)),
        default=None,
    )


def _place_of(prompts: PlanePrompts) -> FloatArray:
    """Find a position that prompts point at, (row, col)."""
    if prompts.mask is not None:
        return interior_point_yx(prompts.mask)
    positives = prompts.points_yx[prompts.point_labels != BACKGROUND]
    regions = [*prompts.boxes_yxyx.reshape(-1, 2, 2), *prompts.polygons_yx]
    strokes = zip(prompts.strokes_yx, prompts.stroke_labels, strict=True)
    middles = [stroke_to_clicks(path, 1) for path, label in strokes if label != BACKGROUND]
    corners = [*positives, *regions, *middles]
    return np.asarray(np.atleast_2d(corners[0]).mean(axis=0), np.float32)


def mark_absent(
    session: SegmentationSession, index: Index, beyond: Collection[Index] = ()
) -> Outcome:
    """Say that the current object is not on a plane, and remove it there.

    A background click on the plane keeps that for the next propagation.

    Parameters
    ----------
    session : SegmentationSession
        Whose current object that is.
    index : Index
        The plane.
    beyond : collection of Index, optional
        Planes from which to remove it too, see `planes_beyond`.

    Returns
    -------
    Outcome
        What changed. A removal is one entry of the history.
    """
    current, prompts = session.prompts.current_object, session.prompts.of_current
    asked = prompts.get(index)
    if asked is None or not asked.says_absent:
        asked = make_absence(session.labels, current, prompts, index)
    if asked is None:
        return Outcome(Verb.CLEAR, (current,), reason=Reason.NO_ANSWER)
    after = {current: {**prompts, index: asked}}
    written = session.labels.write(nothing_on(session.planes, current, [index, *beyond]))
    if not written.num_pixels:
        planes = session.prompts.put(index, asked)
        reason = None if planes else Reason.UNCHANGED
        return Outcome(Verb.CLEAR, (current,), num_slices=len(planes), reason=reason)
    details = {"planes": [list(i) for i in (index, *beyond)]}
    session.add_change(Verb.CLEAR, (current,), written, after, after, details)
    session.prompts.show(current)
    return Outcome(Verb.CLEAR, (current,), written.num_pixels, written.num_slices)


def planes_beyond(
    line: SliceLine,
    index: Index,
    prompts: Mapping[Index, PlanePrompts],
    records: Mapping[Index, ObjectOnSlice],
) -> list[Index]:
    """Find the planes that propagation reached only across a plane where the object is not.

    Parameters
    ----------
    line : SliceLine
        The slices of the volume.
    index : Index
        The plane on the line where the object is not.
    prompts : dict of Index to PlanePrompts
        The object's prompts.
    records : dict of Index to ObjectOnSlice
        Where the object is.

    Returns
    -------
    list of Index
        Propagated planes on the side without prompts; none if there are prompts on both sides.
    """
    here = index[line.place]
    anchors = [
        i[line.place]
        for i, asked in prompts.items()
        if asked.is_answerable and i != index and line.position_of(i) is not None
    ]
    if not anchors:
        return []
    has_below, has_above = min(anchors) < here, max(anchors) > here
    return [
        i
        for i, record in sorted(records.items())
        if record.origin is Origin.PROPAGATED
        and (position := line.position_of(i)) is not None
        and ((position > here and not has_above) or (position < here and not has_below))
    ]
