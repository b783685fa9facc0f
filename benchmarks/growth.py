"""How cost grows: with image size, number of prompts and number of slices. Prints JSON.

    python -m benchmarks.growth "image size" [--rounds 3]

The bundled model does the work. The exponent is the slope of time over count, both as
logarithms, of the upper half of the counts: 1 is linear, more than that a surprise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import torch

import napari_promptable as npp
from benchmarks.timing import Task

SIDES = (256, 512, 1024, 2048, 4096, 8192, 16384)
PROMPTS = tuple(4**power for power in range(6))
SLICES = tuple(4**power for power in range(5))
OBJECT = 40  # pixels


def random_image(height: int, width: int) -> np.ndarray:
    """Grey noise of 8 bits."""
    return np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)


def boxes_on(side: int, number: int) -> list[npp.PromptSet]:
    """So many boxes anywhere on an image."""
    starts = np.random.default_rng(1).uniform(0, side - OBJECT, (number, 2))
    return [npp.PromptSet(box_yxyx=[*start, *(start + OBJECT)]) for start in starts]


def by_image_size(model: npp.PromptableModel, side: int) -> Task:
    """Encode an image of side × side pixels and answer one click."""
    image, prompts = random_image(side, side), npp.PromptSet([[side / 2, side / 2]])
    return lambda: npp.predict_masks(model, npp.encode_image(model, image), prompts)


def by_prompts(model: npp.PromptableModel, number: int) -> Task:
    """Answer so many boxes on an encoded image of 1,024 × 1,024 pixels, none seen before."""
    image = random_image(1024, 1024)
    brightness = count()
    prompts = boxes_on(1024, number)

    def answer() -> object:
        embedding = npp.encode_image(model, image + np.uint8(next(brightness)))
        return npp.predict_many(model, embedding, prompts, multimask_output=False)

    return answer


def by_slices(model: npp.PromptableModel, number: int) -> Task:
    """Encode and answer one box on each slice of 256 × 256 pixels."""
    stack = random_image(number * 256, 256).reshape(number, 256, 256)
    [box] = boxes_on(256, 1)
    return lambda: [
        npp.predict_masks(model, npp.encode_image(model, plane), box) for plane in stack
    ]


Curve = tuple[Callable[[npp.PromptableModel, int], Task], tuple[int, ...], Callable[[int], int]]
CURVES: dict[str, Curve] = {
    "image size": (by_image_size, SIDES, lambda side: side**2),
    "prompts": (by_prompts, PROMPTS, int),
    "slices": (by_slices, SLICES, int),
}
"""Task by count, the counts, and the quantity that grows in proportion."""


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Median times of a curve, rounds over all counts, and the exponent."""
    make, counts, work = CURVES[name]
    model = npp.load_model("tiny", device="cpu")
    make(model, counts[0])()
    tasks = [make(model, number) for number in counts]
    seconds: list[list[float]] = [[] for _ in counts]
    for _ in range(rounds):
        for task, taken in zip(tasks, seconds, strict=True):
            start = time.perf_counter()
            task()
            taken.append(time.perf_counter() - start)
    medians = [statistics.median(taken) for taken in seconds]
    upper = slice(len(counts) // 2, None)
    slope, _ = np.polyfit(
        np.log([work(number) for number in counts[upper]]), np.log(medians[upper]), 1
    )
    return {"counts": counts, "seconds": medians, "exponent": float(slope)}


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("curve", choices=CURVES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(json.dumps(measure(arguments.curve, arguments.rounds)))


if __name__ == "__main__":
    main()
