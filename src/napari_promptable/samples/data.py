"""Bundled sample images with expert labels, and prompts for the demo.

Sources and licences are in ``assets/samples/README.md``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.files.images import read_image
from napari_promptable.files.prompts_json import PromptDocument, read_prompts
from napari_promptable.transforms import contrast_limits_of

SAMPLES = {
    "fluorescence_nuclei": ("Fluorescence nuclei", "CC0-1.0", "BBBC038 (dsb2018)"),
    "phase_contrast_cells": ("Phase contrast cells", "MIT", "Usiigaci"),
    "nuclear_envelopes": ("Nuclear envelopes", "CC-BY-4.0", "NEUBIAS training resources"),
    "nuclei_stack": ("Nuclei stack", "MIT", "PlantSeg"),
    "axons": ("Axons", "MIT", "AxonDeepSeg SEM"),
}
"""Title, licence and source of each sample, by name."""

WITH_PROMPTS = ("fluorescence_nuclei", "phase_contrast_cells")
"""Samples that have prompts."""

_FOLDER = Path(__file__).parents[1] / "assets" / "samples"

LayerData = tuple[npt.NDArray[np.generic], dict[str, Any], str]


def sample_path(name: str) -> Path:
    """Path of a sample's image, a TIFF."""
    return _FOLDER / f"{name}.tif"


def sample_labels(name: str) -> npt.NDArray[np.uint16]:
    """Read the expert labels of a sample.

    Parameters
    ----------
    name : str
        A key of `SAMPLES`.

    Returns
    -------
    ndarray of uint16, shape of the image
        0 background, objects 1 to n.
    """
    labels: npt.NDArray[np.uint16] = np.asarray(read_image(_FOLDER / f"{name}.labels.tif"))
    return labels


def sample_prompts(name: str) -> PromptDocument:
    """Read a sample's prompts. Object ids are the ids in its labels."""
    return read_prompts(_FOLDER / f"{name}.prompts.json")


def load_fluorescence_nuclei() -> list[LayerData]:
    """Nuclei in fluorescence, (360, 360) uint8, as napari layer data."""
    return _load("fluorescence_nuclei")


def load_phase_contrast_cells() -> list[LayerData]:
    """Adherent cells in phase contrast, (511, 512) uint8, as napari layer data."""
    return _load("phase_contrast_cells")


def load_nuclear_envelopes() -> list[LayerData]:
    """Nuclei in a fly embryo, (10, 224, 305) uint8 in ZYX, as napari layer data."""
    return _load("nuclear_envelopes")


def load_nuclei_stack() -> list[LayerData]:
    """Nuclei of a plant ovule, (100, 100, 100) uint8 in ZYX, as napari layer data."""
    return _load("nuclei_stack")


def load_axons() -> list[LayerData]:
    """Axons inside their myelin, (386, 411) uint8, as napari layer data."""
    return _load("axons")


def _load(name: str) -> list[LayerData]:
    title, licence, source = SAMPLES[name]
    image = np.asarray(read_image(sample_path(name)))
    options = {
        "name": title,
        "contrast_limits": contrast_limits_of(image),  # the nuclei would be almost black
        "axis_labels": tuple("zyx"[-image.ndim :]),
        "metadata": {"licence": licence, "source": source},
    }
    return [(image, options, "image")]
