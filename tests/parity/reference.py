"""The reference packages, imported without torchvision and timm; random weights for them."""

import importlib
import sys
from types import ModuleType

import PIL.Image
import pytest
import torch
from torch import nn


def import_reference(name: str) -> ModuleType:
    """Import a reference package; stubs stand in for torchvision and timm meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for stub in _build_stubs():
            patch.setitem(sys.modules, stub.__name__, stub)
        return importlib.import_module(name)


def _build_stubs() -> list[ModuleType]:
    """The few functions of torchvision and timm that the reference packages import."""

    def resize(image: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
        return image.resize((size[1], size[0]), PIL.Image.Resampling.BILINEAR)

    def refuse(*_: object) -> None:
        raise NotImplementedError("the parity tests do not need this function")

    return [
        build_stub("torchvision"),
        build_stub("torchvision.ops"),
        build_stub("torchvision.ops.boxes", batched_nms=refuse, box_area=refuse),
        build_stub("torchvision.transforms"),
        build_stub(
            "torchvision.transforms.functional",
            resize=resize,
            to_pil_image=PIL.Image.fromarray,
        ),
        build_stub("timm"),
        build_stub("timm.models"),
        build_stub(
            "timm.models.layers",
            DropPath=nn.Identity,  # its rate is zero in MobileSAM
            to_2tuple=lambda n: (n, n),
            trunc_normal_=nn.init.trunc_normal_,
        ),
        build_stub("timm.models.registry", register_model=lambda build: build),
    ]


def build_stub(name: str, **attributes: object) -> ModuleType:
    """A module that holds some attributes."""
    module = ModuleType(name)
    vars(module).update(attributes)
    return module


_POSITION_TABLES = (
    "rel_pos_h",
    "rel_pos_w",
    "pos_embed",
    "pos_embed_window",
    "attention_biases",
)


def randomize(model: nn.Module, seed: int = 0) -> None:
    """Fill a model such that every weight matters and no activation runs away.

    New reference models would hide mistakes: their position tables and some batch norms are
    zero, and their attention is nearly uniform.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor: torch.Tensor, scale: float, mean: float = 0.0) -> None:
        tensor.copy_(mean + scale * torch.randn(tensor.shape, generator=generator))

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(_POSITION_TABLES):
                normal(parameter, 0.3)
            elif parameter.ndim == 1:
                normal(parameter, 0.1, mean=1.0 if name.endswith("weight") else 0.0)
            elif "embed" not in name.split(".")[-2:][0] and "token" not in name:
                fan_in = parameter[0].numel()
                normal(parameter, fan_in**-0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                normal(buffer, 0.1)
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
