"""Mean IoU on thin or winding objects: one click, a box, and one stroke along the middle line.

    python -m benchmarks.strokes --data DATA [--model tiny] [--objects 60]

Objects are drawn at random from the validation images in DATA, see training/README.md. A stroke
becomes spaced clicks, at most 4, 8, 16 or 32. For comparison, "drawn" gives the model the same
line as a mask prompt, with a click in its middle. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from skimage.draw import line
from skimage.measure import regionprops
from skimage.morphology import skeletonize

from napari_promptable import PromptSet, encode_image, load_model, predict_masks
from napari_promptable.masks import (
    interior_point_yx,
    mask_iou,
    mask_to_box_yxyx,
    mask_to_logits,
)
from napari_promptable.strokes import stroke_to_clicks
from training.validate import SampledPlane, sample_planes

CAPS = (4, 8, 16, 32)
MIN_AREA, MIN_RATIO, MAX_SOLIDITY = 60, 2.5, 0.8


def middle_line(mask: np.ndarray) -> np.ndarray:
    """Longest path along the skeleton of an object, (N, 2), every third pixel."""
    pixels = np.argwhere(skeletonize(np.pad(mask, 1))) - 1
    steps = np.abs(pixels[:, None] - pixels[None])
    rows, columns = np.nonzero(steps.max(axis=2) == 1)
    lengths = np.hypot(*steps[rows, columns].T)
    graph = coo_array((lengths, (rows, columns)), shape=(len(pixels),) * 2).tocsr()
    start = 0
    for _ in range(2):  # the farthest pixel from anywhere is an end
        distance, before = dijkstra(graph, indices=start, return_predecessors=True)
        end, former = int(np.where(np.isfinite(distance), distance, -1).argmax()), start
        start = end
    path = [end]
    while path[-1] != former:
        path.append(int(before[path[-1]]))
    return pixels[path[::3]].astype(float)


def draw_line(path: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Mask of the pixels under a line."""
    drawn = np.zeros(shape, bool)
    corners = np.rint(path).astype(int)
    for start, stop in zip(corners, [*corners[1:], corners[-1]], strict=True):
        drawn[line(*start, *stop)] = True
    return drawn


def thin_objects(planes: list[SampledPlane]) -> Iterator[tuple[SampledPlane, np.ndarray]]:
    """Yield each thin or winding object with its plane."""
    for plane in planes:
        for region in regionprops(plane.labels):
            is_thin = region.axis_major_length > MIN_RATIO * region.axis_minor_length
            is_winding = region.solidity < MAX_SOLIDITY
            if region.area >= MIN_AREA and (is_thin or is_winding):
                yield plane, plane.labels == region.label


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--objects", type=int, default=60)
    arguments = parser.parse_args()
    found = list(thin_objects(list(sample_planes(arguments.data, 6, 12))))
    chosen = sorted(np.random.default_rng(0).permutation(len(found))[: arguments.objects])
    model, ious, sets = load_model(arguments.model), dict[str, list[float]](), Counter[str]()
    shown, embedding = None, None
    for plane, mask in (found[number] for number in chosen):
        if plane is not shown:
            shown, embedding = plane, encode_image(model, plane.image)
        sets[plane.dataset] += 1
        path = middle_line(mask)
        clicks = {cap: stroke_to_clicks(path, cap) for cap in CAPS}
        answers = {
            "click": PromptSet([interior_point_yx(mask)]),
            "box": PromptSet(box_yxyx=mask_to_box_yxyx(mask)),
            **{f"stroke, {cap} clicks": PromptSet(yx) for cap, yx in clicks.items()},
        }
        drawn = draw_line(path, mask.shape)
        logits = mask_to_logits(drawn, embedding.low_res_valid, embedding.low_res_size)
        middle = stroke_to_clicks(path, 1)
        answers["drawn, rest unknown"] = PromptSet(
            middle, mask_logits=(logits - logits.min()) / 2
        )
        answers["drawn, rest excluded"] = PromptSet(middle, mask_logits=logits)
        for name, prompts in answers.items():
            answer = predict_masks(model, embedding, prompts, multimask_output=None)
            ious.setdefault(name, []).append(mask_iou(answer.mask(answer.default), mask))
    figures = {name: round(float(np.mean(values)), 3) for name, values in ious.items()}
    print(json.dumps({"objects": len(chosen), "sets": sets, "mean IoU": figures}, indent=1))


if __name__ == "__main__":
    main()
