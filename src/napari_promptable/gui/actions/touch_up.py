"""Verbs that correct the shape of objects in the labels layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from napari_promptable.annotation.history import Verb
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.touch_up import split_object, touch_up
from napari_promptable.gui.actions import messages
from napari_promptable.gui.actions.performer import Performer
from napari_promptable.gui.layers.cutting_line import CuttingLine
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.mask_edits import ids_under_line
from napari_promptable.planes import Index


class TouchUpActions:
    """Verbs for the selected objects, or for the current one if none is selected.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    performer : Performer
        Performs the verbs.
    selected : callable
        Returns the ids of the objects that are selected in the list.
    line : CuttingLine
        The tool that draws the line of a split.

    Attributes
    ----------
    is_on_all_slices : bool
        Whether all slices of the objects are corrected, or only the one in view.
    """

    def __init__(
        self,
        workspace: Workspace,
        performer: Performer,
        selected: Callable[[], list[int]],
        line: CuttingLine,
    ) -> None:
        self._workspace, self._performer, self._selected = workspace, performer, selected
        self._line = line
        self.is_on_all_slices = False
        line.drawn.connect(self._split)

    @property
    def _session(self) -> SegmentationSession | None:
        return self._workspace.session

    def _indices(self) -> list[Index] | None:
        """Planes to correct, or None for all."""
        index = self._workspace.visible_index()
        return None if self.is_on_all_slices or index is None else [index]

    def touch_up(self, verb: Verb) -> None:
        """Correct the objects by one of `TOUCH_UPS`."""
        session = self._session
        if session is None:
            return
        ids = self._selected() or [session.prompts.current_object]
        known = [object_id for object_id in ids if session.records.of(object_id)]
        if known:
            self._performer.perform_and_note(touch_up, session, verb, known, self._indices())
        else:
            self._performer.noted.emit(messages.HOW_TO_SELECT)

    def start_split(self) -> None:
        """Let the user draw a line across an object."""
        job = self._workspace.job
        if job is None or not self._performer.can_write():
            return
        if job.visible_index() is None:
            self._performer.noted.emit(messages.SPLIT_IN_2D)
            return
        self._line.start(job)
        self._performer.noted.emit(messages.HOW_TO_SPLIT)

    def _split(self, index: Index, line_yx: npt.NDArray[np.floating]) -> None:
        """Split the object that holds most of the line, a selected one if any is."""
        session = self._session
        if session is None:
            return
        under = _ids_under(session, index, line_yx)
        selected = self._selected()
        meant = [object_id for object_id in under if object_id in selected or not selected]
        if meant:
            self._performer.perform_and_note(
                split_object, session, meant[0], line_yx, index, self._indices()
            )
        else:
            self._performer.noted.emit(messages.NOTHING_TO_SPLIT)


def _ids_under(
    session: SegmentationSession, index: Index, line_yx: npt.NDArray[np.floating]
) -> list[int]:
    """Ids of the objects under a line. Only the part of the plane around it is read."""
    low, high = np.floor(line_yx.min(axis=0)), np.ceil(line_yx.max(axis=0)) + 1
    corner, end = (
        np.clip(each, 0, session.planes.plane_shape).astype(int) for each in (low, high)
    )
    rows, columns = (slice(start, stop) for start, stop in zip(corner, end, strict=True))
    region = session.planes.region(index, rows, columns)
    return ids_under_line(np.asarray(session.labels.array[region]), line_yx - corner)
