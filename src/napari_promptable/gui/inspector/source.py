"""Explains the current object's prompts on the plane in view, whenever they change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from psygnal import Signal

from napari_promptable.errors import PromptableError
from napari_promptable.field_prompts import in_field
from napari_promptable.fields import Field
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.encoding import PlaneEncoder
from napari_promptable.gui.work.worker import Task, TaskControl
from napari_promptable.planes import Index
from napari_promptable.predict.explanation import Explanation
from napari_promptable.prompts import PlanePrompts


@dataclass(frozen=True, eq=False)
class Explained:
    """An explanation and where it belongs.

    Attributes
    ----------
    explanation : Explanation
        The decoder's inside.
    job : AnnotationJob
        Whose image was asked about.
    index : Index
        The plane.
    field : Field or None
        The part of the plane that the model was shown; None is the whole plane.
    """

    explanation: Explanation
    job: AnnotationJob
    index: Index
    field: Field | None = None


class ExplanationSource:
    """Source of work: one explanation at a time, always for the newest prompts.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    encoder : callable
        Returns what encodes planes with the model in use, or None.

    Attributes
    ----------
    explained : psygnal.Signal
        Emits an Explained, or None when the current object has no prompts here.
    failed : psygnal.Signal
        Emits the PromptableError of prompts that cannot be explained.
    """

    explained = Signal(object)
    failed = Signal(object)

    def __init__(
        self, workspace: Workspace, encoder: Callable[[], PlaneEncoder | None]
    ) -> None:
        self._workspace, self._encoder = workspace, encoder
        self._asked: tuple[object, ...] = ()

    def next_task(self) -> Task | None:
        """Return the task that explains the present prompts, once they are answered."""
        job, encoder = self._workspace.job, self._encoder()
        index = None if job is None else job.visible_index()
        if job is None or encoder is None or index is None:
            self._clear()
            return None
        prompts = job.session.prompts.of_current.get(index)
        if prompts is None or not prompts.is_answerable:
            self._clear()
            return None
        asked = (job, index, prompts, encoder.model.model_id)
        is_answered = job.session.answers.prediction(index) is not None
        if not is_answered or self._is_same(asked):
            return None
        self._asked = asked
        return self._task(job, encoder, index, prompts)

    def forget(self) -> None:
        """Explain the present prompts again: pixels have changed."""
        self._asked = ()

    def _clear(self) -> None:
        if self._asked:
            self._asked = ()
            self.explained.emit(None)

    def _is_same(self, asked: tuple[object, ...]) -> bool:
        return len(self._asked) == len(asked) and all(
            one is other or one == other for one, other in zip(self._asked, asked, strict=True)
        )

    def _task(
        self, job: AnnotationJob, encoder: PlaneEncoder, index: Index, prompts: PlanePrompts
    ) -> Task:
        def explain(control: TaskControl) -> Explained:
            from napari_promptable.predict.explain import explain_prompts  # imports torch

            embedding = encoder.embed(index, control, prompts.field)
            found = explain_prompts(encoder.model, embedding, in_field(prompts))
            return Explained(found, job, index, prompts.field)

        def failed(error: PromptableError) -> None:
            self.failed.emit(error)

        return Task("", explain, self.explained.emit, failed)
