"""The status line: what the user can do next."""

from __future__ import annotations

from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.uncommitted import has_uncommitted
from napari_promptable.planes import Index
from napari_promptable.prompts import PlanePrompts

NO_IMAGE = "Open an image, or a sample from File → Open Sample → Promptable segmentation."
NO_PLANE = "Show a slice of the image in 2D (square button below the layer list) to segment it."
NO_TOOL = "Clicks now go to another layer or mode. Press T or a tool button to add prompts."
START = "Click inside an object, or drag a box."
DRAWING = {
    "polygon": "Click the corners of the object's outline. A double-click ends it.",
    "ellipse": "Drag an ellipse around the object.",
    "line": "Drag a line along the object.",
    "polyline": "Click along the object. A double-click ends the line.",
}
"""How to use napari's own tools on the layer of boxes."""

ABSENT = "Not on this slice. If it is, press T and click inside it."
ONLY_NEGATIVE = "This click excludes. Press T, then click inside the object."
WAITING = "Preparing this slice… your clicks are kept."
SEGMENT_NEXT = "Press Segment (S) to see the mask."
COMMIT_FIRST = "Commit (C), or correct it: clicks add, Ctrl+click or right-click excludes."
COMMIT_NEXT = "Commit (C), correct with + and − clicks (T switches), or try the next mask (M)."
COVERED = "Other objects hold this mask. Press P to correct the one under the pointer."
EMPTY = "The mask is empty. Add a + click inside the object."
MANY_BOXES = "C: one object from all boxes. Boxes → objects: one object per box."
ELSEWHERE = "This object has a mask on another slice. Click here too, or commit it (C)."
SAVED_HERE = "Object {} is saved here. Correct it with clicks, or begin the next (N)."
SAVED_ELSEWHERE = (
    "Object {} is saved on other slices. Click to add it here, or begin the next (N)."
)


def describe_next_step(
    session: SegmentationSession | None,
    index: Index | None,
    *,
    problem: str,
    has_preview: bool,
    is_busy: bool,
    tool: str,
) -> str:
    """Say what to do next.

    Parameters
    ----------
    session : SegmentationSession or None
        The annotation job.
    index : Index or None
        The plane in view.
    problem : str
        Why no image can be segmented; empty if one can.
    has_preview : bool
        Whether a commit would write any pixel on the plane in view.
    is_busy : bool
        Whether something is being computed.
    tool : str
        Name of the tool that the next click uses; empty if it would be no prompt.

    Returns
    -------
    str
        One sentence.
    """
    if problem:
        return problem
    if session is None or index is None:
        return NO_PLANE
    if not tool:
        return NO_TOOL
    prompts = session.prompts.of_current.get(index)
    if prompts is None:
        return _describe_without_prompts(session, index, tool)
    if prompts.says_absent:
        is_elsewhere = any(p.is_answerable for p in session.prompts.of_current.values())
        return ABSENT if is_elsewhere else ONLY_NEGATIVE
    prediction = session.answers.prediction(index)
    if prediction is not None and prediction.absence is not None:
        return prediction.absence
    if prediction is not None and not has_preview:
        mask = session.answers.mask(index)
        return COVERED if mask is not None and not mask.is_empty else EMPTY
    if prediction is not None and _is_saved(session, index):
        return SAVED_HERE.format(session.prompts.current_object)
    if prediction is not None:
        return _describe_commit(session, prompts)
    return WAITING if is_busy else SEGMENT_NEXT


def _describe_commit(session: SegmentationSession, prompts: PlanePrompts) -> str:
    """Say what to do with a mask. How to exclude is said until there is a first object."""
    if len(prompts.boxes_yxyx) > 1:
        return MANY_BOXES
    return COMMIT_NEXT if session.records.object_ids else COMMIT_FIRST


def _describe_without_prompts(session: SegmentationSession, index: Index, tool: str) -> str:
    """Say what to do on a slice on which the current object has no prompts."""
    current = session.prompts.current_object
    if session.answers.answered and has_uncommitted(session, current):
        return ELSEWHERE
    if _is_saved(session, index):
        return SAVED_HERE.format(current)
    is_elsewhere = bool(session.records.of(current))
    return SAVED_ELSEWHERE.format(current) if is_elsewhere else DRAWING.get(tool, START)


def _is_saved(session: SegmentationSession, index: Index) -> bool:
    """Whether the labels hold the current object on a slice as its prompts ask."""
    current = session.prompts.current_object
    is_there = session.records.get(current, index) is not None
    return is_there and not has_uncommitted(session, current)
