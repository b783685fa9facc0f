"""The authors' SAM 2 (from the package rf-sam-2, which leaves out CUDA extensions), and ours.

The reference is built from its own configuration files. Stubs replace its imports other than
torch: this module reads configurations and weights in place of hydra and iopath, and two
transforms are enough of torchvision.
"""

import functools
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional as F

from napari_promptable.models.sam2.hiera import HieraLayout
from tests.parity.reference import build_stub, randomize

CONFIGURATIONS = {
    "hiera_tiny": "sam2.1_hiera_t.yaml",
    "hiera_small": "sam2.1_hiera_s.yaml",
    "hiera_base_plus": "sam2.1_hiera_b+.yaml",
    "hiera_large": "sam2.1_hiera_l.yaml",
}

SMALL_LAYOUTS = {
    "hiera_tiny": HieraLayout(16, 1, (1, 2, 7, 2), (5, 7, 9)),
    "hiera_small": HieraLayout(16, 1, (1, 2, 11, 2), (7, 10, 13)),
    "hiera_base_plus": HieraLayout(16, 2, (2, 3, 6, 3), (6, 8, 10), background_size=14),
    "hiera_large": HieraLayout(16, 2, (2, 3, 6, 2), (6, 8, 10), (8, 4, 16, 8)),
}
"""Narrow trunks, with the windows and the kinds of blocks of each published size."""

SMALL_SIZE = 256

AS_PUBLISHED = {  # what build_sam2 and build_sam2_video_predictor add to the configuration
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
    "binarize_mask_from_pts_for_mem_enc": True,
}


@functools.cache
def import_sam2() -> ModuleType:
    """Import the reference's modules that the tests use; skip the test without them."""
    with pytest.MonkeyPatch.context() as patch:
        for stub in _build_stubs():
            patch.setitem(sys.modules, stub.__name__, stub)
        try:
            package = importlib.import_module("sam2")
        except ImportError:
            pytest.skip("the reference package rf-sam-2 is not installed")
        for name in (
            "sam2_image_predictor",
            "sam2_video_predictor",
            "modeling.backbones.hieradet",
        ):
            importlib.import_module(f"sam2.{name}")
    return package


def _build_stubs() -> list[ModuleType]:
    """Stubs of the parts of hydra, iopath and torchvision that the reference imports."""
    ready = SimpleNamespace(is_initialized=lambda: True)
    global_hydra = SimpleNamespace(instance=lambda: ready)
    transforms = {kind.__name__: kind for kind in (Normalize, Resize, ToTensor)}
    return [
        build_stub("hydra", initialize_config_module=None),
        build_stub("hydra.core"),
        build_stub("hydra.core.global_hydra", GlobalHydra=global_hydra),
        build_stub("iopath"),
        build_stub("iopath.common"),
        build_stub("iopath.common.file_io", g_pathmgr=None),
        build_stub("torchvision"),
        build_stub("torchvision.transforms", **transforms),
    ]


class ToTensor:
    """torchvision's transform of the same name, for uint8 images."""

    def __call__(self, image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(image).permute(2, 0, 1).float() / 255


class Resize(nn.Module):
    """torchvision's transform of the same name, for tensors."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return F.interpolate(image[None], self.size, mode="bilinear", antialias=True)[0]


class Normalize(nn.Module):
    """torchvision's transform of the same name."""

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.mean = torch.tensor(mean)[:, None, None]
        self.std = torch.tensor(std)[:, None, None]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image - self.mean) / self.std


def build_reference(architecture: str, is_small: bool, seed: int = 0) -> Any:
    """The reference's video predictor, which answers on single images too; random weights."""
    package = import_sam2()
    path = Path(package.__path__[0]) / "configs" / "sam2.1" / CONFIGURATIONS[architecture]
    model = yaml.safe_load(path.read_text())["model"]
    model["_target_"] = "sam2.sam2_video_predictor.SAM2VideoPredictor"
    model |= AS_PUBLISHED
    layer = model["memory_encoder"]["fuser"]["layer"]
    layer["layer_scale_init_value"] = float(layer["layer_scale_init_value"])  # YAML 1.1: text
    if is_small:
        _shrink(model, SMALL_LAYOUTS[architecture])
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # for embeddings and tokens, which stay as they are made
        reference = _instantiate(model)
    randomize(reference, seed)
    _put_objects_in_place(reference)
    return reference.eval().requires_grad_(False)


def _shrink(model: dict[str, Any], layout: HieraLayout) -> None:
    """Make a configuration small."""
    encoder = model["image_encoder"]
    encoder["trunk"] |= {
        "embed_dim": layout.embed_dim,
        "num_heads": layout.num_heads,
        "stages": layout.stages,
        "global_att_blocks": layout.global_blocks,
    }
    encoder["neck"]["backbone_channel_list"] = layout.widths[::-1]
    model["image_size"] = SMALL_SIZE
    grid = [SMALL_SIZE // 16, SMALL_SIZE // 16]
    for kind in ("self_attention", "cross_attention"):
        model["memory_attention"]["layer"][kind]["feat_sizes"] = grid


def _instantiate(configuration: Any) -> Any:
    """Make objects of what names its class, as hydra does."""
    if not isinstance(configuration, Mapping):
        return configuration
    arguments = {key: _instantiate(value) for key, value in configuration.items()}
    target = arguments.pop("_target_", None)
    if target is None:
        return arguments
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)(**arguments)


def _put_objects_in_place(reference: Any) -> None:
    """Give weights that begin at zero their say, and let objects be found as a rule."""
    generator = torch.Generator().manual_seed(1)
    for name in ("no_mem_embed", "no_obj_ptr", "no_obj_embed_spatial", "maskmem_tpos_enc"):
        parameter = getattr(reference, name).data
        parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    reference.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data.fill_(3.0)


def make_image_predictor(reference: Any, side: int) -> Any:
    """The reference's predictor for single images, for inputs of `side` pixels."""
    predictor = import_sam2().sam2_image_predictor.SAM2ImagePredictor(
        reference, disable_torch_jit=True
    )
    predictor._bb_feat_sizes = [(side // stride, side // stride) for stride in (4, 8, 16)]
    return predictor
