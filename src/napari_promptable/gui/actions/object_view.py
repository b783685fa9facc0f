"""Fills the list of objects from the session, and shows and hides objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import isnan
from typing import Any

from napari.layers import Labels
from napari.utils import CyclicLabelColormap, DirectLabelColormap
from qtpy.QtCore import QTimer
from qtpy.QtGui import QColor

from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.panels.object_table import ObjectList, ObjectRow
from napari_promptable.planes import Index, to_ranges

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
        self._rows: dict[int, ObjectRow] = {}
        self._hidden: HiddenObjects | None = None
        self._timer = QTimer(singleShot=True, interval=0)
        self._timer.timeout.connect(self._show)

    def close(self) -> None:
        """Show hidden objects, and stop updating the list."""
        self._timer.stop()
        self._show_all()

    def _show_all(self) -> None:
        if self._hidden is not None:
            self._hidden.show_all()
            self._hidden = None

    def follow(self, session: SegmentationSession | None) -> None:
        """List another session's objects, and hide none of them."""
        self._show_all()
        self._rows.clear()
        self.update([] if session is None else session.records.object_ids)

    def update(self, object_ids: Iterable[int]) -> None:
        """Update the rows of changed objects, many at once when Qt is idle."""
        session = self._workspace.session
        for object_id in object_ids:
            if session is not None and session.records.of(object_id):
                self._rows[object_id] = make_row(session, object_id)
            else:
                self._rows.pop(object_id, None)
        self._timer.start()

    def set_visible(self, object_id: int, is_visible: bool) -> None:
        """Show or hide one object in the labels layer."""
        job = self._workspace.job
        if job is None:
            return
        if self._hidden is None:
            self._hidden = HiddenObjects(job.labels_layer)
        self._hidden.set_visible(object_id, is_visible, self._rows)
        self._timer.start()

    def _show(self) -> None:
        if self._hidden is not None:
            self._hidden.apply(self._rows)
        rows = [self._rows[object_id] for object_id in sorted(self._rows)]
        self._list.set_rows(rows, self._hidden.ids if self._hidden is not None else ())


class HiddenObjects:
    """Hides objects of a labels layer by replacing its colormap, and restores it."""

    def __init__(self, layer: Labels) -> None:
        self._layer = layer
        self._colormap: CyclicLabelColormap | DirectLabelColormap = layer.colormap
        self.ids: set[int] = set()

    def set_visible(self, object_id: int, is_visible: bool, known: Collection[int]) -> None:
        """Show or hide one of the known objects."""
        if not self.ids:
            self._colormap = self._layer.colormap
        if is_visible:
            self.ids.discard(object_id)
        else:
            self.ids.add(object_id)
        if self.ids:
            self.apply(known)
        else:
            self._layer.colormap = self._colormap

    def apply(self, known: Collection[int]) -> None:
        """Colour the visible objects, and make the hidden ones transparent."""
        if self.ids:
            colors: dict[int | None, Any] = {None: "gray", 0: "transparent"}
            for object_id in {*known, *self.ids}:
                is_hidden = object_id in self.ids
                colors[object_id] = "transparent" if is_hidden else self._color(object_id)
            self._layer.colormap = DirectLabelColormap(color_dict=colors)

    def _color(self, object_id: int) -> Any:
        return self._colormap.map(object_id)

    def show_all(self) -> None:
        """Show all objects again."""
        if self.ids:
            self.ids.clear()
            self._layer.colormap = self._colormap


def color_of(job: AnnotationJob | None, object_id: int) -> QColor:
    """Colour of an object in the labels layer."""
    color = None if job is None else job.labels_layer.get_color(object_id)
    if color is None:
        return QColor(0, 0, 0, 0)
    return QColor.fromRgbF(*(float(channel) for channel in color))


def make_row(session: SegmentationSession, object_id: int) -> ObjectRow:
    """Describe one object."""
    records = session.records.of(object_id)
    known = [r.confidence for r in records.values() if not isnan(r.confidence)]
    return ObjectRow(
        object_id,
        session.records.class_names.get(object_id, ""),
        describe_slices(records),
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
