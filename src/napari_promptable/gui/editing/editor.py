"""Connects the window for editing objects with the segmentation widget of the same viewer."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel

from napari_promptable.gui.actions.exchange import ExchangeActions
from napari_promptable.gui.actions.measuring import MeasureActions
from napari_promptable.gui.actions.touch_up import TouchUpActions
from napari_promptable.gui.controller import PromptController
from napari_promptable.gui.editing.panel import EditorPanel
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.cutting_line import CuttingLine
from napari_promptable.gui.opening import OUTLINES, remove_opener, set_opener

_CLOSED = (
    "Open “Promptable segmentation” and this window again: it edits that widget's objects."
)


class ObjectEditor:
    """Edits the objects of a segmentation widget, until one of the two is closed.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer itself, not napari's proxy of it.
    controller : PromptController
        Of the segmentation widget.

    Attributes
    ----------
    panel : EditorPanel
        The controls.
    """

    def __init__(self, viewer: ViewerModel, controller: PromptController) -> None:
        self._viewer, self._controller = viewer, controller
        self._is_closed = False
        self._job: AnnotationJob | None = None
        self.panel = EditorPanel()
        self._line = CuttingLine(viewer)
        self._touch_up = TouchUpActions(
            controller.workspace, controller.performer, self._selected, self._line
        )
        self._measuring = MeasureActions(viewer, controller.workspace, controller.performer)
        self._exchange = ExchangeActions(
            viewer,
            controller.workspace,
            controller.performer,
            controller.sources,
            lambda layer: controller.choices.apply("labels", layer),
        )
        self._connect_classes()
        self._connect_results()
        touch_up = self.panel.touch_up
        touch_up.requested.connect(self._touch_up.touch_up)
        touch_up.split_requested.connect(self._touch_up.start_split)
        touch_up.all_slices_changed.connect(self._choose_slices)
        controller.workspace.job_changed.connect(self._follow_job)
        controller.closed.connect(self._part)
        self._follow_job()

    def _connect_classes(self) -> None:
        panel, actions = self.panel.classes, self._controller.class_actions
        panel.chosen.connect(actions.choose)
        panel.defined.connect(actions.define)
        panel.renamed.connect(actions.rename)
        panel.removed.connect(actions.remove)
        panel.assign_requested.connect(lambda name: actions.classify(self._selected(), name))
        panel.by_class_changed.connect(self._controller.object_view.color_by_class)

    def _connect_results(self) -> None:
        table, exchange = self.panel.table, self.panel.exchange
        table.measure_requested.connect(self._measuring.measure)
        table.save_requested.connect(self._measuring.save)
        table.object_chosen.connect(self._show_object)
        self._measuring.measured.connect(self._show_table)
        exchange.export_requested.connect(self._exchange.write)
        exchange.import_requested.connect(self._exchange.read)
        set_opener(self._viewer, OUTLINES, self._open_file)

    def _open_file(self, path: str) -> None:
        """Open a file that was dropped on the canvas as what the panel says."""
        self._exchange.read(path, self.panel.exchange.kind)

    def _show_table(self, table: Any) -> None:
        if not self._is_closed:
            self.panel.table.show_table(table)

    def _show_object(self, object_id: int) -> None:
        """Go to an object and select it in the list."""
        self._controller.object_actions.go_to(object_id)
        self._controller.panel.objects.select([object_id])

    def _selected(self) -> list[int]:
        return self._controller.panel.objects.selected

    def _choose_slices(self, is_all: bool) -> None:
        self._touch_up.is_on_all_slices = is_all

    def stop(self) -> None:
        """Disconnect from the segmentation widget. Our panel may be gone with its window."""
        if self._is_closed:
            return
        self._is_closed = True
        remove_opener(self._viewer, OUTLINES, self._open_file)
        self._listen_to(None)
        self._controller.workspace.job_changed.disconnect(self._follow_job)
        self._controller.closed.disconnect(self._part)

    def close(self) -> None:
        """Disconnect, and remove what we show on the canvas."""
        if self._is_closed:
            return
        self.stop()
        self._line.close()
        self._controller.object_view.color_by_class(False)

    def _part(self) -> None:
        """Stop: the segmentation widget was closed."""
        self.close()
        self.panel.show_problem(_CLOSED)

    # the annotation job

    def _follow_job(self, _former: object = None) -> None:
        """Show the present job's classes."""
        self._line.close()
        job = self._controller.workspace.job
        self._listen_to(job)
        is_stack = job is not None and bool(job.planes.other_axes)
        self.panel.touch_up.set_stack(is_stack)
        self.panel.table.set_stack(is_stack)
        self.panel.table.show_table(None)
        self._show_classes()

    def _listen_to(self, job: AnnotationJob | None) -> None:
        if self._job is not None:
            self._job.session.classes.changed.disconnect(self._show_classes)
        if job is not None:
            job.session.classes.changed.connect(self._show_classes)
        self._job = job

    def _show_classes(self) -> None:
        if self._job is None:
            self.panel.classes.show_classes({}, "")
        else:
            classes = self._job.session.classes
            self.panel.classes.show_classes(classes.colors, classes.current)
