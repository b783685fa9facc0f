"""Measure a model on whole images of the validation split.

    python -m training.validate --data DATA [--model NAME_OR_PATH] [--max-images N]

Objects of at least 20 pixels; box prompts are exact bounding boxes and take the single mask,
point prompts are the interior point farthest from the border and take, of three masks, the
one with the highest predicted IoU (and, as an oracle, the best by truth).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from napari_promptable.masks import interior_point_yx, mask_iou, mask_to_box_yxyx
from napari_promptable.predictor import (
    PromptableModel,
    encode_image,
    load_model,
    predict_many,
)
from napari_promptable.prompts import PromptSet
from training.dataset import LabelledImage, load_split

MIN_AREA = 20  # pixels; smaller objects are left out
MEASURES = ("box", "point", "point oracle", "IoU error")
_CHUNK = 32  # objects whose masks are held at once


def measure_image(model: PromptableModel, source: LabelledImage) -> np.ndarray:
    """Measure every object of an image, shape (objects, 4) in the order of `MEASURES`."""
    embedding = encode_image(model, source.image, contrast_limits=(0, 255))
    areas = np.bincount(source.labels.ravel())
    ids = 1 + np.flatnonzero(areas[1:] >= MIN_AREA)
    rows: list[tuple[float, float, float, float]] = []
    for start in range(0, len(ids), _CHUNK):
        truths = [source.labels == i for i in ids[start : start + _CHUNK]]
        boxes = [PromptSet(box_yxyx=mask_to_box_yxyx(truth)) for truth in truths]
        points = [PromptSet(points_yx=[interior_point_yx(truth)]) for truth in truths]
        by_box = predict_many(model, embedding, boxes, multimask_output=False)
        by_point = predict_many(model, embedding, points)
        for truth, box, point in zip(truths, by_box, by_point, strict=True):
            ious = [mask_iou(mask, truth) for mask in point.masks]
            error = abs(ious[point.best] - float(point.predicted_iou[point.best]))
            rows.append((mask_iou(box.masks[0], truth), ious[point.best], max(ious), error))
    return np.array(rows).reshape(-1, len(MEASURES))


def measure_split(
    model: PromptableModel, images: dict[str, list[LabelledImage]], max_images: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Mean over objects of each dataset, then the mean over datasets."""
    means = []
    for name, group in images.items():
        chosen = group[:: max(1, len(group) // max_images)]
        rows = np.concatenate([measure_image(model, source) for source in chosen])
        means.append(rows.mean(axis=0))
        yield f"{name} ({len(rows)} objects)", means[-1]
    yield "mean over datasets", np.mean(means, axis=0)


def main() -> None:
    """Parse the command line, measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--model", default="tiny", help="registry name or weights file")
    parser.add_argument("--max-images", type=int, default=1000, help="per dataset")
    arguments = parser.parse_args()
    model = load_model(arguments.model, device="cpu")
    print(f"{'':32}" + "".join(f"{name:>14}" for name in MEASURES))
    for name, means in measure_split(
        model, load_split(arguments.data, "val"), arguments.max_images
    ):
        print(f"{name:32}" + "".join(f"{value:14.3f}" for value in means), flush=True)


if __name__ == "__main__":
    main()
