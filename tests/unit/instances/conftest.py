"""Fixtures for automatic segmentation.

``maps_model``
    Random weights in the architecture that has instance maps.
``make_found``
    A rectangle that the model is so sure of.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from napari_promptable.instances.found import FoundObject
from napari_promptable.masks import PackedMask
from napari_promptable.models.architectures import build_sam
from napari_promptable.predict.predictor import PromptableModel

SHAPE = (40, 50)


@pytest.fixture(scope="session")
def maps_model() -> PromptableModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sam = build_sam("conv_tiny_2").eval().requires_grad_(False)
    return PromptableModel("random", "conv_tiny_2", "conv_tiny_2-random", sam)


@pytest.fixture
def make_found() -> Callable[..., FoundObject]:
    def make(top, left, bottom, right, predicted_iou=0.9, **values) -> FoundObject:
        crop = np.ones((bottom - top, right - left), bool)
        mask = PackedMask.pack_crop(crop, (top, left), SHAPE)
        return FoundObject(mask, crop.size, predicted_iou, **values)

    return make
