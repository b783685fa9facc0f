"""Fit the last layer of the head that predicts the IoU, on whole training images.

    python -m training.calibrate --data DATA --weights RUN/tiny.safetensors

Training sees crops; what a user gets is predicted from whole images. The last layer is linear,
so the change that fits best there has a closed form: ridge regression of what the prediction
lacks on the layer's input, every dataset with the same weight.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch

from napari_promptable.masks import interior_point_yx, mask_iou, mask_to_box_yxyx
from napari_promptable.predictor import PromptableModel, encode_image, load_model, predict_many
from napari_promptable.prompts import PromptSet
from training.dataset import LabelledImage, load_split
from training.targets import random_point_xy
from training.validate import MIN_AREA

LAYER = "mask_decoder.iou_prediction_head.layers.2"
RIDGE = 0.01  # relative to the mean square of the layer's input

Sample = tuple[np.ndarray, np.ndarray, bool]
"""Input of the layer, IoU of the masks with the truth, whether the prompt was a point."""


def sample_image(
    model: PromptableModel, source: LabelledImage, num_objects: int, rng: np.random.Generator
) -> Iterator[Sample]:
    """Prompt some objects of an image with their interior point, a random point and a box."""
    embedding = encode_image(model, source.image, contrast_limits=(0, 255))
    areas = np.bincount(source.labels.ravel())
    ids = rng.permutation(1 + np.flatnonzero(areas[1:] >= MIN_AREA))[:num_objects]
    inputs: list[np.ndarray] = []
    layer = model.sam.get_submodule(LAYER)
    handle = layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0][0].numpy()))
    try:
        for truth in (source.labels == i for i in ids):
            random_yx = random_point_xy(truth, rng)[::-1]
            for prompts in (
                PromptSet(points_yx=[interior_point_yx(truth)]),
                PromptSet(points_yx=[random_yx]),
                PromptSet(box_yxyx=mask_to_box_yxyx(truth)),
            ):
                inputs.clear()
                levels = predict_many(model, embedding, [prompts])[0].masks
                single = predict_many(model, embedding, [prompts], multimask_output=False)[
                    0
                ].masks
                ious = [mask_iou(mask, truth) for mask in (*single, *levels)]
                yield inputs[0], np.array(ious), prompts.is_ambiguous
    finally:
        handle.remove()


def fit_layer(
    weight: np.ndarray, bias: np.ndarray, groups: list[list[Sample]]
) -> tuple[np.ndarray, np.ndarray]:
    """Correct weight (4, C) and bias (4,); masks 1 to 3 by points, mask 0 by all prompts."""
    weight, bias = weight.copy(), bias.copy()
    for mask in range(len(bias)):
        chosen = [[s for s in group if s[2] or mask == 0] for group in groups]
        inputs = np.array([s[0] for group in chosen for s in group])
        wanted = np.array([s[1][mask] for group in chosen for s in group])
        share = np.concatenate([np.full(len(g), 1 / max(1, len(g))) for g in chosen])
        share /= share.sum()
        design = np.column_stack([inputs, np.ones(len(inputs))])
        lacking = wanted - (inputs @ weight[mask] + bias[mask])
        gram = design.T @ (design * share[:, None])
        penalty = RIDGE * np.trace(gram[:-1, :-1]) / len(gram) * np.eye(len(gram))
        penalty[-1, -1] = 0
        change = np.linalg.solve(gram + penalty, design.T @ (lacking * share))
        weight[mask] += change[:-1]
        bias[mask] += change[-1]
    return weight, bias


def calibrate(path: Path, data: Path, num_images: int, num_objects: int, seed: int) -> None:
    """Rewrite a weights file with the fitted layer."""
    model = load_model(path, device="cpu")
    rng = np.random.default_rng(seed)
    groups = []
    for group in load_split(data, "train").values():
        picks = rng.permutation(len(group))[:num_images]
        groups.append(
            [s for i in picks for s in sample_image(model, group[i], num_objects, rng)]
        )
    layer = model.sam.get_submodule(LAYER)
    before = (layer.weight.numpy().astype(float), layer.bias.numpy().astype(float))
    weight, bias = fit_layer(*before, groups)
    for name, parameters in (("before", before), ("after", (weight, bias))):
        samples = [s for group in groups for s in group if s[2]]
        predicted = np.array([s[0] @ parameters[0].T + parameters[1] for s in samples])[:, 1:]
        true = np.array([s[1][1:] for s in samples])
        chosen = true[np.arange(len(true)), predicted.argmax(1)]
        error = np.abs(predicted - true).mean()
        print(f"{name}: IoU error {error:.3f}, chosen {chosen.mean():.3f}, {len(true)} points")
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata() | {"calibrated": "1"}
    tensors = safetensors.torch.load_file(path)
    tensors[f"{LAYER}.weight"] = torch.from_numpy(weight).half()
    tensors[f"{LAYER}.bias"] = torch.from_numpy(bias).half()
    safetensors.torch.save_file(tensors, path, metadata)


def main() -> None:
    """Parse the command line and calibrate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--weights", type=Path, required=True, help="file to rewrite")
    parser.add_argument("--num-images", type=int, default=8, help="per dataset")
    parser.add_argument("--num-objects", type=int, default=6, help="per image")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    calibrate(
        arguments.weights,
        arguments.data,
        arguments.num_images,
        arguments.num_objects,
        arguments.seed,
    )


if __name__ == "__main__":
    main()
