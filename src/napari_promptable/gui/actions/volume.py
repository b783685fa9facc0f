"""Verbs for stacks: choose slices and propagate objects through them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from psygnal import Signal

from napari_promptable.annotation.history import Prompts, Verb
from napari_promptable.annotation.outcomes import describe_outcome
from napari_promptable.annotation.propagated import (
    prompts_on,
    to_objects,
)
from napari_promptable.annotation.records import Key, ObjectOnSlice, Origin
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.errors import PromptableError
from napari_promptable.gui.actions import messages
from napari_promptable.gui.actions.performer import Performer
from napari_promptable.gui.actions.review import ReviewActions
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.panels.volume import VolumePanel
from napari_promptable.gui.work.propagation import PropagationRun
from napari_promptable.gui.work.scheduler import Scheduler
from napari_promptable.masks import PackedMask
from napari_promptable.planes import SliceLine, to_ranges
from napari_promptable.prompts import PlanePrompts
from napari_promptable.propagation.chains import PropagatedMask
from napari_promptable.propagation.settings import PropagationSettings


class VolumeActions:
    """Verbs for stacks, which also fill the volume panel.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    scheduler : Scheduler
        Runs the propagation.
    performer : Performer
        Performs the verbs.
    panel : VolumePanel
        Controls.

    Attributes
    ----------
    review : ReviewActions
        Verbs for the result.
    shown_changed : psygnal.Signal
        Emits whether the image is a stack, for which the panel is shown.
    """

    shown_changed = Signal(bool)

    def __init__(
        self,
        workspace: Workspace,
        scheduler: Scheduler,
        performer: Performer,
        panel: VolumePanel,
    ) -> None:
        self._workspace, self._scheduler = workspace, scheduler
        self._performer, self._panel = performer, panel
        self._run: PropagationRun | None = None
        self.review = ReviewActions(workspace, performer, panel.strip, self.line, self._found)
        self._asked: Prompts = {}

    @property
    def _session(self) -> SegmentationSession | None:
        return self._workspace.session

    # which slices

    def follow_session(self) -> None:
        """Offer the axes of another job's image, and end the propagation of the last job."""
        run, self._run = self._run, None
        if run is not None:
            text = messages.describe_ended_propagation(run.num_slices)
            self._performer.note_soon(text)
        self.review.begin(None)
        self._scheduler.propagation.drop()
        self._panel.hide_question()
        job = self._workspace.job
        axes = [] if job is None else job.propagation_axes()
        self._panel.set_axes(axes)
        self.choose_axis()
        self.shown_changed.emit(bool(axes))

    def choose_axis(self, _axis: int = 0) -> None:
        """Offer the slices of the chosen axis."""
        line = self.line()
        self._panel.set_length(1 if line is None else line.length)
        self.review.show()

    def line(self) -> SliceLine | None:
        """Slices along the chosen axis through the plane in view."""
        index, axis = self._workspace.visible_index(), self._panel.axis
        if self._session is None or index is None or axis < 0:
            return None
        planes = self._session.planes
        return SliceLine(planes.other_axes.index(axis), index, planes.shape[axis])

    def _found(self) -> Iterable[PropagatedMask]:
        """Return the masks of the running propagation."""
        return () if self._run is None else self._run.masks

    # propagation

    @property
    def is_running(self) -> bool:
        """Whether a propagation is running or waits for a decision."""
        return self._run is not None

    def propagate(self) -> None:
        """Carry the current object, or all, from the prompted slices to the others."""
        line, session = self.line(), self._session
        if line is None or session is None or not self._performer.can_write():
            return
        if self._run is not None:
            self._performer.noted.emit(messages.STILL_PROPAGATING)
            return
        ids = (
            list(session.prompts.objects)
            if self._panel.is_for_all
            else [session.prompts.current_object]
        )
        on_line = {i: prompts_on(line, session.prompts.of(i)) for i in ids}
        objects = {
            i: at for i, at in on_line.items() if any(p.is_answerable for p in at.values())
        }
        if not objects:
            self._performer.noted.emit(messages.NO_PROMPTS)
            return
        settings = self._panel.settings()
        changed = self._changed_slices(session, line, objects, settings)
        if changed is not None and not any(changed.values()):
            self._performer.noted.emit(messages.NO_CHANGES)
            return
        self.review.begin(next(iter(objects)))
        self._asked = {i: dict(session.prompts.of(i)) for i in objects}
        self._run = PropagationRun(line, objects, settings, changed)
        self._performer.noted.emit("")
        self._scheduler.propagation.start(self._run, self._show_found, self._finish, self._fail)
        self._scheduler.demand()

    def _changed_slices(
        self,
        session: SegmentationSession,
        line: SliceLine,
        objects: Mapping[int, Mapping[int, PlanePrompts]],
        settings: PropagationSettings,
    ) -> dict[int, Collection[int]] | None:
        """Slices whose prompts changed since the last propagation of just these objects.

        None if all slices must be computed: there was no propagation, or another one.
        """
        details = _details(line, settings)
        for change in reversed(session.history.changes):
            is_same = (
                change.verb is Verb.PROPAGATE and details.items() <= change.details.items()
            )
            if not set(change.object_ids) & set(objects):
                continue
            if change.verb in (Verb.COMMIT, Verb.CLEAR):
                continue
            is_whole = is_same and change.details["is_complete"]
            if not is_whole or set(change.object_ids) != set(objects):
                return None
            return {
                object_id: [
                    position
                    for position in range(line.length)
                    if change.asked[object_id].get(line.at(position)) != at.get(position)
                ]
                for object_id, at in objects.items()
            }
        return None

    def _show_found(self, values: list[PropagatedMask]) -> None:
        """Preview masks that are not committed yet."""
        run, job = self._run, self._workspace.job
        if run is None or job is None:
            return
        for position in dict.fromkeys(value.position for value in values):
            masks = [value.packed for value in run.masks.on_slice(position).values()]
            job.layers.show_mask(run.line.at(position), PackedMask.unite(masks))
        self.review.show()

    def _finish(self) -> None:
        """Commit all masks as one change."""
        run, session = self._run, self._session
        self._run = None
        if run is None or session is None:
            return
        found = to_objects(run.masks, run.line)
        empty = PackedMask.empty(session.planes.plane_shape)
        for object_id, index in run.slices_done_again() - found.keys():
            record = session.records.get(object_id, index)
            if record is not None and record.origin is Origin.PROPAGATED:
                found[object_id, index] = ObjectOnSlice.of_mask(empty, Origin.PROPAGATED)
        self._commit(run, found, is_complete=True)

    def _commit(
        self, run: PropagationRun, found: Mapping[Key, ObjectOnSlice], *, is_complete: bool
    ) -> None:
        session = self._session
        self._clear_preview(run)
        if session is None:
            return
        written: dict[int, list[int]] = {}
        for object_id, index in found:
            written.setdefault(object_id, []).append(index[run.line.place])
        slices = {str(object_id): to_ranges(at) for object_id, at in written.items()}
        details = _details(run.line, run.settings)
        details |= {"slices": slices, "is_complete": is_complete}
        outcome = self._performer.perform(session.commit_masks, found, details, self._asked)
        if outcome is not None:
            doubtful = messages.describe_doubtful(self.review.num_doubtful, "slice")
            self._performer.noted.emit(describe_outcome(outcome) + doubtful)
        self.review.show()

    def _fail(self, error: PromptableError | None) -> None:
        """Ask whether to keep the finished slices after an error, or None: a cancellation."""
        run = self._run
        if error is not None:
            self._performer.failed.emit(error)
        if run is None:
            return
        if run.num_slices:
            self._panel.ask_to_keep(run.num_slices)
            return
        self._run = None
        if error is None:
            self._performer.noted.emit(messages.NO_SLICE_DONE)

    def keep(self, is_kept: bool) -> None:
        """Commit the slices finished before the propagation ended, or discard them."""
        run, self._run = self._run, None
        if run is None:
            return
        if is_kept:
            found = to_objects(run.masks, run.line)
            self._commit(run, found, is_complete=False)
        else:
            self._clear_preview(run)
            self.review.show()

    def _clear_preview(self, run: PropagationRun) -> None:
        """Show the current object's answers again instead of the run's masks."""
        job = self._workspace.job
        if job is not None:
            for position in {value.position for value in run.masks}:
                index = run.line.at(position)
                job.layers.show_mask(index, job.session.answers.mask(index))


def _details(line: SliceLine, settings: PropagationSettings) -> dict[str, object]:
    """Return the plain values that describe a propagation."""
    values = settings.to_dict()
    return {"axis": line.place, "others": list(line.others), "settings": values}
