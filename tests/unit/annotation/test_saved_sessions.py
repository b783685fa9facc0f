"""A session that version 0.1.0 saved, before the session was taken apart, still opens."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_promptable.annotation.history import Verb
from napari_promptable.annotation.records import Origin
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.session_folder import SessionFolder
from napari_promptable.annotation.session_json import document_of, restore_session, state_of
from napari_promptable.files.prompts_json import format_prompts
from napari_promptable.planes import PlaneAxes


@pytest.fixture
def saved(tmp_path: Path) -> SessionFolder:
    """Copy of a folder with every verb, every kind of prompt and every origin."""
    path = tmp_path / "session"
    shutil.copytree(Path(__file__).parent / "saved_session", path)
    return SessionFolder(path)


def open_session(saved: SessionFolder) -> SegmentationSession:
    document = saved.read_document()
    labels = np.zeros(document.image_shape, np.uint16)
    for block, plane in saved.read_blocks():
        labels[block.index] = plane
    planes = PlaneAxes(document.image_shape, document.plane_axes)
    session = SegmentationSession(planes, labels)
    restore_session(document, session)
    return session


def test_an_old_session_opens(saved: SessionFolder) -> None:
    session = open_session(saved)
    assert session.records.object_ids == [1, 9, 40, 41]
    assert set(np.unique(session.labels.array)) == {0, 1, 9, 40, 41}
    assert session.records.class_names == {1: "nucleus", 9: "nucleus"}
    propagated = session.records.of(1)[1,]
    assert propagated.origin is Origin.PROPAGATED
    assert (propagated.confidence, propagated.stop) == (0.31, "lost")
    assert propagated.is_doubtful
    assert [change.verb for change in session.history.changes] == [
        Verb.COMMIT,
        Verb.PROPAGATE,
        *[Verb.COMMIT] * 3,
        Verb.RELABEL,
        Verb.MERGE,
        Verb.COMMIT,
        Verb.DELETE,
    ]
    assert session.prompts.of(40)[3,].mask is not None
    assert not session.history.can_undo


def test_extents_hold_the_objects(saved: SessionFolder) -> None:
    session = open_session(saved)
    for object_id in session.records.object_ids:
        for index, found in session.records.of(object_id).items():
            mask = session.labels.find(object_id, index).unpack()
            assert mask.any()
            assert mask[found.extent].sum() == mask.sum()


def test_an_old_session_is_saved_as_it_was(saved: SessionFolder) -> None:
    document = saved.read_document()
    session = open_session(saved)
    again = format_prompts(document_of(state_of(session), document.image_name, "tiny"))
    former = format_prompts(document)
    for key in ("objects", "actions", "image", "plane_axes", "model", "version", "format"):
        assert again[key] == former[key]
