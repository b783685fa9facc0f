"""Verbs for objects in the labels layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from napari_promptable.annotation.patches import OverlapPolicy
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.uncommitted import has_uncommitted
from napari_promptable.gui.actions import messages
from napari_promptable.gui.actions.performer import Performer
from napari_promptable.gui.layers.canvas import Place
from napari_promptable.gui.layers.layer_labels import array_of
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.fields import Fields
from napari_promptable.planes import Index


class ObjectActions:
    """Verbs for objects in the labels layer, including ones the plugin did not make.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    performer : Performer
        Performs the verbs.
    fields : Fields
        Chooses the part of a plane in which an object is corrected.
    pointer : callable
        Returns where the pointer is; None outside the plane in view.
    """

    def __init__(
        self,
        workspace: Workspace,
        performer: Performer,
        fields: Fields,
        pointer: Callable[[], Place | None],
    ) -> None:
        self._workspace, self._fields = workspace, fields
        self._performer, self._pointer = performer, pointer

    @property
    def _session(self) -> SegmentationSession | None:
        return self._workspace.session

    def go_to(self, object_id: int) -> None:
        """Show a slice on which an object is: the one in view, or else its largest.

        An object that is not committed becomes the current one.
        """
        session = self._session
        if session is None:
            return
        if has_uncommitted(session, object_id):
            self._performer.leave_object(session.prompts.select, object_id)
        records = session.records.of(object_id)
        places = [*records, *session.prompts.of(object_id)]
        if places and self._workspace.visible_index() not in places:
            largest = max(records, key=lambda i: _area(records[i].extent), default=places[0])
            self._workspace.show_plane(largest)

    def refine(self, object_id: int) -> None:
        """Correct an object by clicks, on the slice in view or one on which it is."""
        if self._session is None:
            return
        self.go_to(object_id)
        index = self._workspace.visible_index()
        if index is None:
            return
        field = self._fields.for_object(object_id, index)
        self._performer.perform(self._session.refine_object, object_id, index, field)
        if self._session.prompts.current_object == object_id:
            self._performer.noted.emit(messages.describe_refined(object_id))

    def pick_under_pointer(self) -> None:
        """Correct the object under the pointer."""
        place = self._pointer()
        if place is not None:
            self.pick(*place)

    def pick(self, index: Index, point_yx: npt.NDArray[np.floating]) -> None:
        """Correct the object at a position on a plane."""
        job = self._workspace.job
        if job is None:
            return
        row, column = (int(i) for i in np.rint(point_yx))
        region = job.planes.region(index, slice(row, row + 1), slice(column, column + 1))
        object_id = int(np.asarray(array_of(job.labels_layer)[region]).item())
        if object_id == 0:
            self._performer.noted.emit(messages.NOTHING_TO_PICK)
        else:
            self.refine(object_id)

    def refine_selected(self, object_ids: Sequence[int]) -> None:
        """Correct the object that is selected in the list."""
        if len(object_ids) == 1:
            self.refine(object_ids[0])
        else:
            self._performer.noted.emit(messages.HOW_TO_PICK)

    def delete(self, object_ids: Sequence[int]) -> None:
        """Make objects background."""
        session = self._session
        if session is None or not object_ids:
            return
        self._performer.perform_and_note(session.delete_objects, list(object_ids))

    def merge(self, object_ids: Sequence[int]) -> None:
        """Make one object of several. It has the lowest of their ids."""
        session = self._session
        if session is None or len(object_ids) < 2:
            return
        into = min(object_ids)
        self._performer.perform_and_note(session.merge_objects, list(object_ids), into)

    def relabel(self, object_id: int, new_id: int) -> None:
        """Give an object another id."""
        session = self._session
        if session is None:
            return
        self._performer.perform_and_note(session.relabel_object, object_id, new_id)

    def set_policy(self, policy: str) -> None:
        """Say what happens where a new object meets others."""
        if self._session is not None:
            self._session.labels.policy = OverlapPolicy(policy)


def _area(extent: tuple[slice, slice] | None) -> int:
    return 0 if extent is None else _length(extent[0]) * _length(extent[1])


def _length(part: slice) -> int:
    return int(part.stop - part.start)
