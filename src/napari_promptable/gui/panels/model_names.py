"""Models in words, for the list in the widget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_promptable.weights.checkpoints import checkpoint_folder, is_downloaded
from napari_promptable.weights.metadata import read_metadata
from napari_promptable.weights.registry import MODELS, ModelSpec

_NETWORKS = {
    "vit_t": "ViT-T",
    "vit_b": "ViT-B",
    "vit_l": "ViT-L",
    "vit_h": "ViT-H",
    "hiera_tiny": "SAM 2.1 tiny",
    "hiera_small": "SAM 2.1 small",
    "hiera_base_plus": "SAM 2.1 base+",
    "hiera_large": "SAM 2.1 large",
}


def model_choices(own_files: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Name what can be chosen: (text, registry name or path), bundled models first."""
    registered = [(_describe_choice(spec), name) for name, spec in MODELS.items()]
    return registered + [(_describe_own(path), path) for path in own_files]


def name_model(name_or_path: str) -> str:
    """Name a model by subject and network, such as "Light microscopy · ViT-B"."""
    if name_or_path not in MODELS:
        return read_metadata(name_or_path).get("name") or Path(name_or_path).name
    spec = MODELS[name_or_path]
    if spec.is_bundled or not spec.subject:
        return spec.name
    return f"{spec.subject} · {_NETWORKS[spec.architecture]}"


def _describe_own(path: str) -> str:
    """Name a learned model after its objects, and any other file after itself."""
    name = name_model(path)
    return name if name != Path(path).name else f"{name} · own file"


def is_bundled(name_or_path: str) -> bool:
    """Whether a model comes with the package."""
    return name_or_path in MODELS and MODELS[name_or_path].is_bundled


def needs_download(name_or_path: str) -> bool:
    """Whether choosing a model means downloading its weights."""
    return name_or_path in MODELS and not is_downloaded(name_or_path)


def _describe_choice(spec: ModelSpec) -> str:
    name = name_model(spec.name)
    if spec.is_bundled:
        return f"{name} · bundled"
    place = "on disk" if is_downloaded(spec.name) else "download"
    return f"{name} · {describe_size(spec)} · {place}"


def describe_size(spec: ModelSpec) -> str:
    """Size of a model's weights, with "~" where only networks of the same kind are known."""
    if spec.size_bytes is not None:
        return _format_size(spec.size_bytes)
    alike = (other for other in MODELS.values() if other.architecture == spec.architecture)
    sizes = [other.size_bytes for other in alike if other.size_bytes is not None]
    return f"~{_format_size(sizes[0])}" if sizes else "size unknown"


def _format_size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"


def describe_model(name_or_path: str) -> str:
    """Say what a model is good for, where it is and what its licence is."""
    if name_or_path not in MODELS:
        return f"Your own weights file: {name_or_path}"
    spec = MODELS[name_or_path]
    place = f"Kept in {checkpoint_folder()}."
    if spec.is_bundled:
        place = "Comes with the plugin and works offline."
    elif needs_download(name_or_path):
        place = f"A download of {describe_size(spec)}, kept in {checkpoint_folder()}."
    return f"{spec.name}: {spec.description}. {place} Licence: {spec.licence}."


def citation_of(name_or_path: str) -> str:
    """Publication to cite for a model, empty for the user's own weights."""
    return MODELS[name_or_path].citation if name_or_path in MODELS else ""
