"""A session as a prompts.json: prompts, records of the objects, and changes of the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from math import isnan, nan
from typing import Any

from napari_promptable.annotation.history import Change, Prompts, Verb
from napari_promptable.annotation.records import Key, ObjectOnSlice, Origin
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.errors import PromptError
from napari_promptable.files.prompts_json import (
    PromptDocument,
    format_planes,
    parse_planes,
)
from napari_promptable.planes import Index, PlaneAxes
from napari_promptable.prompts import PlanePrompts

ACTIONS = "actions"
"""Key of the file for the changes, the oldest first."""

_CURRENT_CLASS = "current_class"  # key of the file


@dataclass(frozen=True, eq=False)
class SessionState:
    """A snapshot of a session, which another thread can describe.

    Attributes
    ----------
    planes : PlaneAxes
        How image and labels are cut into planes.
    prompts : dict of int to dict of Index to PlanePrompts
        By object id and plane.
    records : dict of int to dict of Index to ObjectOnSlice
        The objects in the labels, by object id and plane.
    class_names : dict of int to str
        By object id.
    changes : list of Change
        Changes of the labels, the oldest first.
    class_colors : dict of str to str
        Colors, "#rrggbb", by class name.
    current_class : str
        Class that new objects take; empty for none.
    """

    planes: PlaneAxes
    prompts: Prompts
    records: Mapping[int, Mapping[Index, ObjectOnSlice]]
    class_names: Mapping[int, str]
    changes: Sequence[Change]
    class_colors: Mapping[str, str]
    current_class: str

    @property
    def object_ids(self) -> list[int]:
        """Ids of all objects, the prompted ones first."""
        return list(dict.fromkeys([*self.prompts, *self.records]))


def state_of(session: SegmentationSession) -> SessionState:
    """Copy a session's state. Its values never change."""
    records = session.records
    return SessionState(
        session.planes,
        {object_id: dict(planes) for object_id, planes in session.prompts.objects.items()},
        {object_id: dict(records.of(object_id)) for object_id in records.object_ids},
        dict(records.class_names),
        session.history.changes,
        dict(session.classes.colors),
        session.classes.current,
    )


def document_of(
    state: SessionState, image_name: str, model: str, **extra: Any
) -> PromptDocument:
    """Describe a session.

    Parameters
    ----------
    state : SessionState
        From `state_of`.
    image_name : str
        Name of the image, for human readers.
    model : str
        Registry name of the model, or path of its weights.
    **extra
        Further keys of the file; plain values.

    Returns
    -------
    PromptDocument
        `restore_session` makes the same session from it, and a script the same labels.
    """
    return PromptDocument(
        image_name,
        state.planes.shape,
        state.planes.axes,
        model,
        {object_id: state.prompts.get(object_id, {}) for object_id in state.object_ids},
        {
            "software": f"napari-promptable {_package_version()}",
            ACTIONS: [_format_change(change) for change in state.changes],
            **({_CURRENT_CLASS: state.current_class} if state.current_class else {}),
            **extra,
        },
        {object_id: _format_object(state, object_id) for object_id in state.object_ids},
        class_colors=state.class_colors,
    )


def restore_session(document: PromptDocument, session: SegmentationSession) -> None:
    """Restore prompts, records and past changes in a new session. Undoes `document_of`.

    Parameters
    ----------
    document : PromptDocument
        From `document_of`; a document without its additional keys restores prompts only.
    session : SegmentationSession
        Without any object, of the same planes; its labels hold the committed objects.

    Raises
    ------
    PromptError
        If an additional key is malformed; the session stays unchanged.
    """
    records: dict[Key, ObjectOnSlice | None] = {}
    changes = parse_changes(document)
    try:
        for object_id, extra in document.object_extra.items():
            for entry in extra.get("slices", []):
                records[object_id, tuple(entry["index"])] = _parse_record(entry)
        names = {i: str(e["class"]) for i, e in document.object_extra.items() if "class" in e}
    except (KeyError, TypeError, ValueError) as error:
        raise PromptError(f"an object's slices cannot be read ({error})") from error
    session.restore(document.objects, records, changes, names)
    current_class = str(document.extra.get(_CURRENT_CLASS, ""))
    session.classes.restore(document.class_colors, current_class)


def parse_changes(document: PromptDocument) -> list[Change]:
    """Read the changes of the labels, empty for a document without any."""
    try:
        return [_parse_change(entry) for entry in document.extra.get(ACTIONS, [])]
    except (KeyError, TypeError, ValueError) as error:
        raise PromptError(f"the list of actions cannot be read ({error})") from error


def with_one_part(document: PromptDocument, one_part: bool) -> PromptDocument:
    """Ask for one part of each object, or for all, wherever a document has prompts.

    Parameters
    ----------
    document : PromptDocument
        Of prompts or of a whole session.
    one_part : bool
        See `PlanePrompts`.

    Returns
    -------
    PromptDocument
        With changed prompts of the objects and of the actions.
    """

    def ask(planes: Mapping[Index, PlanePrompts]) -> dict[Index, PlanePrompts]:
        return {index: replace(each, one_part=one_part) for index, each in planes.items()}

    objects = {object_id: ask(planes) for object_id, planes in document.objects.items()}
    changes = [
        replace(change, asked={i: ask(planes) for i, planes in change.asked.items()})
        for change in parse_changes(document)
    ]
    actions = {ACTIONS: [_format_change(change) for change in changes]} if changes else {}
    return replace(document, objects=objects, extra={**document.extra, **actions})


def _package_version() -> str:
    try:
        return version("napari-promptable")
    except PackageNotFoundError:
        return "unknown"


def _format_object(state: SessionState, object_id: int) -> dict[str, Any]:
    """Additional keys of an object."""
    records = state.records.get(object_id, {})
    slices = [_format_record(index, record) for index, record in sorted(records.items())]
    name = state.class_names.get(object_id)
    return ({"slices": slices} if slices else {}) | ({"class": name} if name else {})


def _format_record(index: Index, record: ObjectOnSlice) -> dict[str, Any]:
    assert record.extent is not None  # records without one are not kept
    rows, columns = record.extent
    return {
        "index": list(index),
        "extent": [rows.start, columns.start, rows.stop, columns.stop],
        "origin": str(record.origin),
        "confidence": None if isnan(record.confidence) else round(record.confidence, 6),
        **({"stop": record.stop} if record.stop else {}),
        **({"checked": True} if record.is_checked else {}),
    }


def _parse_record(entry: Mapping[str, Any]) -> ObjectOnSlice:
    top, left, bottom, right = (int(n) for n in entry["extent"])
    confidence = entry["confidence"]
    return ObjectOnSlice(
        (slice(top, bottom), slice(left, right)),
        Origin(entry["origin"]),
        nan if confidence is None else float(confidence),
        str(entry.get("stop", "")),
        bool(entry.get("checked", False)),
    )


def _format_change(change: Change) -> dict[str, Any]:
    asked = [
        {"id": object_id, "planes": format_planes(planes)}
        for object_id, planes in change.asked.items()
    ]
    return {
        "verb": str(change.verb),
        "ids": list(change.object_ids),
        **({"objects": asked} if asked else {}),
        **change.details,
    }


def _parse_change(entry: Mapping[str, Any]) -> Change:
    details = dict(entry)
    asked = {int(one["id"]): parse_planes(one["planes"]) for one in details.pop("objects", [])}
    return Change(
        Verb(details.pop("verb")),
        tuple(int(object_id) for object_id in details.pop("ids")),
        (),
        {},
        {},
        asked=asked,
        details=details,
    )
