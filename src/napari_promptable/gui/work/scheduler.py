"""Decides what is computed next: the model, the question in view, planes ahead of need."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_promptable.annotation.answers import Answer, Question
from napari_promptable.annotation.patches import Extent
from napari_promptable.errors import PromptableError
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.jobs import (
    Embedder,
    answer_job,
    embed_job,
    load_model_job,
    look_closer_job,
    scan_job,
)
from napari_promptable.gui.work.meter import Meter
from napari_promptable.gui.work.propagation import PropagationRun, propagate_job
from napari_promptable.gui.work.worker import Engine, Job, JobControl
from napari_promptable.planes import Channel, Index, PlaneSource
from napari_promptable.prompts import PlanePrompts, PromptSet
from napari_promptable.propagation.chains import PropagatedMask

if TYPE_CHECKING:
    from napari_promptable.predict.embeddings import ImageEmbedding
    from napari_promptable.predict.predictor import PromptableModel

AnswersCallback = Callable[[list[Answer]], None]


@dataclass(frozen=True, eq=False)
class Propagation:
    """A propagation that is going on, and who is told of it; see `Scheduler.propagate`."""

    run: PropagationRun
    found: Callable[[list[PropagatedMask]], None]
    done: Callable[[], None]
    failed: Callable[[PromptableError | None], None]


class Scheduler:
    """Keeps the engine busy with what matters most for a workspace.

    Parameters
    ----------
    workspace : Workspace
        What is annotated.

    Attributes
    ----------
    engine : Engine
        Where the jobs run.
    is_live : bool
        Whether prompts are answered, and planes encoded, without being asked to.
    failed : psygnal.Signal
        Emits the error of a job.
    """

    failed = Signal(object)

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._model: PromptableModel | None = None
        self._model_name, self._device = "", "auto"
        self._channel: Channel | None = None
        self._can_load = True
        self._embedder = Embedder()
        self._expected: tuple[Index, PromptSet] | None = None
        self._encoded: set[Index] = set()
        self._unanswerable: list[PlanePrompts] = []
        self._requests: list[tuple[list[Question], AnswersCallback]] = []
        self._is_requested = False
        self._propagation: Propagation | None = None
        self._to_encode: list[Index] = []
        self._meter = Meter(0)
        self.is_live = True
        self.engine = Engine(self._next_job)
        workspace.pixels_changed.connect(self.forget_planes)

    def close(self) -> None:
        """Stop, and leave the workers of a scheduler; that may take seconds."""
        self.engine.close()
        threading.Thread(target=self._embedder.close, daemon=True).start()

    def set_model(self, name_or_path: str, device: str) -> None:
        """Answer with another model from now on."""
        self.engine.cancel()
        self._model, self._model_name, self._device = None, name_or_path, device
        self._embedder.model_source = name_or_path
        self._expected = None
        self._can_load = True
        self.forget_planes()

    def set_channel(self, channel: Channel | None) -> None:
        """Show the model another channel from now on."""
        if channel != self._channel:
            self._channel = channel
            self.forget_planes()

    def forget_planes(self) -> None:
        """Take note that planes are to be encoded anew and answers no longer hold."""
        if self._model is not None:
            self.engine.cancel()
        self._end_propagation()
        self._encoded.clear()
        self._to_encode.clear()
        self._embedder.forget_indices()
        self._unanswerable.clear()
        if self._workspace.session is not None:
            self._workspace.session.answers.forget()
        self.engine.wake()

    def segment(self) -> None:
        """Answer all open questions now, also where an earlier try failed."""
        self._is_requested = self._can_load = True
        self._unanswerable.clear()
        self.engine.wake()

    def answer(self, questions: list[Question], deliver: AnswersCallback) -> None:
        """Answer questions of any objects, then call `deliver` with all answers."""
        self._requests.append((questions, deliver))
        self._can_load = True
        self.engine.wake()

    def keep_embeddings(self, is_kept: bool) -> None:
        """Keep embeddings on disk from now on, or no longer."""
        self._embedder.is_kept = is_kept

    def encode_on(self, address: str) -> None:
        """Encode on the workers of a scheduler from now on; here if the address is empty."""
        if address != self._embedder.scheduler:
            self.engine.cancel()
            self._embedder.scheduler = address
            self.forget_planes()

    def encode_all(self) -> None:
        """Encode all planes when there is nothing else to do, from the one in view outwards."""
        visible, job = self._workspace.visible_index(), self._workspace.job
        if visible is None or job is None:
            return
        planes = sorted(job.planes.indices(), key=lambda index: _distance(index, visible))
        self._to_encode = [index for index in planes if index not in self._encoded]
        self._meter = Meter(len(self._to_encode))
        self._can_load = True
        self.engine.wake()

    def propagate(
        self,
        run: PropagationRun,
        found: Callable[[list[PropagatedMask]], None],
        done: Callable[[], None],
        failed: Callable[[PromptableError | None], None],
    ) -> None:
        """Carry objects through a stack, whenever no prompt is to be answered.

        Parameters
        ----------
        run : PropagationRun
            What to do.
        found, done, failed : callable
            Called with what was found in a step; when all is done; and with the error that
            ended it, None after it was cancelled.
        """
        self._propagation = Propagation(run, found, done, failed)
        self._can_load = True
        self.engine.wake()

    def drop_propagation(self) -> None:
        """Go on with a propagation no more; nobody is told."""
        self._propagation = None

    def _end_propagation(self) -> None:
        """Go on with a propagation no more, as if the user had cancelled it."""
        propagation, self._propagation = self._propagation, None
        if propagation is not None:
            propagation.failed(None)

    def expect_click(self, index: Index, point_yx: npt.NDArray[np.floating]) -> None:
        """Take note of where the next click is likely."""
        if self._model is not None and self._model.looks_closer:
            self._expected = index, PromptSet(point_yx[None])
            self.engine.wake()

    def cancel(self) -> None:
        """Stop what is going on; it starts again when it is asked for again."""
        if not (self.engine.is_busy or self._propagation or self._to_encode):
            return
        if self._propagation is not None:
            self.engine.cancel()
            self._end_propagation()
            return
        self._requests.clear()
        self._to_encode.clear()
        self._is_requested = False
        self._can_load = self._model is not None
        self._unanswerable += [question.prompts for question in self._open_questions()]
        visible = self._workspace.visible_index()
        if visible is not None:
            self._encoded.add(visible)
        self.engine.cancel()

    @property
    def is_encoded(self) -> bool:
        """Whether the plane in view needs no encoding any more."""
        return self._workspace.visible_index() in self._encoded

    # jobs, the most urgent first

    def _next_job(self) -> Job | None:
        if self._workspace.session is None:
            return None
        if self._model is None:
            return self._model_job() if self._can_load else None
        if self._requests:
            return self._request_job(self._model, *self._requests.pop(0))
        questions = self._open_questions() if self.is_live or self._is_requested else []
        if questions:
            return self._question_job(self._model, questions[0])
        self._is_requested = False
        if self._propagation is not None:
            return self._propagation_job(self._model, self._propagation)
        ahead = self._job_ahead(self._model) if self.is_live else None
        if ahead is None and self._to_encode:
            return self._encode_next_job(self._model)
        return ahead

    def _job_ahead(self, model: PromptableModel) -> Job | None:
        """Work that nobody has asked for yet."""
        if self._expected is not None:
            (index, prompts), self._expected = self._expected, None
            embedding = self._embedder.known(model, index)
            if embedding is not None:
                return self._look_closer_job(model, embedding, prompts)
        to_encode = [i for i in self._planes_ahead() if i not in self._encoded]
        if to_encode and to_encode[0] == self._workspace.visible_index():
            return self._embed_job(model, to_encode[0])
        scan = self._scan_job()
        if scan is None and to_encode:
            return self._embed_job(model, to_encode[0])
        return scan

    def _encode_next_job(self, model: PromptableModel) -> Job:
        """Go on with all planes."""
        job, meter = self._embed_job(model, self._to_encode.pop(0)), self._meter
        text = f"encoding {meter.describe()}"
        done, total = meter.num_begun - 1, meter.total

        def run(control: JobControl) -> None:
            control.report(done, total)
            job.run(control)

        return replace(job, text=text, run=run)

    def _scan_job(self) -> Job | None:
        """Look for objects on the next plane of the target on which somebody may have drawn."""
        job = self._workspace.job
        index = None if job is None else job.watch.take()
        if job is None or index is None:
            return None
        run = scan_job(job.labels_layer.data, job.planes, index)

        def done(extents: dict[int, Extent]) -> None:
            if job.session.note_plane(index, extents):
                job.watch.painted.emit(index)

        return Job("", run, done, self._report)

    def _open_questions(self) -> list[Question]:
        """Questions to be answered, the one in view first."""
        if self._workspace.session is None:
            return []
        visible = self._workspace.visible_index()
        questions = [
            question
            for question in self._workspace.session.answers.open_questions()
            if not any(question.prompts is prompts for prompts in self._unanswerable)
        ]
        return sorted(questions, key=lambda question: question.index != visible)

    def _planes_ahead(self) -> Iterator[Index]:
        """The plane in view, then its neighbours."""
        visible = self._workspace.visible_index()
        job = self._workspace.job
        if visible is None or job is None:
            return
        yield visible
        yield from job.planes.neighbours(visible)

    def _model_job(self) -> Job:
        name = self._model_name

        def done(model: PromptableModel) -> None:
            if name == self._model_name:
                self._model = model

        def failed(error: Exception) -> None:
            self._can_load = False
            self._report(error)

        return Job(f"loading {name}", load_model_job(name, self._device), done, failed)

    def _question_job(self, model: PromptableModel, question: Question) -> Job:
        def failed(error: Exception) -> None:
            self._unanswerable.append(question.prompts)
            self._report(error)

        def done(answers: list[Answer]) -> None:
            self._encoded.add(question.index)
            if self._workspace.session is not None:
                self._workspace.session.answers.accept(answers[0])

        source = self._source()
        text = f"segmenting{_describe(question.index)}"
        return Job(text, answer_job(model, source, [question], self._embedder), done, failed)

    def _request_job(
        self, model: PromptableModel, questions: list[Question], deliver: AnswersCallback
    ) -> Job:
        source = self._source()
        text = f"segmenting {len(questions)} objects"
        run = answer_job(model, source, questions, self._embedder)
        return Job(text, run, deliver, self._report)

    def _propagation_job(self, model: PromptableModel, propagation: Propagation) -> Job:
        def done(values: list[PropagatedMask]) -> None:
            if propagation is not self._propagation:
                return
            propagation.found(values)
            if propagation.run.is_done:
                self._propagation = None
                propagation.done()

        def failed(error: Exception) -> None:
            if not isinstance(error, PromptableError):
                raise error
            if propagation is self._propagation:
                self._propagation = None
                propagation.failed(error)

        source = self._source()
        run = propagate_job(model, source, propagation.run, self._embedder)
        return Job("propagating", run, done, failed)

    def _embed_job(self, model: PromptableModel, index: Index) -> Job:
        def failed(error: Exception) -> None:
            self._encoded.add(index)
            self._report(error)

        source = self._source()
        run = embed_job(model, source, index, self._embedder)
        return Job(
            f"encoding{_describe(index)}", run, lambda _: self._encoded.add(index), failed
        )

    def _look_closer_job(
        self, model: PromptableModel, embedding: ImageEmbedding, prompts: PromptSet
    ) -> Job:
        run = look_closer_job(model, embedding, prompts)
        return Job("", run, lambda _: None, self._report)

    def _source(self) -> PlaneSource:
        """Reads the planes that the model is shown; there must be a job."""
        assert self._workspace.job is not None
        return self._workspace.job.source(self._channel)

    def _report(self, error: Exception) -> None:
        if not isinstance(error, PromptableError):
            raise error
        self.failed.emit(error)


def _distance(index: Index, other: Index) -> int:
    """How many slices lie between two planes."""
    return sum(abs(a - b) for a, b in zip(index, other, strict=True))


def _describe(index: Index) -> str:
    """A plane in words, empty for a 2D image."""
    return f" slice {', '.join(map(str, index))}" if index else ""
