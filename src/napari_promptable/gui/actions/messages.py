"""Sentences for the status line: what an action did, or why it did nothing."""

from __future__ import annotations

from collections.abc import Sequence

from napari_promptable.annotation.records import ObjectOnSlice
from napari_promptable.propagation.settings import StopReason
from napari_promptable.wording import count_of

GETTING_READY = "Getting ready…"
NEXT_OBJECT = "Click the next object."
NOTHING_TO_UNDO, NOTHING_TO_REDO = "Nothing to undo.", "Nothing to redo."
PROMPTS_CLEARED = "Prompts of this object removed. Undo (Ctrl+Z) restores them."

HOW_TO_SELECT = "Select saved objects in the list first (section Objects)."
HOW_TO_SPLIT = "Drag a line right across the object, from outside to outside."
NOTHING_TO_SPLIT = "There is no object under this line, or it is not a selected one."
SPLIT_IN_2D = "Switch to the 2D view and to a slice of the object, then split it."

NOTHING_TO_MEASURE = "There is no saved object to measure yet. Commit one with C."
MEASURING = "Measuring…"
OPEN_IMAGE_FIRST = "Open the image first: the objects of the file lie on it."

NO_BOXES = "Drag a box around each object first (▭ box)."
NOTHING_TO_PICK = "No object under the pointer."
HOW_TO_PICK = "Point at an object and press P, or select one in the list of objects."

NOT_DELIVERED = (
    "These objects were not saved: other labels are in use now. Press the button again."
)
NOTHING_NEW = "There is no point or shape without an object yet on this layer."
NO_SHAPE = (
    "Select a shape first: draw one with ▭ box or ✎ outline, or pick one of a Shapes layer."
)
FOUND_OBJECTS = "Move the sliders, reject an object with X, then commit all."
SEARCH_ENDED = "The search for objects ended early: nothing was saved. Find them again."
FOUND_ELSEWHERE = "Objects were found on other slices."
ALL_REVIEWED = "No automatic object is doubtful any more."

NO_PROMPTS = "Click the object on one slice first (or drag a box around it), then propagate."
NO_SLICE_DONE = "The propagation ended before it finished a slice. Propagate again."
NO_CHANGES = "Nothing has changed since the last propagation. Correct a slice first."
STILL_PROPAGATING = (
    "Another propagation is not finished. Wait for it, or keep or discard its slices."
)
NO_SLICES = "There are no slices to review in this view."
NOTHING_DOUBTFUL = "No slice of this object is doubtful."
NOTHING_TO_ACCEPT = "The object is not on this slice, so there is nothing to accept."

_STOPS: dict[str, str] = {
    StopReason.EMPTY: "the model found nothing",
    StopReason.LOST: "the mask hardly overlaps its neighbour",
    StopReason.DRIFTED: "size or colour changed too much",
    StopReason.UNSURE: "low confidence",
    StopReason.TOUCHING: "another object covers the mask",
}


def describe_learn(count: int) -> str:
    """Offer to learn from the objects that there are by now."""
    return f"Click the next, or Learn from these {count} (section Objects)."


def describe_shared(layer_name: str, others: Sequence[str]) -> str:
    """Say that a labels layer holds the objects of other images, too."""
    names = " and ".join(f'"{name}"' for name in others)
    return f'"{layer_name}" also holds the objects of {names}; ids are shared.'


def describe_lost_labels(lost: str, new: str) -> str:
    """Say that the data of a labels layer no longer fit, and where objects go now."""
    return (
        f'"{lost}" no longer fits the image or cannot be written. Objects are now saved to '
        f'"{new}".'
    )


def describe_ended_propagation(num_slices: int) -> str:
    """Say that a propagation ended with the labels for which it was meant."""
    if not num_slices:
        return NO_SLICE_DONE
    lost = _say_not_saved(num_slices, "finished slice")
    return f"The propagation ended early: {lost} Propagate again."


def describe_ended_search(num_objects: int) -> str:
    """Say that objects that were found, or were being looked for, are not saved."""
    if not num_objects:
        return SEARCH_ENDED
    return f"{_say_not_saved(num_objects, 'found object')} Find them again."


def _say_not_saved(number: int, noun: str) -> str:
    """Count what was lost, such as "3 finished slices were not saved."."""
    return f"{count_of(number, noun)} {'was' if number == 1 else 'were'} not saved."


