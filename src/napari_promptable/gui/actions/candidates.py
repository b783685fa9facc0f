"""Verbs for the candidates of the current object on the plane in view."""

from __future__ import annotations

from napari_promptable.gui.actions.performer import Performer
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.live import Live


class CandidateActions:
    """Verbs for candidates.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    live : Live
        Shows the chosen candidate.
    performer : Performer
        Performs the verbs.
    """

    def __init__(self, workspace: Workspace, live: Live, performer: Performer) -> None:
        self._workspace, self._live, self._performer = workspace, live, performer

    def choose(self, candidate: int) -> None:
        """Choose a candidate on the plane in view. The next click corrects it."""
        job, index = self._workspace.job, self._workspace.visible_index()
        if job is None or index is None or job.session.answers.prediction(index) is None:
            return
        self._performer.perform(job.session.answers.choose_candidate, index, candidate)
        job.layers.set_refined(candidate)

    def choose_next(self) -> None:
        """Choose the candidate after the chosen one."""
        session, index = self._workspace.session, self._workspace.visible_index()
        if session is None or index is None:
            return
        prediction = session.answers.prediction(index)
        chosen = session.answers.candidate(index)
        if prediction is not None and chosen is not None:
            self.choose((chosen + 1) % len(prediction))

    def preview(self, candidate: int) -> None:
        """Show a candidate that is pointed at, or (−1) the chosen one again."""
        job, index = self._workspace.job, self._workspace.visible_index()
        if job is None or index is None:
            return
        prediction = job.session.answers.prediction(index)
        if prediction is not None and 0 <= candidate < len(prediction):
            job.show_mask(index, job.session.answers.mask(index, candidate))
        else:
            self._live.show_answer(index)
