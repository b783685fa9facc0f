"""Eight hours of clicks without a window: does memory stay flat?

    python -m benchmarks.many_clicks [20000]

The session, its history, the prompts and the saved folder are the real ones. The model is not:
it answers at once with a disk around the click, so that 20,000 clicks take minutes. First every
answer is committed and undone, then every answer stays, on new places; after each 1,000 clicks
the session is saved as the widget saves it. Prints a line of JSON for each.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.large import used_mb
from napari_promptable.annotation.blocks import Block, blocks_of
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.session_folder import SessionFolder
from napari_promptable.annotation.session_json import document_of, state_of
from napari_promptable.batch.answering import answer_open_questions
from napari_promptable.plane_source import PlaneSource
from napari_promptable.planes import PlaneAxes
from napari_promptable.predict.embeddings import EmbeddingCache, ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.prompts import PlanePrompts, PromptSet

NUM_SLICES, SIDE = 20, 512
CELL, RADIUS = 16, 6  # pixels from one object to the next, and their radius
CLICKS_PER_SAVE = 1000


class InstantDisks:
    """Answers every click with a disk."""

    carries_masks = False

    def encode(
        self, image: npt.NDArray[np.generic], contrast_limits: Any = None, **_: Any
    ) -> ImageEmbedding:
        size = (SIDE, SIDE)
        features = np.zeros((1, 1, 1), np.float32)
        return ImageEmbedding(features, size, size, "disks", (1, 1), (1, 1))

    def predict_many(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[PromptSet],
        multimask_output: bool | None = True,
    ) -> list[Prediction]:
        return [_draw(each.points_yx[0]) for each in prompts]


def _draw(middle: npt.NDArray[np.floating]) -> Prediction:
    rows, columns = np.ogrid[:SIDE, :SIDE]
    disk = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < RADIUS**2
    return Prediction(disk[None], np.ones(1, np.float32), np.zeros((1, 1, 1), np.float32))


def click(count: int, is_undone: bool, folder: Path) -> dict[str, Any]:
    """Click, commit and save; returns figures."""
    image = np.zeros((NUM_SLICES, SIDE, SIDE), np.uint8)
    planes = PlaneAxes(image.shape, (1, 2))
    labels = np.zeros(image.shape, np.uint32) + np.uint32(0)
    session, saved = SegmentationSession(planes, labels), SessionFolder(folder)
    source, cache, model = PlaneSource(image, planes), EmbeddingCache(), InstantDisks()
    touched: set[Block] = set()
    per_row = SIDE // CELL
    used: list[float] = []
    start = time.perf_counter()
    for number in range(count):
        slice_number, place = divmod(number % (NUM_SLICES * per_row**2), per_row**2)
        middle = np.add(np.multiply(divmod(place, per_row), CELL), CELL // 2)
        session.prompts.replace({(slice_number,): PlanePrompts([middle], [1])})
        answer_open_questions(session, model, "disks", source, cache)
        session.commit()
        touched.update(blocks_of(planes, (slice_number,)))
        if is_undone:
            session.undo()
            session.prompts.replace({})
        if (number + 1) % CLICKS_PER_SAVE == 0:
            document = document_of(state_of(session), "image", "disks")
            saved.save(document, {block: labels[block.region(planes)] for block in touched})
            touched.clear()
        if number + 1 in (count // 4, count):
            used.append(used_mb())
    return {
        "clicks": count,
        "undone": is_undone,
        "objects": len(session.records.object_ids),
        "growth_mb_after_a_quarter": round(used[1] - used[0], 1),
        "ms_per_click": round(1000 * (time.perf_counter() - start) / count, 2),
    }


def main() -> None:
    """Measure both ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=20_000)
    count = parser.parse_args().count
    for is_undone in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(click(count, is_undone, Path(folder) / "session")), flush=True)


if __name__ == "__main__":
    main()
