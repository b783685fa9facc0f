"""Objects whose prompts have not reached the labels yet."""

from __future__ import annotations

from dataclasses import replace

from napari_promptable.annotation.history import Verb
from napari_promptable.annotation.prompt_edits import PromptsByPlane, have_same_prompts
from napari_promptable.annotation.session import SegmentationSession


def has_uncommitted(session: SegmentationSession, object_id: int) -> bool:
    """Whether an object has prompts that no change of the labels has answered.

    A mask to correct without any click or shape asks for nothing, and neither do prompts that
    merely say where the object is absent.
    """
    prompts = _asking(session.prompts.of(object_id))
    return bool(prompts) and not have_same_prompts(prompts, _answered(session, object_id))


def take_along(former: SegmentationSession, session: SegmentationSession) -> None:
    """Move the object that the user is making to another session, under a free id there.

    A commit then writes it to that session's labels. An object that has pixels in the former
    labels stays.
    """
    object_id = former.prompts.current_object
    if former.records.of(object_id) or not has_uncommitted(former, object_id):
        return
    prompts = dict(former.prompts.of_current)
    former.prompts.assign({object_id: {}})
    new_id = session.prompts.new_object()
    session.prompts.assign({new_id: prompts})
    session.prompts.show(new_id)


def _answered(session: SegmentationSession, object_id: int) -> PromptsByPlane:
    """Prompts that the last change of the labels answered for an object."""
    for change in reversed(session.history.changes):
        if change.verb is Verb.RELABEL and object_id == change.object_ids[0]:
            object_id = change.object_ids[1]  # its id before
        elif object_id in change.asked:
            return _asking(change.asked[object_id])
    return {}


def _asking(prompts: PromptsByPlane) -> PromptsByPlane:
    return {
        index: asked
        for index, asked in prompts.items()
        if asked.is_answerable and not replace(asked, mask=None).is_empty
    }
