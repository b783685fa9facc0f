"""Compare weights on a sample of the validation objects, in a few minutes.

    python -m training.validate --data DATA WEIGHTS [WEIGHTS ...]

The objects are the same for all weights. Full figures come from `napari-promptable evaluate`.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_promptable.evaluation.evaluate import (
    MIN_AREA,
    ObjectScore,
    Protocol,
    evaluate_plane,
)
from napari_promptable.evaluation.labelled_images import find_labelled_files
from napari_promptable.predict.load_model import load_model
from napari_promptable.predict.predictor import PromptableModel
from training.dataset import FIRST_DATASETS

PROTOCOLS = {
    "box": Protocol("box"),
    "jittered box": Protocol("box", box_jitter=0.1),
    "click": Protocol("point", corrections=3),
}
FIGURES = ("box", "jittered box", "click", "best of three", "+1", "+3", "IoU error")


@dataclass(frozen=True)
class SampledPlane:
    """A plane with the labels of some of its objects.

    Attributes
    ----------
    dataset : str
        Where it comes from.
    image : ndarray, shape (H, W) or (H, W, 3)
        Pixels.
    labels : ndarray of int, shape (H, W)
        Of the chosen objects only.
    """

    dataset: str
    image: npt.NDArray[Any]
    labels: npt.NDArray[np.integer[Any]]


def sample_planes(
    root: Path, planes_per_dataset: int, objects_per_plane: int, split: str = "val"
) -> Iterator[SampledPlane]:
    """Choose planes of each dataset and objects on them; always the same ones."""
    planes = defaultdict(list)
    for file in find_labelled_files(root, root, split):
        planes[file.dataset] += list(file.planes())
    for dataset, group in planes.items():
        rng = np.random.default_rng(0)
        for index in rng.permutation(len(group))[:planes_per_dataset]:
            _, image, labels = group[index]
            areas = np.bincount(labels.ravel())
            areas[0] = 0
            chosen = rng.permutation(np.flatnonzero(areas >= MIN_AREA))[:objects_per_plane]
            if len(chosen):
                kept = np.where(np.isin(labels, chosen), labels, 0)
                yield SampledPlane(dataset, image, kept)


def score_planes(
    model: PromptableModel, planes: list[SampledPlane]
) -> dict[str, dict[str, float]]:
    """Mean figures of each dataset, and of the first ones and the others together."""
    scores: dict[str, dict[str, list[ObjectScore]]] = defaultdict(lambda: defaultdict(list))
    for plane in planes:
        for name, protocol in PROTOCOLS.items():
            found = evaluate_plane(model, plane.image, plane.labels, protocol)
            scores[plane.dataset][name] += found
    table = {dataset: _figures(by_protocol) for dataset, by_protocol in scores.items()}
    groups = {
        "mean of the first": [name for name in table if name in FIRST_DATASETS],
        "mean of the others": [name for name in table if name not in FIRST_DATASETS],
    }
    for title, names in groups.items():
        means = np.mean([list(table[name].values()) for name in names], axis=0)
        table[title] = dict(zip(FIGURES, means.tolist(), strict=True))
    return table


def _figures(scores: dict[str, list[ObjectScore]]) -> dict[str, float]:
    """Means over the objects of a dataset."""
    ious = {name: np.array([s.ious for s in group]) for name, group in scores.items()}
    clicks = scores["click"]
    values = (
        ious["box"][:, 0].mean(),
        ious["jittered box"][:, 0].mean(),
        ious["click"][:, 0].mean(),
        np.mean([score.oracle_iou for score in clicks]),
        ious["click"][:, 1].mean(),
        ious["click"][:, 3].mean(),
        np.mean([abs(score.ious[0] - score.predicted_iou) for score in clicks]),
    )
    return {name: float(value) for name, value in zip(FIGURES, values, strict=True)}


def format_table(table: dict[str, dict[str, float]]) -> str:
    """A line of text per dataset."""
    lines = ["".ljust(20) + "".join(f"{name:>15}" for name in FIGURES)]
    for dataset, figures in table.items():
        lines.append(dataset.ljust(20) + "".join(f"{v:15.3f}" for v in figures.values()))
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, score and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--planes", type=int, default=6, help="of each dataset")
    parser.add_argument("--objects", type=int, default=4, help="of each plane")
    parser.add_argument("--json", type=Path, help="where figures are kept, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    planes = list(sample_planes(arguments.data, arguments.planes, arguments.objects))
    tables = {}
    for path in arguments.weights:
        table = score_planes(load_model(path, device="cpu"), planes)
        print(path, format_table(table), sep="\n", flush=True)
        tables[str(path)] = table
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(tables, indent=1))


if __name__ == "__main__":
    main()
