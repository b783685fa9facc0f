"""Models in words, for the list in the widget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_promptable.weights.checkpoints import checkpoint_folder, is_downloaded
from napari_promptable.weights.registry import MODELS, ModelSpec


def model_choices(own_files: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Name what can be chosen: (text, registry name or path), bundled models first."""
    registered = [(f"{name} · {_where(spec)}", name) for name, spec in MODELS.items()]
    return registered + [(f"{Path(path).name} · own file", path) for path in own_files]


def is_bundled(name_or_path: str) -> bool:
    """Whether a model comes with the package."""
    return name_or_path in MODELS and MODELS[name_or_path].is_bundled


def _where(spec: ModelSpec) -> str:
    """Whether a model is here, or what fetching it means."""
    if spec.is_bundled:
        return "bundled"
    if is_downloaded(spec.name):
        return "on disk"
    return "download" if spec.size_bytes is None else f"download {_size(spec.size_bytes)}"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"


def describe_model(name_or_path: str) -> str:
    """Say what a model is good for, where it comes from and where it lies."""
    if name_or_path not in MODELS:
        return f"Your own weights file: {name_or_path}"
    spec = MODELS[name_or_path]
    place = "comes with the plugin" if spec.is_bundled else f"is kept in {checkpoint_folder()}"
    return (
        f"{spec.name} ({spec.architecture}): {spec.description} It {place}. "
        f"Licence: {spec.licence}. Citation: {spec.citation}"
    )
