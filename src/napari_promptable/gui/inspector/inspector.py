"""Connects the inspector's panel with the segmentation widget of the same viewer."""

from __future__ import annotations

from functools import partial
from typing import Any

from napari.components import ViewerModel

from napari_promptable.errors import PromptableError
from napari_promptable.field_prompts import in_field
from napari_promptable.gui.controller import PromptController
from napari_promptable.gui.inspector.heat_map import HeatMap
from napari_promptable.gui.inspector.panel import InspectorPanel
from napari_promptable.gui.inspector.source import Explained, ExplanationSource
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.canvas import PointerWatch
from napari_promptable.gui.work.threads import call_in_thread
from napari_promptable.gui.work.worker import Worker
from napari_promptable.predict.explanation import EncoderAttention

_CLOSED = (
    "Open “Promptable segmentation” and this window again: it shows that widget's answers."
)
_NO_CLICK = "Click an object first: you then see what the cell of that click attends to."


class Inspector:
    """Explains each answer of a segmentation widget, until one of the two is closed.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer itself, not napari's proxy of it.
    controller : PromptController
        Of the segmentation widget.
    """

    def __init__(self, viewer: ViewerModel, controller: PromptController) -> None:
        self._controller = controller
        self._shown: Explained | None = None
        self._is_closed = False
        self.panel = InspectorPanel()
        self.heat_map = HeatMap(viewer)
        workspace, scheduler = controller.workspace, controller.scheduler
        self._source = ExplanationSource(workspace, scheduler.encoder)
        self._worker = Worker(self._source)
        self._pointer = PointerWatch(viewer, workspace.locate)
        self._job: AnnotationJob | None = None
        self._source.explained.connect(self._show)
        self._source.failed.connect(self._show_problem)
        self._pointer.rested.connect(self._point)
        self.panel.changed.connect(self._show_map)
        self.panel.encoder.requested.connect(self._ask_encoder)
        self.panel.encoder.changed.connect(self._show_map)
        self._wakers = (scheduler.stopped, workspace.plane_changed, controller.performer.acted)
        for signal in self._wakers:
            signal.connect(self.wake)
        workspace.job_changed.connect(self._follow_job)
        workspace.pixels_changed.connect(self._forget)
        controller.closed.connect(self._part)
        self._follow_job()

    def stop(self) -> None:
        """Explain nothing any more. The panel may be gone already, with its window."""
        if self._is_closed:
            return
        self._is_closed = True
        self._worker.close()
        self._pointer.close()

    def close(self) -> None:
        """Remove the heat map and stop."""
        if self._is_closed:
            return
        self.stop()
        workspace = self._controller.workspace
        for signal in self._wakers:
            signal.disconnect(self.wake)
        workspace.job_changed.disconnect(self._follow_job)
        workspace.pixels_changed.disconnect(self._forget)
        self._controller.closed.disconnect(self._part)
        self._listen_to(None)
        self.heat_map.close()
        self._shown = None

    def wake(self, *_: object) -> None:
        """Explain the present prompts if that is due."""
        if not self._is_closed:
            self._worker.wake()

    @property
    def is_busy(self) -> bool:
        """Whether an explanation is under way."""
        return self._worker.is_busy

    def _follow_job(self, _former: object = None) -> None:
        """Wait for answers of the present job."""
        self._listen_to(self._controller.workspace.job)
        self.wake()

    def _listen_to(self, job: AnnotationJob | None) -> None:
        if self._job is not None:
            self._job.session.answers.changed.disconnect(self.wake)
        if job is not None:
            job.session.answers.changed.connect(self.wake)
        self._job = job

    def _forget(self) -> None:
        self._source.forget()

    def _part(self) -> None:
        """Stop: the segmentation widget was closed."""
        self.close()
        self.panel.show_problem(_CLOSED)

    def _show(self, explained: Explained | None) -> None:
        if not self._is_closed:
            self._shown = explained
            self.panel.set_explanation(None if explained is None else explained.explanation)
            self._show_map()

    def _show_problem(self, error: PromptableError) -> None:
        self._shown = None
        self.panel.show_problem(str(error))
        self.heat_map.hide()

    def _show_map(self) -> None:
        shown, encoder = self._shown, self.panel.encoder
        from_encoder = encoder.current_map()
        weights = self.panel.token_map() if from_encoder is None else from_encoder
        if shown is None or weights is None:
            self.heat_map.hide()
        else:
            cells = encoder.attention or shown.explanation
            self.heat_map.show(weights, cells, shown.job, shown.index, shown.field)

    def _ask_encoder(self) -> None:
        """Encode the plane once more, in a thread, and record the latest click's cell."""
        shown, encoder = self._shown, self._controller.scheduler.encoder()
        prompts = None if shown is None else shown.job.session.prompts.of_current
        asked = None if shown is None or prompts is None else prompts.get(shown.index)
        if shown is None or encoder is None or asked is None or not len(asked.points_yx):
            self.panel.encoder.say(_NO_CLICK)
            return
        position, planes, model = in_field(asked).points_yx[-1], encoder.planes, encoder.model

        def explain() -> EncoderAttention:
            from napari_promptable.predict.encoder_attention import explain_encoder

            return explain_encoder(model, planes.read(shown.index, asked.field), position)

        call_in_thread(explain, partial(self._show_encoder, shown), self._show_encoder_problem)

    def _show_encoder(self, asked: Explained, attention: EncoderAttention) -> None:
        if not self._is_closed and asked is self._shown:
            self.panel.encoder.show_attention(attention)

    def _show_encoder_problem(self, error: Exception) -> None:
        if not isinstance(error, PromptableError):
            raise error
        if not self._is_closed:
            self.panel.encoder.say(str(error))

    def _point(self, index: Any, position_yx: Any) -> None:
        if self._shown is not None and index == self._shown.index:
            field = self._shown.field
            self.panel.point_at(position_yx if field is None else field.to_field(position_yx))
