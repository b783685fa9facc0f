"""Verbs for finding all objects: look, choose by thresholds, reject some, commit the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_promptable.annotation.answers import PackedAnswer
from napari_promptable.annotation.automatic import (
    NewObjects,
    ask_about_gaps,
    commit_new,
    first_free_id,
)
from napari_promptable.annotation.outcomes import describe_outcome
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.errors import PromptableError
from napari_promptable.gui.actions import messages
from napari_promptable.gui.actions.performer import Performer
from napari_promptable.gui.actions.volume import VolumeActions
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.regions import (
    SearchRegion,
    selected_region,
    visible_region,
)
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.panels.automatic import AutomaticPanel, Where
from napari_promptable.gui.work.automatic import AutomaticRun
from napari_promptable.gui.work.scheduler import Scheduler
from napari_promptable.masks import BoolArray, PackedMask
from napari_promptable.planes import Index

if TYPE_CHECKING:  # imports torch
    from napari_promptable.instances.automatic import AutomaticResult


class AutomaticActions:
    """Verbs for finding all objects, which also fill the panel.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    scheduler : Scheduler
        Runs the search.
    performer : Performer
        Reports success and errors.
    volume : VolumeActions
        Knows the axis of a stack.
    panel : AutomaticPanel
        Controls.
    """

    def __init__(
        self,
        workspace: Workspace,
        scheduler: Scheduler,
        performer: Performer,
        volume: VolumeActions,
        panel: AutomaticPanel,
    ) -> None:
        self._workspace, self._scheduler = workspace, scheduler
        self._performer, self._volume, self._panel = performer, volume, panel
        self._results: dict[Index, AutomaticResult] = {}
        panel.find_requested.connect(self.find)
        panel.settings_changed.connect(self.choose_by_settings)
        panel.commit_requested.connect(self.commit)
        panel.discard_requested.connect(self.discard)
        panel.close_requested.connect(self.discard)

    @property
    def has_found(self) -> bool:
        """Whether found objects wait for a decision."""
        return bool(self._results)

    # looking

    def find(self) -> None:
        """Find all objects where the panel says, in the place of any found before."""
        job, index = self._workspace.job, self._workspace.visible_index()
        if job is None or index is None or not self._performer.can_write():
            return
        where = self._panel.where
        region = self._region(job)
        if region is None and where is Where.SHAPE:
            self._performer.noted.emit(messages.NO_SHAPE)
            return
        self.discard()
        line = self._volume.line() if where is Where.STACK else None
        indices = [index] if line is None else [line.at(z) for z in range(line.length)]
        labels = job.session.labels.array
        run = AutomaticRun(indices, self._panel.changes(), region, labels)
        self._scheduler.automatic.start(
            run, lambda _: None, lambda: self._finish(run), self._fail
        )
        self._scheduler.demand()

    def _region(self, job: AnnotationJob) -> SearchRegion | None:
        """Return where to look. None is everywhere, or that no shape is selected."""
        if self._panel.where is Where.VIEW:
            return visible_region(job.viewer, job.image, job.planes)
        if self._panel.where is Where.SHAPE:
            return selected_region(job.viewer, job.image, job.planes)
        return None

    def _finish(self, run: AutomaticRun) -> None:
        """Show the objects found, for the user to decide."""
        self._results = run.results
        if run.settings is not None:
            self._panel.set_settings(run.settings)
        self.show()
        self._performer.noted.emit(messages.FOUND_OBJECTS)

    def _fail(self, error: PromptableError | None) -> None:
        """Report an error. None is a cancellation."""
        if error is not None:
            self._performer.failed.emit(error)

    def forget(self) -> None:
        """Drop the search and its results: another job has begun."""
        if self._results or self._scheduler.automatic.is_running:
            count = sum(len(result.chosen) for result in self._results.values())
            self._performer.note_soon(messages.describe_ended_search(count))
        self._scheduler.automatic.drop()
        self._results = {}
        self._panel.set_found(None)

    # choosing

    def choose_by_settings(self) -> None:
        """Choose from the same answers by the thresholds on the panel."""
        settings = self._panel.settings()
        self._results = {
            index: result.with_settings(settings) for index, result in self._results.items()
        }
        self.show()

    def show(self) -> None:
        """Show the chosen objects of the plane in view, and count them."""
        job, index = self._workspace.job, self._workspace.visible_index()
        if job is None or not self._results:
            return
        if index in self._results:
            result = self._results[index]
            mask = _separated(result.new_labels)
            packed = PackedMask.pack_crop(mask, result.corner, job.planes.plane_shape)
            job.layers.show_mask(index, packed)
            count = len(result.chosen)
            self._panel.set_found(messages.describe_found(count, len(result.rejected)))
        else:
            self._panel.set_found(messages.FOUND_ELSEWHERE)

    def toggle(self, index: Index, point_yx: npt.NDArray[np.floating]) -> None:
        """Reject the found object at a position, or take it back."""
        if index in self._results:
            self._results[index] = self._results[index].toggled(point_yx)
            self.show()

    # deciding

    def commit(self) -> None:
        """Save the chosen objects of all planes as one change. First close their gaps."""
        session = self._workspace.session
        if session is None or not self._results or not self._performer.can_write():
            return
        results = self._results
        new = NewObjects.of_results(results, first_free_id(session))
        gaps = ask_about_gaps(new, results)
        if not gaps:
            self._write(session, new)
            return

        def deliver(answers: list[PackedAnswer]) -> None:
            if self._results is results and session is self._workspace.session:
                self._write(session, new.with_answers(answers))

        self._scheduler.requests.add(gaps, deliver)
        self._scheduler.demand()

    def _write(self, session: SegmentationSession, new: NewObjects) -> None:
        """Write the objects to the labels layer, and say what was written."""
        settings = self._panel.settings().to_dict()
        outcome = self._performer.perform(commit_new, session, new, settings)
        if outcome is None:
            return
        text = describe_outcome(outcome)
        self._clear()
        if outcome.has_changed:
            num_doubtful = sum(
                record.is_doubtful
                for object_id in outcome.object_ids
                for record in session.records.of(object_id).values()
            )
            text += messages.describe_doubtful(num_doubtful, "outline")
        self._performer.noted.emit(text)

    def discard(self) -> None:
        """Drop the found objects."""
        if self._results:
            self._clear()
            self._performer.noted.emit("")

    def _clear(self) -> None:
        """Show the current object's answers again instead of the found objects."""
        job, results = self._workspace.job, self._results
        self._results = {}
        self._panel.set_found(None)
        if job is not None:
            for index in results:
                job.show_mask(index, job.session.answers.mask(index))


def _separated(labels: npt.NDArray[np.int32]) -> BoolArray:
    """Mask of all objects, with a gap between those that touch."""
    mask: BoolArray = labels > 0
    for axis in range(2):
        first, second = labels.swapaxes(0, axis)[:-1], labels.swapaxes(0, axis)[1:]
        mask.swapaxes(0, axis)[:-1] &= (first == second) | (second == 0)
    return mask
