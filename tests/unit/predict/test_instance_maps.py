import numpy as np
import pytest
import torch

from napari_promptable.errors import UnknownModelError
from napari_promptable.models.architectures import build_sam
from napari_promptable.models.sam import Sam
from napari_promptable.predict.encoding import encode_pixels
from napari_promptable.predict.instance_maps import predict_diameters, predict_instance_maps

SIZE = (300, 261)


@pytest.fixture(scope="module")
def sam() -> Sam:
    """Second generation of the bundled model with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_sam("conv_tiny_2").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def features(sam: Sam) -> np.ndarray:
    """Embedding of a noisy image."""
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    return encode_pixels(sam, pixels)


def test_maps_cover_the_frame_at_half_resolution(sam: Sam, features: np.ndarray) -> None:
    maps = predict_instance_maps(sam, features, SIZE)
    assert maps.shape == (4, 150, 131)
    assert maps.dtype == np.float32
    assert (maps[:2] >= 0).all() and (maps[:2] <= 1).all()


def test_diameters_cover_the_frame_in_cells(sam: Sam, features: np.ndarray) -> None:
    diameters = predict_diameters(sam, features, SIZE)
    assert diameters.shape == (38, 33)
    assert (diameters > 0).all()


def test_networks_without_the_heads_are_refused(features: np.ndarray) -> None:
    first_generation = build_sam("conv_tiny")
    with pytest.raises(UnknownModelError, match="no instance head"):
        predict_instance_maps(first_generation, features, SIZE)
    first_generation.size_head = None
    with pytest.raises(UnknownModelError, match="no size head"):
        predict_diameters(first_generation, features, SIZE)
