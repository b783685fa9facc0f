"""What the bundled model costs: encoding, one click, many boxes.

    python benchmarks/tiny_cost.py [--threads N] [--repeats N]

The first click, or boxes, at a place also encode the tiles that they lie on; those that follow
do not. Prints medians of wall time in milliseconds, the parts interleaved in every round, and
facts about the machine.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

import napari_promptable as npp
from napari_promptable.embeddings import SizedCache
from napari_promptable.predictor import predict_candidates

SIZES = (256, 512, 1024, 2048)
NUM_BOXES = 32


def make_tasks(model: npp.PromptableModel, size: int) -> dict[str, Callable[[], object]]:
    """Name what is measured on an image of `size` pixels, objects of a twentieth of it."""
    image = np.random.default_rng(0).integers(0, 256, (size, size)).astype(np.uint8)
    embedding = npp.encode_image(model, image)
    click = npp.PromptSet(points_yx=[[size / 2, size / 2]])
    starts = np.random.default_rng(1).uniform(0, 0.95 * size, (NUM_BOXES, 2))
    corners = np.concatenate([starts, starts + size / 20], axis=1)
    boxes = [npp.PromptSet(box_yxyx=box) for box in corners]

    def fresh() -> npp.ImageEmbedding:
        return replace(embedding, tiles=SizedCache())

    def answer_boxes(embedding: npp.ImageEmbedding) -> object:
        return npp.predict_many(model, embedding, boxes, multimask_output=False)

    return {
        f"encode {size}²": lambda: npp.encode_image(model, image),
        f"first click {size}²": lambda: predict_candidates(model, fresh(), click),
        f"click {size}²": lambda: predict_candidates(model, embedding, click),
        f"first {NUM_BOXES} boxes {size}²": lambda: answer_boxes(fresh()),
        f"{NUM_BOXES} boxes {size}²": lambda: answer_boxes(embedding),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = npp.load_model("tiny", device="cpu")
    tasks = {name: task for size in SIZES for name, task in make_tasks(model, size).items()}
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(arguments.repeats):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - start)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__},")
    print(f"{arguments.threads} threads, median of {arguments.repeats} interleaved rounds")
    for name, values in seconds.items():
        print(f"{name:>22} {1000 * statistics.median(values):8.0f} ms")


if __name__ == "__main__":
    main()
