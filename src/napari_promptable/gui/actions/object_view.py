"""Fills the list of objects from the session, and shows and hides objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import isnan

from qtpy.QtCore import QTimer
from qtpy.QtGui import QColor

from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.uncommitted import has_uncommitted
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.object_colors import NO_CLASS, ObjectColors
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.panels.object_table import ObjectList, ObjectRow
from napari_promptable.planes import Index, to_ranges

NOT_COMMITTED = "not committed"
_MAX_RANGES = 3  # of slices that are written out


class ObjectView:
    """Fills the list of objects, and recomputes rows of changed objects only.

    Parameters
    ----------
    workspace : Workspace
        Whose objects are shown.
    object_list : ObjectList
        The list.
    """

    def __init__(self, workspace: Workspace, object_list: ObjectList) -> None:
        self._workspace = workspace
        self._list = object_list
        self._changed: set[int] = set()
        self._colors: ObjectColors | None = None
        self._is_by_class = False
        self._timer = QTimer(singleShot=True, interval=0)
        self._timer.timeout.connect(self._show)

    def stop(self) -> None:
        """Stop updating the list."""
        self._timer.stop()

    def close(self) -> None:
        """Show all objects in their own colours."""
        self._restore_colors()

    def _restore_colors(self) -> None:
        if self._colors is not None:
            self._colors.restore()
            self._colors = None

    def _colors_of_job(self) -> ObjectColors | None:
        """Return how the objects of the job's labels layer are coloured."""
        if self._colors is None and self._workspace.job is not None:
            self._colors = ObjectColors(self._workspace.job.labels_layer)
        return self._colors

    def follow(self, session: SegmentationSession | None) -> None:
        """List another session's objects, and hide none of them."""
        self._restore_colors()
        self._list.clear()
        self._changed.clear()
        if session is not None:
            self.update([*session.records.object_ids, *session.prompts.objects])
        self._timer.start()

    def update(self, object_ids: Iterable[int]) -> None:
        """Update the rows of changed objects, many at once when Qt is idle."""
        self._changed.update(object_ids)
        self._timer.start()

    def update_one(self, object_id: int) -> None:
        """Update the row of one object, such as one whose prompts are not committed."""
        self.update([object_id])

    def _update_rows(self) -> None:
        session, changed = self._workspace.session, self._changed.copy()
        self._changed.clear()
        self._list.update_rows(
            {i: None if session is None else make_row(session, i) for i in changed}
        )

    def set_visible(self, object_id: int, is_visible: bool) -> None:
        """Show or hide one object in the labels layer."""
        colors = self._colors_of_job()
        if colors is not None:
            colors.set_hidden(object_id, not is_visible)
            self._timer.start()

    def color_by_class(self, is_by_class: bool) -> None:
        """Show objects in the colors of their classes, or in their own."""
        self._is_by_class = is_by_class
        self.recolor()

    def recolor(self) -> None:
        """Update the colors of classes, when Qt is idle."""
        self._timer.start()

    def _class_colors(self) -> dict[int, str]:
        """Colors of the objects by id, empty unless objects show their class."""
        session = self._workspace.session
        if session is None or not self._is_by_class:
            return {}
        names, colors = session.records.class_names, session.classes.colors
        return {i: colors.get(names.get(i, ""), NO_CLASS) for i in session.records.object_ids}

    def select(self, object_ids: Collection[int]) -> None:
        """Let the selected objects stand out on the canvas."""
        colors = self._colors_of_job()
        if colors is not None:
            colors.select(object_ids)

    def cover_previewed(self) -> None:
        """Hide the object that is being corrected under its preview on the slice in view."""
        session, index = self._workspace.session, self._workspace.visible_index()
        colors = self._colors_of_job()
        if session is None or colors is None:
            return
        current = session.prompts.current_object
        is_covered = (
            index is not None
            and session.answers.prediction(index) is not None
            and session.records.get(current, index) is not None
        )
        colors.cover({current} if is_covered else ())

    def _show(self) -> None:
        self._update_rows()
        colors, by_class = self._colors_of_job(), self._class_colors()
        if colors is not None:
            colors.set_class_colors(by_class)
        self._list.set_hidden(() if self._colors is None else self._colors.hidden)


def color_of(job: AnnotationJob | None, object_id: int) -> QColor:
    """Colour of an object in the labels layer, also while it is hidden or dimmed."""
    color = None if job is None else job.labels_layer.get_color(object_id)
    if color is None:
        return QColor(0, 0, 0, 0)
    return QColor.fromRgbF(*(float(channel) for channel in color[:3]))


def make_row(session: SegmentationSession, object_id: int) -> ObjectRow | None:
    """Describe one object, or None if it has neither pixels nor prompts to commit."""
    records, is_uncommitted = session.records.of(object_id), has_uncommitted(session, object_id)
    if not records and not is_uncommitted:
        return None
    known = [r.confidence for r in records.values() if not isnan(r.confidence)]
    return ObjectRow(
        object_id,
        session.records.class_names.get(object_id, ""),
        ", ".join(filter(None, (describe_slices(records), NOT_COMMITTED * is_uncommitted))),
        min(known, default=float("nan")),
    )


def describe_slices(indices: Iterable[Index]) -> str:
    """List an object's slices, such as "3–7, 9", or count them if that is too long.

    Parameters
    ----------
    indices : iterable of Index
        Its planes.

    Returns
    -------
    str
        Empty for a 2D image.
    """
    ordered = sorted(indices)
    if not ordered or not ordered[0]:
        return ""
    if len(ordered[0]) > 1:
        return f"{len(ordered)} planes"
    ranges = to_ranges(position for (position,) in ordered)
    if len(ranges) > _MAX_RANGES:
        return f"{len(ordered)} of {ordered[0][0]}–{ordered[-1][0]}"
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in ranges)
