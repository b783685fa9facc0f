"""Writing the bundled weights, with where they come from and what they reach as metadata."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
from tqdm import tqdm

from napari_promptable.evaluate import Protocol, evaluate_files
from napari_promptable.evaluation_report import format_table, summarise
from napari_promptable.labelled_images import find_labelled_files
from napari_promptable.models.sam import Sam
from napari_promptable.predictor import load_model
from training.dataset import manifest_sha256

PROTOCOLS = {
    "box": Protocol("box"),
    "jittered box": Protocol("box", box_jitter=0.1),
    "point": Protocol("point", corrections=3),
}


def write_weights(model: Sam, path: Path, config: dict[str, Any], data: Path) -> None:
    """Write weights in half precision, then measure what was written and add the figures.

    Parameters
    ----------
    model : Sam
        Trained.
    path : Path
        Of the safetensors file.
    config : dict
        Settings of the run.
    data : Path
        Folder with the manifest; its split "val" is measured.
    """
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    metadata = {
        "architecture": "conv_tiny",
        "config": json.dumps(config),
        "git_revision": revision,
        "data_manifest_sha256": manifest_sha256(data),
    }
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in model.state_dict().items()
    }
    safetensors.torch.save_file(tensors, path, metadata)
    metadata["metrics"] = json.dumps(dict(measure(path, data)))
    safetensors.torch.save_file(tensors, path, metadata)


def measure(path: Path, data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Evaluate a weights file on the validation split; yields figures by protocol."""
    model, files = load_model(path, device="cpu"), find_labelled_files(data, data, "val")
    for name, protocol in PROTOCOLS.items():
        images = list(evaluate_files(model, files, protocol, tqdm))
        summary = summarise("tiny", protocol, images)
        print(format_table(summary), flush=True)
        del summary["per_image"]
        yield name, summary
