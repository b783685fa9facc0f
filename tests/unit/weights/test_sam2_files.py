"""Weights of SAM 2.1 as published, and files that are something else."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from napari_promptable.errors import CheckpointError
from napari_promptable.models.architectures import build_sam
from napari_promptable.weights.loading import (
    detect_architecture,
    load_checkpoint,
    read_state_dict,
)
from napari_promptable.weights.sam2_names import to_our_names

StateDict = dict[str, Tensor]


def to_published_name(name: str) -> str:
    """How the authors call one of our tensors."""
    name = re.sub(r"\.mlp\.lin([12])\.", lambda m: f".mlp.layers.{int(m[1]) - 1}.", name)
    return re.sub(r"^(prompt_encoder|mask_decoder)\.", r"sam_\1.", name)


@pytest.fixture(scope="module")
def published() -> StateDict:
    """Random weights of the tiny size under the authors' names."""
    torch.manual_seed(0)
    weights = build_sam("hiera_tiny").state_dict()
    return {to_published_name(name): tensor for name, tensor in weights.items()}


@pytest.fixture
def save(tmp_path: Path) -> Callable[[StateDict], Path]:
    """Function that writes weights as the authors do, under "model"."""

    def write(weights: StateDict) -> Path:
        path = tmp_path / "sam2.1_hiera_tiny.pt"
        torch.save({"model": weights}, path)
        return path

    return write


def test_a_published_file_is_detected_and_loaded(
    published: StateDict, save: Callable[[StateDict], Path]
) -> None:
    path = save(published)
    assert detect_architecture(read_state_dict(path, mmap=True)) == "hiera_tiny"
    model = load_checkpoint(path, "hiera_tiny")
    expected = to_our_names(published)
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(model.state_dict()[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    "name", ["no_mem_embed", "memory_attention.norm.weight", "sam_mask_decoder.conv_s0.bias"]
)
def test_a_missing_tensor_is_named(
    name: str, published: StateDict, save: Callable[[StateDict], Path]
) -> None:
    path = save({other: tensor for other, tensor in published.items() if other != name})
    ours = name.removeprefix("sam_")
    with pytest.raises(CheckpointError, match=f"does not fit 'hiera_tiny'.*{ours} missing"):
        load_checkpoint(path, "hiera_tiny")


def test_weights_of_sam_2_0_are_refused_in_one_sentence(
    published: StateDict, save: Callable[[StateDict], Path]
) -> None:
    since_2_1 = ("no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias")
    path = save({name: tensor for name, tensor in published.items() if name not in since_2_1})
    with pytest.raises(CheckpointError, match=r"SAM 2\.0, but SAM 2\.1 is needed"):
        load_checkpoint(path, "hiera_tiny")


def test_a_truncated_file_is_refused(
    published: StateDict, save: Callable[[StateDict], Path]
) -> None:
    path = save(published)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="Download it again"):
        load_checkpoint(path, "hiera_tiny")


def test_another_size_is_refused_by_name(
    published: StateDict, save: Callable[[StateDict], Path]
) -> None:
    with pytest.raises(CheckpointError, match="'hiera_tiny', but 'hiera_small'"):
        load_checkpoint(save(published), "hiera_small")
