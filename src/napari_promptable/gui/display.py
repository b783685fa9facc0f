"""Shows the state of the annotation job and of the work on the panel and the layers."""

from __future__ import annotations

from napari.utils.notifications import show_error

from napari_promptable.annotation.patches import LabelPatch
from napari_promptable.errors import PromptableError
from napari_promptable.gui.actions.object_view import ObjectView
from napari_promptable.gui.actions.review import ReviewActions
from napari_promptable.gui.drawing import DrawingPause
from napari_promptable.gui.layers.adapters import describe_unusable
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.panels.next_step import NO_IMAGE, describe_next_step
from napari_promptable.gui.panels.panel import Panel
from napari_promptable.gui.work.scheduler import Scheduler
from napari_promptable.planes import Index


class Display:
    """Shows the state whenever a signal says that it changed.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    scheduler : Scheduler
        Computes.
    panel : Panel
        The controls.
    object_view : ObjectView
        Fills the list of objects.
    review : ReviewActions
        Fills the confidence strip.
    """

    def __init__(
        self,
        workspace: Workspace,
        scheduler: Scheduler,
        panel: Panel,
        object_view: ObjectView,
        review: ReviewActions,
    ) -> None:
        self._workspace, self._scheduler, self._panel = workspace, scheduler, panel
        self._object_view, self._review = object_view, review
        self._note = self._details = ""
        self._is_closed = False
        self._pause = DrawingPause(panel)
        scheduler.live.begun.connect(self._pause.start)
        scheduler.live.answered.connect(self._pause.end)

    def close(self) -> None:
        """Leave the panel alone: Qt may have deleted it."""
        self._is_closed = True
        self._pause.end()

    # the session

    def show_object(self, object_id: int) -> None:
        """Show another object's prompts."""
        self._panel.object.set_object(object_id)
        self._review.show()
        job = self._workspace.job
        if job is not None:
            prompts = job.session.prompts.of(object_id)
            self._scheduler.live.adopt(prompts)
            self._panel.object.candidates.set_one_part(self._scheduler.live.one_part)
            job.layers.write(object_id, prompts)
        self.refresh()

    def show_records(self, object_ids: frozenset[int]) -> None:
        """Update objects in the list and the strip."""
        self._object_view.update(object_ids)
        self._review.show()

    def show_labels(self, patches: tuple[LabelPatch, ...]) -> None:
        """Redraw the labels layer after a change of its array."""
        job = self._workspace.job
        if job is not None:
            indices = {job.planes.index_of(patch.region) for patch in patches}
            job.watch.redraw(indices)
            for index in indices:
                self._scheduler.live.update_answer(index)

    def show_plane(self) -> None:
        """Follow the slice in view. The last sentence was about another one."""
        self._review.show()
        self.say("")

    def show_tool(self) -> None:
        """Light the button of the active tool, or none."""
        job = self._workspace.job
        self._panel.object.set_tool("" if job is None else job.layers.tool.active)

    def follow_tool(self, _tool: str) -> None:
        """Show the active tool, and how to bring it back if there is none."""
        self.show_tool()
        self.say("")

    # the status

    def show_work(self, text: str) -> None:
        """Show that a task is running."""
        self._panel.status.set_work(text)
        self.refresh()

    def show_idle(self) -> None:
        """Show that no task is running."""
        self._panel.status.set_work(None)
        self.refresh()

    def show_error(self, error: PromptableError) -> None:
        """Turn an error into a notification, the one place that does."""
        show_error(str(error))
        self.say(str(error))

    def show_failure(self, text: str, details: str) -> None:
        """Say in short what failed. The details are in the status line's tooltip."""
        show_error(text)
        self.say(text, details)

    def say(self, text: str, details: str = "") -> None:
        """Show a sentence until the next event, or the next step if it is empty."""
        self._note, self._details = text, details
        self.refresh()

    def clear_note(self, *_: object) -> None:
        """Show the next step again: the last sentence was about an earlier state."""
        self.say("")

    def refresh(self, *_: object) -> None:
        """Show the candidates, which buttons work, and the next step."""
        if self._is_closed:
            return
        job, session = self._workspace.job, self._workspace.session
        image, index = self._workspace.image, self._workspace.visible_index()
        self._show_candidates(index)
        self._object_view.cover_previewed()
        self._panel.object.set_possible(
            prompt=job is not None and not job.layers.edits.is_in_3d,
            commit=session is not None and bool(session.answers.answered),
            undo=session is not None and session.history.can_undo,
            redo=session is not None and session.history.can_redo,
        )
        next_step = describe_next_step(
            session,
            index,
            problem=NO_IMAGE if image is None else describe_unusable(image),
            has_preview=job is not None and index is not None and job.layers.shows_mask(index),
            is_busy=self._scheduler.is_busy,
            tool="" if job is None else job.layers.tool.active,
        )
        self._panel.status.set_status(self._note or next_step, self._details)

    def _show_candidates(self, index: Index | None) -> None:
        session = self._workspace.session
        prediction = None
        if session is not None and index is not None:
            prediction = session.answers.prediction(index)
        if prediction is None or session is None or index is None:
            self._panel.object.candidates.show_candidates((), None)
        else:
            self._panel.object.candidates.show_candidates(
                prediction.predicted_iou.tolist(), session.answers.candidate(index)
            )
