"""Mean IoU on thin objects of a sample: one click, a box, one stroke along the middle line.

    python -m benchmarks.strokes [--model tiny] [--min-ratio 2.5]

Prints JSON.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from skimage.measure import regionprops
from skimage.morphology import skeletonize

from napari_promptable import PromptSet, encode_image, load_model, predict_masks
from napari_promptable.masks import interior_point_yx, mask_iou, mask_to_box_yxyx
from napari_promptable.samples.data import load_phase_contrast_cells, sample_labels


def middle_line(mask: np.ndarray) -> np.ndarray:
    """Skeleton pixels in the order of the object's long axis, thinned out."""
    pixels = np.argwhere(skeletonize(mask)).astype(float)
    centred = pixels - pixels.mean(axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    return pixels[(centred @ axis).argsort()][::3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--min-ratio", type=float, default=2.5, help="of long to short axis")
    arguments = parser.parse_args()
    [(image, *_)] = load_phase_contrast_cells()
    truth = sample_labels("phase_contrast_cells")
    model = load_model(arguments.model)
    embedding = encode_image(model, image)
    ious: dict[str, list[float]] = {"click": [], "box": [], "stroke": []}
    for region in regionprops(truth):
        is_thin = region.axis_major_length > arguments.min_ratio * region.axis_minor_length
        mask = truth == region.label
        if region.area < 60 or not is_thin:
            continue
        for name, prompts in {
            "click": PromptSet([interior_point_yx(mask)]),
            "box": PromptSet(box_yxyx=mask_to_box_yxyx(mask)),
            "stroke": PromptSet(strokes_yx=[middle_line(mask)]),
        }.items():
            answer = predict_masks(model, embedding, prompts, multimask_output=None)
            ious[name].append(mask_iou(answer.mask(answer.default), mask))
    figures = {name: round(float(np.mean(values)), 3) for name, values in ious.items()}
    print(json.dumps({"objects": len(ious["click"]), **figures}))


if __name__ == "__main__":
    main()
