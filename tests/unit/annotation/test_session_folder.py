import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_promptable.annotation.blocks import Block
from napari_promptable.annotation.session_folder import (
    DOCUMENT_NAME,
    FINGERPRINT,
    SessionFolder,
    SessionShelf,
)
from napari_promptable.errors import CacheError, PromptError
from napari_promptable.files.prompts_json import PromptDocument
from napari_promptable.prompts import PlanePrompts

DOCUMENT = PromptDocument(
    "stack", (3, 8, 9), (1, 2), "tiny", {1: {(0,): PlanePrompts([[1, 2]])}}
)


def make_plane(value: int) -> np.ndarray:
    return np.full((8, 9), value, np.uint16)


@pytest.fixture
def folder(tmp_path: Path) -> SessionFolder:
    """Folder with two slices."""
    folder = SessionFolder(tmp_path / "session")
    folder.save(DOCUMENT, {Block((0,)): make_plane(1), Block((2,)): make_plane(3)})
    return folder


def values(folder: SessionFolder) -> dict[tuple[int, ...], int]:
    return {block.index: int(pixels[0, 0]) for block, pixels in folder.read_blocks()}


def test_what_was_saved_is_read_again(folder: SessionFolder) -> None:
    again = SessionFolder(folder.path)
    assert again.is_there
    assert values(again) == {(0,): 1, (2,): 3}
    assert again.read_document().objects == DOCUMENT.objects


def test_only_changed_slices_are_written(folder: SessionFolder) -> None:
    before = {path.name for path in folder.path.glob("2.*.tif")}
    folder.save(DOCUMENT, {Block((0,)): make_plane(7)})
    assert {path.name for path in folder.path.glob("2.*.tif")} == before
    assert len(list(folder.path.glob("0.*.tif"))) == 1
    assert values(SessionFolder(folder.path)) == {(0,): 7, (2,): 3}


def test_a_flat_image_is_one_slice(tmp_path: Path) -> None:
    flat = replace(DOCUMENT, image_shape=(8, 9), plane_axes=(0, 1), objects={})
    folder = SessionFolder(tmp_path / "flat")
    folder.save(flat, {Block(()): make_plane(2)})
    assert values(SessionFolder(folder.path)) == {(): 2}


def test_later_blocks_replace_parts_of_a_plane_in_one_piece(folder: SessionFolder) -> None:
    """An earlier version saved large planes whole."""
    folder.save(
        DOCUMENT, {Block((0,), (0, 1024)): make_plane(5), Block((0,), (0, 0)): make_plane(6)}
    )
    read = [
        (block.corner, int(pixels[0, 0]))
        for block, pixels in SessionFolder(folder.path).read_blocks()
    ]
    assert read[:2] == [(None, 1), (None, 3)]
    assert dict(read[2:]) == {(0, 1024): 5, (0, 0): 6}


def test_a_failing_save_leaves_the_last_one(folder: SessionFolder, monkeypatch) -> None:
    files = sorted(os.listdir(folder.path))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_promptable.files.writing.os.replace", fail)
    with pytest.raises(CacheError, match="No space left"):
        folder.save(DOCUMENT, {Block((0,)): make_plane(9)})
    assert sorted(os.listdir(folder.path)) == files
    assert values(SessionFolder(folder.path)) == {(0,): 1, (2,): 3}
    monkeypatch.undo()
    folder.save(DOCUMENT, {Block((1,)): make_plane(5)})
    assert values(SessionFolder(folder.path)) == {(0,): 1, (2,): 3, (1,): 5}


def test_leftovers_are_swept(folder: SessionFolder) -> None:
    (folder.path / "1.0123456789ab.tif").write_bytes(b"half of a")
    folder.sweep()
    assert values(folder) == {(0,): 1, (2,): 3}
    assert len(list(folder.path.glob("*.tif"))) == 2


def test_a_damaged_slice_is_named(folder: SessionFolder) -> None:
    [path] = folder.path.glob("2.*.tif")
    path.write_bytes(b"nonsense")
    with pytest.raises(CacheError, match="labels of slice 2 in the session"):
        values(folder)


@pytest.mark.parametrize("entries", [5, [{"index": [0]}], [{"index": ["a"], "file": "x"}]])
def test_a_damaged_list_of_slices_is_refused(folder: SessionFolder, entries: object) -> None:
    path = folder.path / DOCUMENT_NAME
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"label_slices": entries}))
    with pytest.raises(PromptError, match="list of saved slices"):
        SessionFolder(folder.path)


def test_a_shelf_offers_what_can_be_opened_and_has_objects(tmp_path: Path) -> None:
    shelf = SessionShelf(tmp_path / "shelf")
    assert shelf.find_sessions() == []
    first = shelf.new_folder()
    first.save(DOCUMENT, {})
    empty = shelf.new_folder()
    empty.save(replace(DOCUMENT, objects={}), {})
    broken = shelf.new_folder()
    broken.save(DOCUMENT, {})
    (broken.path / DOCUMENT_NAME).write_text("{")
    [saved] = shelf.find_sessions()
    assert saved.folder.path == first.path
    assert (saved.num_objects, saved.num_uncommitted) == (0, 1)
    saved.folder.remove()
    assert shelf.find_sessions() == []


def test_a_shelf_keeps_the_newest(tmp_path: Path) -> None:
    shelf = SessionShelf(tmp_path / "shelf")
    for age in range(7):
        folder = shelf.new_folder()
        folder.save(DOCUMENT, {})
        os.utime(folder.path / DOCUMENT_NAME, (10**9 + age, 10**9 + age))
    assert len(shelf.find_sessions()) == 5


def test_only_objects_with_pixels_count_as_committed(tmp_path: Path) -> None:
    folder = SessionFolder(tmp_path / "session")
    [object_id] = DOCUMENT.objects
    objects = {**DOCUMENT.objects, object_id + 1: DOCUMENT.objects[object_id]}
    folder.save(
        replace(DOCUMENT, objects=objects, object_extra={object_id: {"slices": []}}), {}
    )
    again = SessionFolder(folder.path)
    assert (again.num_objects, again.num_uncommitted) == (1, 1)


def test_objects_that_are_only_excluded_do_not_count(tmp_path: Path) -> None:
    shelf = SessionShelf(tmp_path / "shelf")
    excluded = {(0,): PlanePrompts([[1, 2]], [0])}
    shelf.new_folder().save(replace(DOCUMENT, objects={1: excluded}), {})
    assert shelf.find_sessions() == []
    shelf.new_folder().save(replace(DOCUMENT, objects={**DOCUMENT.objects, 2: excluded}), {})
    [saved] = shelf.find_sessions()
    assert (saved.num_objects, saved.num_uncommitted) == (0, 1)


def test_a_shelf_leaves_out_sessions_of_other_pixels(tmp_path: Path) -> None:
    shelf = SessionShelf(tmp_path / "shelf")
    for fingerprint in ("a", "b", ""):
        shelf.new_folder().save(replace(DOCUMENT, extra={FINGERPRINT: fingerprint}), {})
    found = {saved.folder.fingerprint for saved in shelf.find_sessions("a")}
    assert found == {"a", ""}, "sessions of earlier versions have no fingerprint"
    assert len(shelf.find_sessions()) == 3
