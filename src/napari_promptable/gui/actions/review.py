"""Verbs for reviewing a propagated object slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from napari_promptable.annotation.absence import mark_absent, planes_beyond
from napari_promptable.annotation.outcomes import describe_outcome
from napari_promptable.annotation.propagated import to_object_on_slice
from napari_promptable.annotation.records import ObjectOnSlice, next_doubtful
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.gui.actions import messages
from napari_promptable.gui.actions.performer import Performer
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.panels.confidence_strip import ConfidenceStrip
from napari_promptable.planes import SliceLine
from napari_promptable.propagation.chains import PropagatedMask


class ReviewActions:
    """Verbs for reviewing an object, which also fill the confidence strip.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    performer : Performer
        Performs the verbs.
    strip : ConfidenceStrip
        Shows the confidence by slice.
    line : callable
        Returns the slices along the chosen axis, or None.
    found : callable
        Returns the masks of a propagation that is not committed yet.
    """

    def __init__(
        self,
        workspace: Workspace,
        performer: Performer,
        strip: ConfidenceStrip,
        line: Callable[[], SliceLine | None],
        found: Callable[[], Iterable[PropagatedMask]],
    ) -> None:
        self._workspace, self._performer, self._strip = workspace, performer, strip
        self._line, self._found = line, found
        self._object_id: int | None = None
        self._seen: set[int] = set()

    @property
    def _session(self) -> SegmentationSession | None:
        return self._workspace.session

    def begin(self, object_id: int | None) -> None:
        """Review another object from now on, or the current one. No slice is seen yet."""
        self._object_id = object_id
        self._seen.clear()

    def choose(self, object_id: int) -> None:
        """Review an object that the user chose, and show its confidence."""
        if object_id != self._object_id:
            self.begin(object_id)
        self.show()

    @property
    def num_doubtful(self) -> int:
        """Number of slices that need a check."""
        return sum(review.is_doubtful for review in self.slices().values())

    def slices(self) -> dict[int, ObjectOnSlice]:
        """Return the reviewed object by slice, with masks that are not committed yet."""
        line, object_id = self._line(), self._object_to_review()
        if line is None or self._session is None or object_id is None:
            return {}
        slices = {
            position: record
            for index, record in self._session.records.of(object_id).items()
            if (position := line.position_of(index)) is not None
        }
        for value in self._found():
            if value.object_id == object_id:
                slices[value.position] = to_object_on_slice(value)
        return slices

    def _line_to_review(self) -> SliceLine | None:
        """Return the slices in view. Say so if there are none, as in a 2D image."""
        line = self._line()
        if line is None and self._session is not None:
            self._performer.noted.emit(messages.NO_SLICES)
        return line

    def _object_to_review(self) -> int | None:
        """Return the object chosen for review, or else the current one."""
        session = self._session
        if session is None:
            return None
        current = session.prompts.current_object
        if self._object_id is None or session.records.of(current):
            return current
        return self._object_id

    def show(self) -> None:
        """Update the confidence strip."""
        line = self._line()
        if line is not None:
            self._strip.set_slices(line.length, line.index[line.place], self.slices())

    def go_to(self, position: int) -> None:
        """Show a slice, and select the reviewed object."""
        line, object_id = self._line(), self._object_to_review()
        if line is None or self._session is None or object_id is None:
            return
        if self._session.records.of(object_id):
            self._performer.leave_object(self._session.prompts.select, object_id)
        self._workspace.show_plane(line.at(position))

    def next_doubtful(self) -> None:
        """Go to the next slice that needs a check. Each is visited once, then all again."""
        line = self._line_to_review()
        if line is None:
            return
        slices = self.slices()
        self._seen.add(line.index[line.place])
        position = next_doubtful(slices, self._seen)
        if position is None:
            self._seen.clear()
            count = self.num_doubtful
            self._performer.noted.emit(messages.describe_all_seen(count))
            return
        self.go_to(position)
        self._performer.noted.emit(messages.describe_doubt(position, slices[position]))

    def looks_right(self) -> None:
        """Accept the slice in view, and go to the next one that needs a check."""
        line = self._line_to_review()
        object_id, session = self._object_to_review(), self._session
        if line is None or session is None or object_id is None:
            return
        if session.records.check(object_id, line.index):
            self.next_doubtful()
        else:
            self._performer.noted.emit(messages.NOTHING_TO_ACCEPT)

    def not_here(self) -> None:
        """Say that the object is not on the slice in view. Propagation ends there."""
        line = self._line_to_review()
        object_id, session = self._object_to_review(), self._session
        if line is None or session is None or object_id is None:
            return
        if not self._performer.can_write():
            return
        if any(True for _ in self._found()):  # keeping them would bring the object back
            self._performer.noted.emit(messages.STILL_PROPAGATING)
            return
        self._performer.leave_object(session.prompts.select, object_id)
        records, prompts = session.records.of(object_id), session.prompts.of(object_id)
        beyond = planes_beyond(line, line.index, prompts, records)
        outcome = self._performer.perform(mark_absent, session, line.index, beyond)
        if outcome is not None:
            self._performer.noted.emit(describe_outcome(outcome))
        self.show()
