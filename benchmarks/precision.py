"""How much masks change with the precision: IoU of bfloat16's with float32's.

    python -m benchmarks.precision IMAGES LABELS [--split val] [--every 4] [--model tiny]

Prints a row per kind of prompt; IMAGES and LABELS are as for `napari-promptable evaluate`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

import napari_promptable as npp
from napari_promptable.evaluation.labelled_images import find_labelled_files
from napari_promptable.masks import BoolArray, interior_point_yx, mask_iou, mask_to_box_yxyx

PROMPTS: dict[str, Callable[[BoolArray], npp.PromptSet]] = {
    "box": lambda mask: npp.PromptSet(box_yxyx=mask_to_box_yxyx(mask)),
    "click": lambda mask: npp.PromptSet([interior_point_yx(mask)]),
}
_OBJECTS_PER_PLANE = 10

Rows = dict[str, list[tuple[float, float, float]]]
"""By prompt and object: IoU between two models' masks, and of each with the truth."""


def make_parser(description: str) -> argparse.ArgumentParser:
    """Options that tell which objects to compare on."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--every", type=int, default=4, help="take every nth file")
    parser.add_argument("--model", default="tiny")
    return parser


def sample_objects(
    arguments: argparse.Namespace,
) -> Iterator[tuple[npt.NDArray[np.generic], list[BoolArray]]]:
    """Images, each with masks of some of its objects."""
    files = find_labelled_files(arguments.images, arguments.labels, arguments.split)
    for file in files[:: arguments.every]:
        _, image, labels = next(file.planes())
        ids = np.unique(labels)[1:]
        chosen = ids[:: max(1, len(ids) // _OBJECTS_PER_PLANE)]
        yield image, [labels == label for label in chosen]


def compare(
    rows: Rows,
    answerers: Sequence[tuple[npp.PromptableModel, npp.ImageEmbedding]],
    masks: Sequence[BoolArray],
) -> None:
    """Add what two models, or one on two embeddings, make of prompts for the masks."""
    for name, make_prompt in PROMPTS.items():
        prompts = [make_prompt(mask) for mask in masks]
        exact, coarse = (
            [
                prediction.mask(prediction.best)
                for prediction in npp.predict_many(model, embedding, prompts)
            ]
            for model, embedding in answerers
        )
        rows.setdefault(name, []).extend(
            (mask_iou(a, b), mask_iou(a, mask), mask_iou(b, mask))
            for a, b, mask in zip(exact, coarse, masks, strict=True)
        )


def print_rows(rows: Rows, coarse_name: str) -> None:
    """Print means over objects, a row per kind of prompt."""
    print(f"| prompt | objects | mean IoU of both | lowest 5 % | float32 | {coarse_name} |")
    print("|---|---|---|---|---|---|")
    for name, values in rows.items():
        between, exact, coarse = np.array(values).T
        low = np.quantile(between, 0.05)
        means = f"{between.mean():.4f} | {low:.4f} | {exact.mean():.4f} | {coarse.mean():.4f}"
        print(f"| {name} | {len(values)} | {means} |")


def main() -> None:
    """Parse the command line, compare and print."""
    arguments = make_parser(__doc__.splitlines()[0]).parse_args()
    models = [
        npp.load_model(arguments.model, precision=precision)
        for precision in ("float32", "bfloat16")
    ]
    rows: Rows = {}
    for image, masks in sample_objects(arguments):
        compare(rows, [(model, model.encode(image)) for model in models], masks)
    print_rows(rows, "bfloat16")


if __name__ == "__main__":
    main()