def describe_left(object_id: int) -> str:
    """Say that an object keeps its prompts but is not in the labels."""
    return f"Object {object_id} is not committed. Click it in the list of objects to resume."


def describe_left_behind(object_id: int) -> str:
    """Say that an object is not committed, and belongs to what is not in view any more."""
    return (
        f"Object {object_id} is not committed. It comes back with the image and axes on which "
        "you clicked it."
    )


def describe_failed_model(name: str, stays: str) -> str:
    """Say that a model cannot be used, and which one stays in use, if there is one."""
    way_on = f"{stays} stays in use." if stays else "Choose another model."
    return f"{name} could not be loaded. {way_on} Why: ⋯ beside the list."


def describe_source(name: str, count: int, noun: str) -> str:
    """Say how to make objects of the points or shapes in a layer."""
    button = {"point": "Points → objects", "shape": "Boxes → objects"}[noun]
    return f'"{name}" has {count_of(count, noun)}. {button} saves an object for each.'


def describe_unread(num_slices: int) -> str:
    """Say that nothing can be written before all ids of the labels layer are known."""
    return (
        f"Still reading the labels layer ({count_of(num_slices, 'slice')} left), so that no "
        "two objects get the same id. Try again in a moment."
    )


def describe_saved_prompts(num_objects: int, path: str) -> str:
    """Say where prompts were saved."""
    return f"Prompts of {count_of(num_objects, 'object')} saved to {path}."


def describe_loaded(object_ids: Sequence[int]) -> str:
    """Say which objects came from a file."""
    if not object_ids:
        return "The file has no objects."
    names = count_of(len(object_ids), "object")
    return f"Prompts of {names} loaded. Object {object_ids[0]} is shown; commit it with C."


def describe_refined(object_id: int) -> str:
    """Say how to correct an object that was picked."""
    return f"Object {object_id}: add + and − clicks where it is wrong, then commit (C)."


def describe_all_seen(num_doubtful: int) -> str:
    """Say that no doubtful slice is left to visit."""
    if not num_doubtful:
        return NOTHING_DOUBTFUL
    return f"You have seen all doubtful slices ({num_doubtful} not accepted). D starts again."


def describe_doubt(position: int, review: ObjectOnSlice) -> str:
    """Say what is doubtful about a slice."""
    reason = "low confidence"
    if review.stop:
        reason = f"propagation stopped here ({_STOPS.get(review.stop, review.stop)})"
    return f"Slice {position}: {reason}. Correct it with clicks, then propagate again."


def describe_found(count: int, num_rejected: int) -> str:
    """Count the objects that were found on the slice in view."""
    text = f"{count_of(count, 'object')} here"
    return f"{text}, {num_rejected} rejected" if num_rejected else text


def describe_doubtful(count: int, noun: str) -> str:
    """Say how to check the doubtful ones of the outlines or slices that were just saved."""
    if not count:
        return ""
    return f" {count_of(count, noun)} {'needs' if count == 1 else 'need'} a check (D)."


def describe_doubtful_object(object_id: int, confidence: float, num_left: int) -> str:
    """Say what can be done with a doubtful object."""
    return (
        f"Object {object_id}, confidence {confidence:.2f}: Y accepts it, X deletes it, clicks "
        f"correct it (then C). {num_left} more to check."
    )


def describe_current_class(name: str) -> str:
    """Say which class new objects get."""
    return f"New objects get the class {name}." if name else "New objects get no class."


def describe_missing_class(number: int) -> str:
    """Say that no class has this number."""
    return f"There is no class {number}. Add classes in the window “Edit and measure objects”."


def describe_measured(num_objects: int, num_rows: int) -> str:
    """Count the objects that were measured, and the rows if these are more."""
    text = f"{count_of(num_objects, 'object')} measured"
    return f"{text} in {num_rows:,} rows." if num_rows > num_objects else f"{text}."


def describe_exported(path: str, title: str, loss: str) -> str:
    """Say where objects were written, and what the format leaves out."""
    lost = f" Not in the file: {loss}." if loss else ""
    return f"{title} written to {path}.{lost}"


def describe_imported(num_objects: int, layer_name: str) -> str:
    """Say which layer holds the objects of a file."""
    return (
        f'{count_of(num_objects, "object")} imported. "{layer_name}" is now the labels layer.'
    )
