"""Write the bundled weights, with their origin and their figures as metadata."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from tqdm import tqdm

from napari_promptable.evaluation.evaluate import (
    ImageScore,
    Protocol,
    evaluate_files,
    evaluate_plane,
)
from napari_promptable.evaluation.labelled_images import LabelledFile, find_labelled_files
from napari_promptable.evaluation.report import draw_plot, format_table, summarise
from napari_promptable.files.images import read_image
from napari_promptable.files.writing import write_png
from napari_promptable.models.sam import Sam
from napari_promptable.predict.load_model import load_model
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.samples.data import WITH_PROMPTS, sample_labels, sample_path
from training.dataset import FIRST_DATASETS, manifest_sha256

MOST_OBJECTS = 12  # of each plane, so that crowded planes do not take hours
PROTOCOLS = {
    "box": Protocol("box", most_objects=MOST_OBJECTS),
    "jittered box": Protocol("box", box_jitter=0.1, most_objects=MOST_OBJECTS),
    "point": Protocol("point", corrections=3, most_objects=MOST_OBJECTS),
}
OBJECTS_OF_A_SAMPLE = 6
PROCESSES = 2  # that evaluate, one thread each


def describe_run(config: dict[str, Any], data: Path) -> dict[str, str]:
    """Metadata of weights: architecture, settings, revision of the code and training data."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "architecture": "conv_tiny_2",
        "config": json.dumps(config),
        "git_revision": revision,
        "data_manifest_sha256": manifest_sha256(data),
    }


def save_weights(model: Sam, path: Path, metadata: dict[str, str]) -> None:
    """Write weights in half precision, complete or not at all."""
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    temporary = path.with_suffix(".tmp")
    safetensors.torch.save_file(tensors, temporary, metadata)
    temporary.replace(path)


def add_figures(path: Path, data: Path) -> None:
    """Measure a weights file on the validation split and add the figures to its metadata."""
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as file:
        metadata = dict(file.metadata())
    figures = {**measure(path, data), "metrics_of_samples": measure_samples(load_model(path))}
    metadata |= {name: json.dumps(values) for name, values in figures.items()}
    safetensors.torch.save_file(tensors, path, metadata)


def measure(path: Path, data: Path) -> dict[str, dict[str, Any]]:
    """Evaluate a weights file on the validation split.

    Writes a plot of each protocol beside the weights.

    Returns
    -------
    dict
        By name in the metadata, then by protocol: figures of the datasets that all generations
        of the model were validated on, and of the others.
    """
    files = find_labelled_files(data, data, "val")
    metrics: dict[str, dict[str, Any]] = {"metrics": {}, "metrics_of_new_datasets": {}}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, spawn, torch.set_num_threads, (1,)) as pool:
        for name, protocol in PROTOCOLS.items():
            scores = pool.map(partial(_score_file, path, protocol), files)
            images = [image for group in tqdm(scores, name, len(files)) for image in group]
            write_png(
                path.with_name(f"{name}.png"),
                draw_plot(summarise("tiny", protocol, images), images),
            )
            for group, figures in metrics.items():
                is_new = group != "metrics"
                chosen = [i for i in images if (i.dataset not in FIRST_DATASETS) is is_new]
                figures[name] = summarise("tiny", protocol, chosen)
                print(format_table(figures[name]), flush=True)
                del figures[name]["per_image"]
    return metrics


def measure_samples(model: PromptableModel) -> dict[str, dict[str, float]]:
    """Measure some objects of the bundled samples, so few that a test measures them again.

    Returns
    -------
    dict
        By sample, then by protocol: mean IoU after all corrections.
    """
    figures: dict[str, dict[str, float]] = {}
    for sample in WITH_PROMPTS:
        image, labels = read_image(sample_path(sample)), sample_labels(sample)
        few = np.where(labels <= OBJECTS_OF_A_SAMPLE, labels, 0)
        figures[sample] = {}
        for name, protocol in PROTOCOLS.items():
            scores = evaluate_plane(model, image, few, protocol)
            figures[sample][name] = float(np.mean([score.ious[-1] for score in scores]))
    return figures


def _score_file(path: Path, protocol: Protocol, file: LabelledFile) -> list[ImageScore]:
    """Evaluate one file in a process of the pool."""
    return list(evaluate_files(load_model(path, device="cpu"), [file], protocol))
