"""Verbs for reviewing the objects that automatic segmentation found, doubtful ones first."""

from __future__ import annotations

from collections.abc import Callable

from napari_promptable.annotation.records import Key, Origin
from napari_promptable.gui.actions import messages
from napari_promptable.gui.actions.objects import ObjectActions
from napari_promptable.gui.actions.performer import Performer
from napari_promptable.gui.layers.workspace import Workspace


class DoubtfulObjects:
    """Leads through doubtful objects, each of which is accepted, corrected or deleted.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    performer : Performer
        Reports success and errors.
    begin_object : callable
        Begins a new object once none is doubtful any more.
    objects : ObjectActions
        Verbs for single objects.
    """

    def __init__(
        self,
        workspace: Workspace,
        performer: Performer,
        begin_object: Callable[[], None],
        objects: ObjectActions,
    ) -> None:
        self._workspace, self._performer = workspace, performer
        self._begin_object, self._objects = begin_object, objects
        self._seen: set[Key] = set()
        self._shown: Key | None = None

    def next(self) -> bool:
        """Go to the least certain object not seen yet. Returns whether there is one."""
        doubtful = self._doubtful()
        if not doubtful:
            return False
        unseen = {
            key: confidence for key, confidence in doubtful.items() if key not in self._seen
        }
        if not unseen:  # begin again
            self._seen.clear()
            unseen = doubtful
        object_id, index = key = min(unseen, key=unseen.__getitem__)
        self._seen.add(key)
        self._shown = key
        self._workspace.show_plane(index)
        self._objects.refine(object_id)
        text = messages.describe_doubtful_object(object_id, unseen[key], len(unseen) - 1)
        self._performer.noted.emit(text)
        return True

    def _doubtful(self) -> dict[Key, float]:
        """Confidence of the doubtful automatic objects."""
        session = self._workspace.session
        if session is None:
            return {}
        return {
            (object_id, index): record.confidence
            for object_id in session.records.object_ids
            for index, record in session.records.of(object_id).items()
            if record.origin is Origin.AUTOMATIC and record.is_doubtful
        }

    def looks_right(self) -> bool:
        """Accept the object that is shown, and go to the next. Returns whether one is."""
        session, shown = self._workspace.session, self._shown
        if session is None or shown is None or not self._is_under_review():
            return False
        session.records.check(*shown)
        self._go_on()
        return True

    def delete(self) -> bool:
        """Delete the object that is shown, and go to the next. Returns whether one is."""
        shown = self._shown
        if shown is None or not self._is_under_review():
            return False
        self._objects.delete([shown[0]])
        self._go_on()
        return True

    def _is_under_review(self) -> bool:
        """Whether the current object is the one that was shown last."""
        session = self._workspace.session
        if session is None or self._shown is None:
            return False
        object_id, index = self._shown
        is_current = session.prompts.current_object == object_id
        return is_current and session.records.get(object_id, index) is not None

    def _go_on(self) -> None:
        """Go to the next object, or begin a new one."""
        self._shown = None
        if not self.next():
            self._begin_object()
            self._performer.noted.emit(messages.ALL_REVIEWED)
