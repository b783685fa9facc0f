"""Kill a process repeatedly while it commits and saves, and inspect the files it leaves.

    python killed_sessions.py FOLDER NUMBER_OF_KILLS

test_crashes.py runs it in a process without torch and Qt, because it forks. It prints, as
JSON, how many objects survived each kill; killing.py defines a moment. The seed determines the
actions of a child, so the parent knows the labels after every commit.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import zarr
from killing import kill_at

from napari_promptable.annotation.blocks import Block
from napari_promptable.annotation.records import ObjectOnSlice
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.session_folder import SessionFolder
from napari_promptable.annotation.session_json import document_of, restore_session, state_of
from napari_promptable.planes import PlaneAxes

SHAPE = (4, 64, 64)
PLANES = PlaneAxes(SHAPE, (1, 2))
MAX_MOMENT = 400  # about ten commits
NUM_COMMITS = 500


def work(session: SegmentationSession, seed: int) -> Iterator[set[tuple[int, ...]]]:
    """Commit one object after the other; yields the planes that changed."""
    rng = np.random.default_rng(seed)
    for object_id in range(1, NUM_COMMITS):
        masks = {}
        for z in rng.choice(SHAPE[0], 2, replace=False).tolist():
            row, column = rng.integers(0, 54, 2)
            mask = np.zeros(SHAPE[1:], bool)
            mask[row : row + 10, column : column + 10] = True
            masks[object_id, (z,)] = ObjectOnSlice.of_mask(mask, confidence=0.5)
        session.commit_masks(masks)
        yield {index for _, index in masks}


def open_labels(path: Path) -> zarr.Array:
    return zarr.open_array(path, mode="a", shape=SHAPE, chunks=(1, *SHAPE[1:]), dtype="uint16")


def commit_and_save(folder: Path, seed: int) -> None:
    """The process to kill: it writes labels on disk and a session beside them."""
    session = SegmentationSession(PLANES, open_labels(folder / "labels.zarr"))
    saved = SessionFolder(folder / "session")
    for touched in work(session, seed):
        blocks = {Block(i): np.asarray(session.labels.array[i]) for i in touched}
        saved.save(document_of(state_of(session), "image", "tiny"), blocks)


def expected_labels(seed: int, count: int) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint16)
    session = SegmentationSession(PLANES, labels)
    for _, _ in zip(range(count), work(session, seed), strict=False):
        pass
    return labels


def check(folder: Path, seed: int) -> int:
    """Open everything; returns how many objects are there."""
    in_place = np.asarray(open_labels(folder / "labels.zarr")[:])
    saved = SessionFolder(folder / "session")
    if not saved.is_there:
        assert in_place.max() <= 1, "more than the last commit is lost"
        return 0
    document = saved.read_document()
    labels = np.zeros(SHAPE, np.uint16)
    for block, plane in saved.read_blocks():
        labels[block.index] = plane
    count = len(document.extra["actions"])
    assert np.array_equal(labels, expected_labels(seed, count)), "the session is not whole"
    assert in_place.max() - count in (0, 1), "more than the last commit is lost"
    session = SegmentationSession(PLANES, labels)
    restore_session(document, session)
    assert len(session.records.object_ids) <= count
    saved.sweep()
    assert {path.suffix for path in saved.path.iterdir()} <= {".json", ".tif", ".tmp"}
    return count


def main(folder: Path, num_kills: int) -> None:
    counts = []
    for seed in range(num_kills):
        place = folder / str(seed)
        place.mkdir()
        moment = random.Random(seed).randrange(1, MAX_MOMENT)
        kill_at(moment, partial(commit_and_save, place, seed))
        counts.append(check(place, seed))
        shutil.rmtree(place)
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
