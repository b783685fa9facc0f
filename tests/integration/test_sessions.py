"""Sessions on disk: done again by script, and opened again after the process was killed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_promptable.annotation.absence import mark_absent, planes_beyond
from napari_promptable.annotation.answers import Question
from napari_promptable.annotation.history import Verb
from napari_promptable.annotation.propagated import to_objects
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.session_json import document_of, restore_session, state_of
from napari_promptable.batch.answering import answer_open_questions
from napari_promptable.batch.replay import replay_document
from napari_promptable.cli import main
from napari_promptable.files.images import read_image
from napari_promptable.files.prompts_json import format_prompts, parse_prompts, write_prompts
from napari_promptable.plane_source import PlaneSource
from napari_promptable.planes import PlaneAxes, SliceLine, to_ranges
from napari_promptable.predict.embeddings import EmbeddingCache
from napari_promptable.predict.predictor import encode_image
from napari_promptable.prompts import PlanePrompts
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.propagation.volume import VolumeMasks, propagate_prompts
from napari_promptable.samples.data import load_nuclei_stack, sample_labels, sample_path

FIRST, LAST = 70, 78  # slices that are worked on


class Annotator:
    """A user who works on the sample stack."""

    def __init__(self, model: Any) -> None:
        [(self.stack, _, _)] = load_nuclei_stack()
        self.truth = sample_labels("nuclei_stack")
        self.planes = PlaneAxes(self.stack.shape, (1, 2))
        self.labels = np.zeros(self.stack.shape, np.uint16)
        self.session = SegmentationSession(self.planes, self.labels)
        self.session.details = {"model": "tiny", "channel": None}
        self.model = model
        self._cache = EmbeddingCache()

    def box(self, label: int, z: int) -> PlanePrompts:
        rows, columns = np.nonzero(self.truth[z] == label)
        return PlanePrompts(boxes_yxyx=[[rows.min(), columns.min(), rows.max(), columns.max()]])

    def ask(self, prompts: dict[tuple[int], PlanePrompts]) -> None:
        self.session.prompts.replace(prompts)
        answer_open_questions(
            self.session,
            self.model,
            self.model.model_id,
            PlaneSource(self.stack, self.session.planes),
            self._cache,
        )

    def propagate(self) -> None:
        """As the widget does."""
        session, settings = self.session, PropagationSettings(first=FIRST, last=LAST)
        line = SliceLine(0, (0,), len(self.stack))
        object_id = session.prompts.current_object
        objects = {object_id: {z: p for (z,), p in session.prompts.of(object_id).items()}}

        def embed(z: int) -> Any:
            return self._cache.embed(self.model, self.model.model_id, self.stack[z])

        masks = VolumeMasks()
        for value in propagate_prompts(self.model, embed, line.length, objects, settings):
            masks.add(value)
        found = to_objects(masks, line)
        slices = {str(object_id): to_ranges(z for _, (z,) in found)}
        details = {"axis": 0, "others": [], "settings": settings.to_dict(), "slices": slices}
        session.commit_masks(found, details)

    def work(self) -> None:
        """Some of everything that changes labels."""
        sizes = np.bincount(self.truth[FIRST + 4].ravel())[1:]
        first, second, third = (1 + np.argsort(sizes)[-3:]).tolist()
        z = FIRST + 4
        self.ask({(z,): self.box(first, z)})
        self.propagate()
        self.session.prompts.new_object()
        row, column = np.argwhere(self.truth[z] == second).mean(axis=0)
        self.ask({(z,): PlanePrompts([[row, column]], [1])})
        self.session.answers.choose_candidate((z,), 2)
        self.session.commit()
        self.ask({(z,): self.box(third, z)})
        self.session.commit()
        self.session.undo()
        self.ask({(z,): self.box(third, z), (z + 1,): PlanePrompts([[50, 50]])})
        self.session.commit()
        self.session.prompts.select(1)
        prompts = dict(self.session.prompts.of(1))
        self.ask({**prompts, (z + 2,): PlanePrompts([[row, column]], [0])})
        self.propagate()
        line, records = SliceLine(0, (z + 3,), len(self.stack)), self.session.records.of(1)
        asked = self.session.prompts.of(1)
        mark_absent(self.session, line.index, planes_beyond(line, line.index, asked, records))
        self.session.records.check(1, (z - 1,))
        self.session.relabel_object(2, 9)
        self.session.merge_objects([9, 3], into=3)
        self.session.delete_objects([3])
        self.session.prompts.new_object()
        self.ask({(z,): self.box(second, z)})
        self.session.commit()
        self.session.records.rename_class([1], "nucleus")


@pytest.fixture(scope="module")
def annotated(tiny_model) -> Annotator:
    """A user who has worked for a while."""
    annotator = Annotator(tiny_model)
    annotator.work()
    return annotator


def test_a_saved_session_is_done_again_exactly(annotated: Annotator, tmp_path: Path) -> None:
    assert len(np.unique(annotated.labels)) > 2
    assert Verb.CLEAR in [change.verb for change in annotated.session.history.changes]
    assert not (annotated.labels[FIRST + 7 :] == 1).any()
    path = write_prompts(
        document_of(state_of(annotated.session), "stack", "tiny"), tmp_path / "p.json"
    )
    output = tmp_path / "labels.tif"
    assert (
        main(["segment", str(sample_path("nuclei_stack")), str(path), "-o", str(output)]) == 0
    )
    assert np.array_equal(read_image(output), annotated.labels)


def test_moved_objects_are_done_again_exactly(tiny_model) -> None:
    """Two swap their places. Then one moves to where the third keeps its pixels."""
    annotator, index = Annotator(tiny_model), (FIRST,)
    session, embedding = annotator.session, encode_image(tiny_model, annotator.stack[FIRST])
    first, second, third = (
        annotator.box(label, FIRST)
        for label in np.argsort(np.bincount(annotator.truth[FIRST].ravel())[1:])[-3:] + 1
    )

    def commit(objects: dict[int, PlanePrompts], moved: list[int]) -> None:
        questions = [Question(number, index, asked) for number, asked in objects.items()]
        answers = [question.resolve(tiny_model, embedding) for question in questions]
        session.commit_answers(answers, [(number, index) for number in moved])

    commit({1: first, 2: second, 3: third}, [])
    before = annotator.labels.copy()
    commit({1: second, 2: first}, [1, 2])
    assert np.array_equal(annotator.labels == 1, before == 2)
    commit({1: third}, [1])
    assert not (annotator.labels == 1).any()
    assert np.array_equal(annotator.labels == 3, before == 3)
    text = json.dumps(format_prompts(document_of(state_of(session), "stack", "tiny")))
    document = parse_prompts(json.loads(text))
    again = replay_document(lambda _: tiny_model, annotator.stack, document)
    assert np.array_equal(again, annotator.labels)


def test_a_document_brings_the_session_back(annotated: Annotator) -> None:
    text = json.dumps(format_prompts(document_of(state_of(annotated.session), "stack", "tiny")))
    document = parse_prompts(json.loads(text))
    session = SegmentationSession(annotated.planes, annotated.labels.copy())
    restore_session(document, session)
    former = annotated.session
    assert session.prompts.objects == former.prompts.objects
    assert session.records.class_names == {1: "nucleus"}
    ids = former.records.object_ids
    assert session.records.object_ids == ids
    for object_id in ids:
        records = session.records.of(object_id)
        for index, record in former.records.of(object_id).items():
            assert records[index].extent == record.extent
            assert records[index].confidence == pytest.approx(record.confidence, abs=1e-6)
            assert records[index].is_checked == record.is_checked
    assert [change.verb for change in session.history.changes] == [
        c.verb for c in former.history.changes
    ]
    assert not session.history.can_undo
    assert not session.prompts.of_current
    again = json.dumps(format_prompts(document_of(state_of(session), "stack", "tiny")))
    assert json.loads(again)["actions"] == json.loads(text)["actions"]


def test_each_model_is_loaded_once(annotated: Annotator) -> None:
    loaded: list[str] = []

    def load(name: str) -> Any:
        loaded.append(name)
        return annotated.model

    document = document_of(state_of(annotated.session), "stack", "tiny")
    assert np.array_equal(replay_document(load, annotated.stack, document), annotated.labels)
    assert loaded == ["tiny"]
