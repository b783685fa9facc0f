"""How well all objects of an image are found without any prompt, and how long that takes.

    python -m benchmarks.instances DATA DATASET... [--methods maps grid watershed]
        [--split val] [--images N] [--model WEIGHTS] [--json OUT.json]

All methods see the same planes in the same run: instance maps answered by the decoder of the
same network, SAM's grid of clicks with the same weights, and Otsu's threshold with a watershed
on the distance to the background. SA, the segmentation accuracy, is TP / (TP + FP + FN) at an
IoU threshold; mSA is its mean over thresholds 0.5 to 0.95. PQ, the panoptic quality, is the
mean IoU of the matches at 0.5 times the F1 score (arXiv 1801.00868).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import relabel_sequential, watershed

from napari_promptable.evaluation.labelled_images import find_labelled_files
from napari_promptable.instances.automatic import find_objects
from napari_promptable.instances.settings import AutomaticSettings
from napari_promptable.predict.load_model import load_model
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.transforms import to_rgb8

THRESHOLDS = np.arange(0.5, 1.0, 0.05)
MIN_AREA = 25  # pixels, of objects that the watershed leaves
SMOOTHING = 1.0  # pixels, before Otsu's threshold and of distances

IntArray = npt.NDArray[np.int32]
Rgb = npt.NDArray[np.uint8]
Method = Callable[[Rgb], IntArray]


class Score(NamedTuple):
    """Of one plane."""

    sa50: float
    msa: float
    pq: float
    cpu_s: float
    wall_s: float


def watershed_of(rgb: Rgb) -> IntArray:
    """Segment dark or bright objects by Otsu's threshold and a watershed on distances."""
    grey = gaussian(rgb.mean(axis=2), SMOOTHING)
    foreground = grey > threshold_otsu(grey) if np.ptp(grey) else np.zeros(grey.shape, bool)
    if foreground.mean() > 0.5:
        foreground = ~foreground
    distance = gaussian(ndimage.distance_transform_edt(foreground), SMOOTHING)
    peaks = peak_local_max(distance, min_distance=4, labels=foreground, exclude_border=False)
    markers = np.zeros(grey.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-distance, markers, mask=foreground)
    labels[np.bincount(labels.ravel())[labels] < MIN_AREA] = 0
    return np.asarray(relabel_sequential(labels)[0], np.int32)


def make_methods(model: PromptableModel) -> dict[str, Method]:
    """All methods by name."""
    grid = AutomaticSettings.for_grid()
    return {
        "maps": lambda rgb: find_objects(model, rgb).new_labels,
        "grid": lambda rgb: find_objects(model, rgb, grid).new_labels,
        "watershed": watershed_of,
    }


def compare(found: IntArray, truth: IntArray) -> tuple[float, float, float]:
    """SA50, mSA and PQ of one plane."""
    shared = np.zeros((found.max() + 1, truth.max() + 1))
    np.add.at(shared, (found.ravel(), truth.ravel()), 1)
    areas = shared.sum(axis=1)[1:, None] + shared.sum(axis=0)[None, 1:]
    iou = shared[1:, 1:] / np.maximum(areas - shared[1:, 1:], 1)
    pairs = iou[linear_sum_assignment(-iou)]
    hits = (pairs[:, None] > THRESHOLDS - 1e-9).sum(axis=0)
    accuracy = hits / np.maximum(sum(iou.shape) - hits, 1)
    matched = pairs[pairs > THRESHOLDS[0]]
    quality = 2 * matched.sum() / max(sum(iou.shape), 1)
    return float(accuracy[0]), float(accuracy.mean()), float(quality)


def score(method: Method, rgb: Rgb, truth: IntArray) -> Score:
    """Segment a plane and compare it with the truth."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = method(rgb)
    seconds = time.process_time() - cpu, time.perf_counter() - wall
    return Score(*compare(found, truth), *seconds)


def main() -> None:
    """Parse the command line, segment and score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--methods", nargs="+", default=["maps", "watershed"])
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, help="at most so many files of each dataset")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    methods = make_methods(load_model(arguments.model, device="cpu"))
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for dataset in arguments.datasets:
        files = find_labelled_files(arguments.data, arguments.data, arguments.split)
        files = [file for file in files if file.dataset == dataset]
        step = -(-len(files) // (arguments.images or len(files)))
        scores: dict[str, list[Score]] = {name: [] for name in arguments.methods}
        for file in files[::step]:
            for _, image, labels in file.planes():
                rgb, truth = to_rgb8(image), relabel_sequential(labels)[0].astype(np.int32)
                for name in arguments.methods:
                    scores[name].append(score(methods[name], rgb, truth))
        for name, values in scores.items():
            means = Score(*np.mean(values, axis=0).tolist())
            figures.setdefault(dataset, {})[name] = means._asdict()
            print(
                f"{dataset} {name}: {len(values)} planes, SA50 {means.sa50:.3f}, "
                f"mSA {means.msa:.3f}, PQ {means.pq:.3f}, {means.cpu_s:.2f} CPU-seconds, "
                f"{means.wall_s:.2f} s a plane",
                flush=True,
            )
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
