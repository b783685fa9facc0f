"""Load a model: find its weights, choose a device, prepare the network for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
import xxhash

from napari_promptable.errors import CheckpointError, DeviceError, UnknownModelError
from napari_promptable.models.cpu.parallel import let_waiting_threads_sleep
from napari_promptable.models.cpu.prepare import prepare_for_inference
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.weights.checkpoints import fetch_checkpoint
from napari_promptable.weights.loading import (
    detect_architecture,
    load_checkpoint,
    read_state_dict,
)
from napari_promptable.weights.registry import MODELS, get_model_spec

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Precisions that `load_model` takes."""


def load_model(
    name_or_path: str | Path,
    *,
    architecture: str | None = None,
    device: str = "auto",
    precision: str = "float32",
) -> PromptableModel:
    """Load a model by registry name, or from a weights file.

    Parameters
    ----------
    name_or_path : str or Path
        A name of `napari_promptable.MODELS`, downloaded where it is not on disk, or the path of
        a weights file.
    architecture : str, optional
        Network of a weights file; found from its tensors by default.
    device : str, default "auto"
        "auto" (a GPU if there is one), or a torch device such as "cpu", "cuda:1" or "mps".
    precision : str, default "float32"
        "float32", or "bfloat16" for products of half the precision: faster on GPUs and on CPUs
        with AMX, slower on others; masks change a little.

    Returns
    -------
    PromptableModel
        Ready to encode.

    Raises
    ------
    UnknownModelError
        If there is neither such a name nor such a file.
    CheckpointError
        If the weights cannot be fetched, or the file does not hold them.
    DeviceError
        If the device does not exist here, or there is no such precision.
    """
    if precision not in PRECISIONS:
        raise DeviceError(
            f"precision {precision!r} is unknown; choose one of {', '.join(PRECISIONS)}"
        )
    path, name, architecture = _locate_weights(name_or_path, architecture)
    torch_device = choose_device(device)
    sam = load_checkpoint(path, architecture).to(torch_device)
    model_id = f"{architecture}-{_hash_file(path)}"
    if precision != "float32":
        sam.precision = PRECISIONS[precision]
        model_id += f"-{precision}"
    elif torch_device.type == "cpu":
        prepare_for_inference(sam)
    if torch_device.type == "cpu":
        let_waiting_threads_sleep()
    return PromptableModel(
        name, architecture, model_id, sam, partial(read_state_dict, path, mmap=True)
    )


def _locate_weights(
    name_or_path: str | Path, architecture: str | None
) -> tuple[Path, str, str]:
    """Find file, name and architecture of a model."""
    if str(name_or_path) in MODELS:
        spec = get_model_spec(str(name_or_path))
        if architecture not in (None, spec.architecture):
            raise UnknownModelError(
                f"model {spec.name} is a {spec.architecture}, not a {architecture}; leave the "
                "architecture out, or give the path of your own weights file"
            )
        return fetch_checkpoint(spec.name), spec.name, spec.architecture
    path = Path(name_or_path)
    if not path.is_file():
        if path.suffix:
            raise CheckpointError(f"no weights file at {path}; check the path")
        get_model_spec(str(name_or_path))
    if architecture is None:
        architecture = detect_architecture(read_state_dict(path, mmap=True))
    if architecture is None:
        raise UnknownModelError(
            f"{path} holds none of the known networks; name one with architecture=…"
        )
    return path, path.name, architecture


def _hash_file(path: Path) -> str:
    """xxh128 of a file's bytes."""
    digest = xxhash.xxh128()
    with open(path, "rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def choose_device(device: str = "auto") -> torch.device:
    """Choose a torch device by name.

    Parameters
    ----------
    device : str, default "auto"
        "auto" takes CUDA, then Apple's MPS, then the CPU.

    Returns
    -------
    torch.device
        One that works here.

    Raises
    ------
    DeviceError
        If the name is unknown or the device is not available.
    """
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if device == "auto":
        return torch.device(available[0])
    try:
        chosen = torch.device(device)
        is_available = chosen.type in available and (
            chosen.type != "cuda" or (chosen.index or 0) < torch.cuda.device_count()
        )
    except RuntimeError:
        is_available = False
    if not is_available:
        raise DeviceError(
            f"device {device!r} is not available here; choose auto or one of "
            f"{', '.join(available)}"
        )
    return chosen
