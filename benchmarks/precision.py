"""How much masks change with the precision: IoU of bfloat16's with float32's.

    python -m benchmarks.precision IMAGES LABELS [--split val] [--every 4] [--model tiny]

Prints a row per kind of prompt; IMAGES and LABELS are as for `napari-promptable evaluate`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

import napari_promptable as npp
from napari_promptable.labelled_images import find_labelled_files
from napari_promptable.masks import BoolArray, interior_point_yx, mask_iou, mask_to_box_yxyx

PROMPTS: dict[str, Callable[[BoolArray], npp.PromptSet]] = {
    "box": lambda mask: npp.PromptSet(box_yxyx=mask_to_box_yxyx(mask)),
    "click": lambda mask: npp.PromptSet([interior_point_yx(mask)]),
}
OBJECTS_PER_PLANE = 10


def compare(
    models: list[npp.PromptableModel],
    image: npt.NDArray[np.generic],
    masks: list[BoolArray],
    make_prompt: Callable[[BoolArray], npp.PromptSet],
) -> list[tuple[float, float, float]]:
    """IoU between two models' masks, and of each with the truth, per object."""
    prompts = [make_prompt(mask) for mask in masks]
    exact, coarse = (
        [
            prediction.mask(prediction.best)
            for prediction in npp.predict_many(model, model.encode(image), prompts)
        ]
        for model in models
    )
    return [
        (mask_iou(a, b), mask_iou(a, mask), mask_iou(b, mask))
        for a, b, mask in zip(exact, coarse, masks, strict=True)
    ]


def main() -> None:
    """Parse the command line, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--every", type=int, default=4, help="take every nth file")
    parser.add_argument("--model", default="tiny")
    arguments = parser.parse_args()
    models = [
        npp.load_model(arguments.model, precision=precision)
        for precision in ("float32", "bfloat16")
    ]
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in PROMPTS}
    files = find_labelled_files(arguments.images, arguments.labels, arguments.split)
    for file in files[:: arguments.every]:
        _, image, labels = next(file.planes())
        ids = np.unique(labels)[1:]
        masks = [labels == label for label in ids[:: max(1, len(ids) // OBJECTS_PER_PLANE)]]
        for name, make_prompt in PROMPTS.items():
            rows[name] += compare(models, image, masks, make_prompt)
    print("| prompt | objects | mean IoU of both | lowest 5 % | float32 | bfloat16 |")
    print("|---|---|---|---|---|---|")
    for name, values in rows.items():
        between, exact, coarse = np.array(values).T
        low = np.quantile(between, 0.05)
        means = f"{between.mean():.4f} | {low:.4f} | {exact.mean():.4f} | {coarse.mean():.4f}"
        print(f"| {name} | {len(values)} | {means} |")


if __name__ == "__main__":
    main()
