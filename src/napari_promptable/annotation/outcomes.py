"""Outcomes of the session's verbs: what changed, how much of it, or why nothing did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from napari_promptable.annotation.history import Change, Verb
from napari_promptable.annotation.written import Written, is_mostly
from napari_promptable.planes import Index
from napari_promptable.wording import count_of


class Reason(StrEnum):
    """Why a verb changed nothing."""

    NO_ANSWER = "no answer"  #: there is no mask yet
    EMPTY = "empty"  #: the masks have no pixel
    COVERED = "covered"  #: other objects keep nine tenths of the pixels or more
    UNCHANGED = "unchanged"  #: everything is as asked for already


class Course(StrEnum):
    """Whether a verb was done for the first time, undone or redone."""

    DONE = "done"
    UNDONE = "undone"
    REDONE = "redone"


@dataclass(frozen=True)
class Outcome:
    """What a verb changed.

    Attributes
    ----------
    verb : Verb
        The user's action.
    object_ids : tuple of int
        The objects it concerned; for a merge and a new id, the id that remains comes first.
    num_pixels, num_slices : int
        Pixels of the labels that changed, and slices on which they lie. For edited prompts,
        slices whose prompts changed.
    reason : Reason or None
        Why nothing changed; None if something did.
    unwritten : tuple of int
        Objects that were to be written but got no pixel.
    num_asked : int
        Pixels of the masks that were to be written.
    num_covered : int
        Pixels of the masks that other objects kept.
    covered_by : tuple of int
        Ids of these objects.
    course : Course
        Whether the verb was done, undone or redone.
    class_name : str
        The class that was set; empty for none.
    """

    verb: Verb
    object_ids: tuple[int, ...] = ()
    num_pixels: int = 0
    num_slices: int = 0
    reason: Reason | None = None
    unwritten: tuple[int, ...] = ()
    num_asked: int = 0
    num_covered: int = 0
    covered_by: tuple[int, ...] = ()
    course: Course = Course.DONE
    class_name: str = ""

    @property
    def has_changed(self) -> bool:
        """Whether anything changed."""
        return self.reason is None

    @property
    def is_mostly_covered(self) -> bool:
        """Whether other objects kept nine tenths of the masks or more."""
        return is_mostly(self.num_covered, self.num_asked)


def outcome_of_writing(verb: Verb, object_ids: tuple[int, ...], written: Written) -> Outcome:
    """Report the writing of masks."""
    reason = None
    num_covered = written.covered.total()
    if not written.num_pixels:
        if written.num_asked == 0:
            reason = Reason.EMPTY
        elif is_mostly(num_covered, written.num_asked):
            reason = Reason.COVERED
        else:
            reason = Reason.UNCHANGED
    with_pixels = {
        object_id
        for (object_id, _), found in written.records_after.items()
        if found is not None and found.extent is not None
    }
    return Outcome(
        verb,
        object_ids,
        written.num_pixels,
        written.num_slices,
        reason,
        tuple(i for i in object_ids if i not in with_pixels),
        written.num_asked,
        num_covered,
        tuple(sorted(written.covered)),
    )


def outcome_of_step(change: Change, written: Written, course: Course) -> Outcome:
    """Report the undo or redo of a change of the labels."""
    return Outcome(
        change.verb, change.object_ids, written.num_pixels, written.num_slices, course=course
    )


def outcome_of_edit(object_id: int, planes: Sequence[Index], course: Course) -> Outcome:
    """Report the undo or redo of an edit of prompts on some planes."""
    return Outcome(Verb.PROMPT, (object_id,), num_slices=len(planes), course=course)


_NAMES = {
    Verb.COMMIT: "Commit",
    Verb.PROPAGATE: "Propagation",
    Verb.AUTOMATIC: "Automatic segmentation",
    Verb.DELETE: "Deletion",
    Verb.MERGE: "Merge",
    Verb.RELABEL: "Id change",
    Verb.CLEAR: "Removal",
    Verb.SPLIT: "Split",
    Verb.FILL: "Filling",
    Verb.SMOOTH: "Smoothing",
    Verb.CLEAN: "Removal of specks",
    Verb.GROW: "Growth",
    Verb.SHRINK: "Shrinking",
    Verb.CLASSIFY: "Change of class",
    Verb.PROMPT: "Newest prompt",
}
_TOUCHED = {
    Verb.FILL: ("filled", "no holes"),
    Verb.SMOOTH: ("smoothed", "a smooth outline already"),
    Verb.CLEAN: ("cleaned", "no specks"),
    Verb.GROW: ("grown", "no background to grow into"),
    Verb.SHRINK: ("shrunk", "too few pixels to shrink"),
}
"""What happened to the objects, and what they have where nothing could happen."""

_AFTER_UNDO = {
    Verb.COMMIT: " Its prompts are back for editing.",
    Verb.PROPAGATE: " Your prompts are unchanged.",
}


def describe_outcome(outcome: Outcome) -> str:
    """Say in words what a verb changed.

    Parameters
    ----------
    outcome : Outcome
        From a verb of the session.

    Returns
    -------
    str
        One or two sentences with the numbers of the outcome.

    Examples
    --------
    >>> describe_outcome(Outcome(Verb.COMMIT, (3,), num_pixels=1204, num_slices=2))
    'Object 3 saved: 1,204 pixels on 2 slices.'
    >>> describe_outcome(Outcome(Verb.COMMIT, (2,), reason=Reason.EMPTY, unwritten=(2,)))
    'Object 2 was not saved: its mask is empty. Add a + click inside it.'
    """
    if outcome.course is not Course.DONE:
        return _describe_course(outcome)
    if not outcome.has_changed:
        return _describe_reason(outcome)
    unwritten = [i for i in outcome.object_ids if i in outcome.unwritten]
    if outcome.verb is Verb.COMMIT and outcome.is_mostly_covered and not unwritten:
        return _describe_little(outcome)
    if outcome.verb is Verb.CLASSIFY:
        return _describe_class(outcome)
    if outcome.verb is Verb.CLEAR and not outcome.num_pixels:
        return f"{name_objects(outcome.object_ids)} marked as absent on this slice."
    if len(unwritten) == len(outcome.object_ids):  # absent from slices on which it was
        return f"{name_objects(unwritten)} removed: {_describe_size(outcome)}.{_hold(outcome)}"
    text = _describe_change(outcome)
    if unwritten:
        text += f" {name_objects(unwritten)} got no pixels."
    if outcome.num_covered:
        text += (
            f" {count_of(outcome.num_covered, 'pixel')} stayed with "
            f"{name_objects(outcome.covered_by, start='object')}."
        )
    return text


def _describe_change(outcome: Outcome) -> str:
    """Say which objects a verb changed, and by how much."""
    size, names = _describe_size(outcome), name_objects(outcome.object_ids)
    written = name_objects([i for i in outcome.object_ids if i not in outcome.unwritten])
    first, *others = map(str, outcome.object_ids or (0,))
    match outcome.verb:
        case Verb.COMMIT:
            return f"{written} saved: {size}."
        case Verb.PROPAGATE:
            return f"{written} propagated: {size}."
        case Verb.AUTOMATIC:
            return f"{written} found and saved: {size}."
        case Verb.DELETE:
            return f"{names} deleted: {size}."
        case Verb.MERGE:
            names = name_objects(sorted(outcome.object_ids))
            return f"{names} merged into object {first}: {size}."
        case Verb.RELABEL:
            return f"Object {', '.join(others)} is now object {first}: {size}."
        case Verb.CLEAR:
            return f"{names} removed: {size}."
        case Verb.SPLIT:
            pieces = name_objects(outcome.object_ids, start="object")
            return f"Object {first} split into {pieces}: {size}."
        case Verb.PROMPT:
            return "Prompt added."
        case touch_up:
            return f"{names} {_TOUCHED[touch_up][0]}: {size}."


def _describe_class(outcome: Outcome) -> str:
    """Say which class objects have now."""
    has = "has" if len(outcome.object_ids) == 1 else "have"
    names = name_objects(outcome.object_ids)
    name = f"the class {outcome.class_name}" if outcome.class_name else "no class"
    return f"{names} now {has} {name}."


def _describe_course(outcome: Outcome) -> str:
    """Report an undo or a redo."""
    name, course = _NAMES[outcome.verb], str(outcome.course)
    if outcome.verb in (Verb.PROMPT, Verb.CLASSIFY):
        return f"{name} {course}."
    size = _describe_size(outcome)
    follow_up = _AFTER_UNDO.get(outcome.verb, "") if outcome.course is Course.UNDONE else ""
    return f"{name} {course}: {size}.{follow_up}"


def _describe_reason(outcome: Outcome) -> str:
    """Say why nothing changed, and what to do."""
    if outcome.reason is Reason.NO_ANSWER and outcome.verb is Verb.CLEAR:
        return "This object is on no slice yet. Click it on a slice where it is first."
    if outcome.reason is Reason.NO_ANSWER and outcome.verb not in _TOUCHED:
        return "There is no mask to save yet. Click inside an object, or drag a box."
    if outcome.verb is Verb.AUTOMATIC:
        return "No object was saved: there is none where nothing is labelled yet."
    names = name_objects(outcome.object_ids)
    if outcome.verb is Verb.CLEAR:
        return f"{names} is marked as absent here already."
    if outcome.verb is Verb.CLASSIFY:
        return _describe_class(outcome)
    was = "was" if len(outcome.object_ids) == 1 else "were"
    if outcome.verb in _TOUCHED and outcome.reason is Reason.NO_ANSWER:
        are = "is" if was == "was" else "are"
        return f"Nothing changed: {names.lower()} {are} not on this slice."
    if outcome.verb in _TOUCHED:
        have = "has" if was == "was" else "have"
        return f"Nothing changed: {names.lower()} {have} {_TOUCHED[outcome.verb][1]}."
    if outcome.verb is Verb.SPLIT:
        return f"{names} {was} not split. Drag the line right across it."
    if outcome.reason is Reason.EMPTY:
        its = "its mask is" if was == "was" else "their masks are"
        return f"{names} {was} not saved: {its} empty. Add a + click inside it."
    if outcome.reason is Reason.COVERED:
        its = "its" if was == "was" else "their"
        pixels = f"all of {its} pixels"
        if outcome.num_covered < outcome.num_asked:
            pixels = f"{outcome.num_covered:,} of {its} {outcome.num_asked:,} pixels"
        others = _describe_cover(outcome, pixels)
        return f"{names} {was} not saved: {others}"
    if outcome.verb in (Verb.COMMIT, Verb.PROPAGATE):
        return f"Nothing to save: the labels already hold {names.lower()} exactly like this."
    return f"Nothing changed: the labels hold no pixel of {names.lower()}."


def _describe_little(outcome: Outcome) -> str:
    """Say that hardly anything was written, and what to do."""
    names = name_objects(outcome.object_ids).replace("Object", "object")
    asked = count_of(outcome.num_asked, "pixel")
    others = _describe_cover(outcome, "the others")
    return f"Only {outcome.num_pixels:,} of {asked} of {names} saved: {others}"


def _describe_cover(outcome: Outcome, pixels: str) -> str:
    """Say which objects hold the pixels, and how to correct these."""
    others = name_objects(outcome.covered_by, start="object")
    if len(outcome.covered_by) == 1:
        return f"{others} holds {pixels}. This is {others}: press P to correct it."
    way_on = "Press P on one of them to correct it, or choose Overwrite."
    return f"{others} hold {pixels}. {way_on}"


def _hold(outcome: Outcome) -> str:
    """Say, after another sentence, which objects hold the pixels of objects that moved."""
    if not outcome.num_covered:
        return ""
    its, masks = ("its", "mask") if len(outcome.object_ids) == 1 else ("their", "masks")
    hold = "holds" if len(outcome.covered_by) == 1 else "hold"
    return f" {name_objects(outcome.covered_by)} {hold} the pixels of {its} new {masks}."


def _describe_size(outcome: Outcome) -> str:
    """Give the numbers, such as "1,204 pixels on 2 slices"."""
    if outcome.num_pixels == 0:
        return "no pixels changed"
    pixels = count_of(outcome.num_pixels, "pixel")
    slices = count_of(outcome.num_slices, "slice")
    return f"{pixels} on {slices}"


_MAX_NAMED = 5  # objects that a sentence lists


def name_objects(object_ids: Sequence[int], start: str = "Object") -> str:
    """Name objects in a sentence.

    Examples
    --------
    >>> name_objects([2]), name_objects([2, 5]), name_objects(range(1, 31))
    ('Object 2', 'Objects 2 and 5', '30 objects')
    """
    if len(object_ids) > _MAX_NAMED:
        return f"{len(object_ids)} objects"
    *most, last = map(str, object_ids)
    return f"{start}s {', '.join(most)} and {last}" if most else f"{start} {last}"
