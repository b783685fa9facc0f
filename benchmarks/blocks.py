"""Cost of one block of work beyond one machine, to plan a terabyte by.

    python -m benchmarks.blocks

Prints what a task of each kind costs one processor core: a slice to encode, an object to carry
by a slice, a view of a large plane and each object in it, and what the scheduler itself takes
for a task. The model is the bundled one; `make bench` measures the encoders of the others.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.large import CELL, draw_disks
from napari_promptable.instances.by_views import answer_view
from napari_promptable.instances.found import FoundObject
from napari_promptable.instances.large_plane import LazyRgb, check_large_place
from napari_promptable.instances.views import viewpoints
from napari_promptable.predict.load_model import load_model
from napari_promptable.predict.scheduler import Workers, connect
from napari_promptable.progress import ignore_progress
from napari_promptable.prompts import PromptSet
from napari_promptable.propagation.volume import propagate

SIDE = 1024  # pixels of a slice, and of the core of a view
ZOOM = 1.5  # input pixels per pixel at which a disk has the best size
NUM_SLICES = 9
NUM_TASKS = 500


def seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """Median CPU time of some work, after a first round."""
    work()
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def do_nothing(number: int) -> int:
    """Stand in for a task that costs nothing."""
    return number


def task_seconds() -> float:
    """Wall time that the scheduler takes for a task, with one worker."""
    with connect(None, num_workers=1) as client:
        workers = Workers(client)
        list(workers.map(do_nothing, range(10)))
        start = time.perf_counter()
        list(workers.map(do_nothing, range(NUM_TASKS)))
        return (time.perf_counter() - start) / NUM_TASKS


def main() -> None:
    """Measure, and print a line of JSON."""
    torch.set_num_threads(1)
    model, plane = load_model("tiny", device="cpu"), draw_disks(SIDE, SIDE)
    embedding = model.encode(plane)
    stack = np.broadcast_to(plane[:256, :256], (NUM_SLICES, 256, 256))
    objects = {
        number: {0: PromptSet([[CELL // 2, CELL // 2 + CELL * number]])} for number in (0, 1)
    }
    one = {1: objects[0]}
    two = {number + 1: at for number, at in objects.items()}
    first, both = (
        seconds(lambda asked=asked: propagate(model, stack, asked)) for asked in (one, two)
    )
    wide = draw_disks(int(2 * SIDE / ZOOM), int(2 * SIDE / ZOOM))
    rgb, place = LazyRgb(wide), check_large_place(wide.shape, None, None)
    point = viewpoints(wide.shape, [ZOOM])[0]

    def find(shown: LazyRgb) -> list[FoundObject]:
        return list(answer_view(model, model, shown, place, point, ignore_progress))

    full, count = seconds(lambda: find(rgb)), len(find(rgb))
    nothing = LazyRgb(np.zeros_like(wide), (0, 255))
    empty = seconds(lambda: find(nothing))
    figures = {
        "encode_slice_s": seconds(lambda: model.encode(plane)),
        "embedding_mb": embedding.features.nbytes / 1e6,
        "carry_object_by_a_slice_s": (both - first) / (NUM_SLICES - 1),
        "view_s": empty,
        "objects_in_view": count,
        "object_in_view_s": (full - empty) / count,
        "task_s": task_seconds(),
    }
    print(json.dumps({name: float(f"{value:.3g}") for name, value in figures.items()}))


if __name__ == "__main__":
    main()
