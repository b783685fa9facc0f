import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from napari_promptable.errors import CheckpointError, UnknownModelError
from napari_promptable.models.architectures import ARCHITECTURES, build_sam
from napari_promptable.weights.loading import (
    detect_architecture,
    load_checkpoint,
    read_state_dict,
)

StateDict = dict[str, Tensor]


@pytest.fixture(scope="module")
def state_dict() -> StateDict:
    """Random weights of ``vit_t``."""
    torch.manual_seed(0)
    return build_sam("vit_t").state_dict()


@pytest.fixture(scope="module")
def checkpoint(state_dict: StateDict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of these weights as MobileSAM publishes them."""
    path = tmp_path_factory.mktemp("checkpoint") / "mobile_sam.pt"
    torch.save(state_dict, path)
    return path


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Factory of files with any content."""

    def make(content: object, name: str = "weights.pth") -> Path:
        path = tmp_path / name
        if path.suffix == ".safetensors":
            safetensors.torch.save_file(content, path)
        else:
            torch.save(content, path)
        return path

    return make


class Command:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def assert_equal(found: StateDict, expected: StateDict) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_a_loaded_model_has_the_weights_and_is_ready(
    checkpoint: Path, state_dict: StateDict
) -> None:
    model = load_checkpoint(checkpoint, "vit_t")
    assert_equal(model.state_dict(), state_dict)
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert {tensor.device.type for tensor in (*model.parameters(), *model.buffers())} == {"cpu"}


@pytest.mark.parametrize("architecture", ["conv_tiny", "conv_tiny_2", "vit_t"])
def test_a_loaded_model_computes_what_the_saved_one_did(
    architecture: str, make_checkpoint: Callable
) -> None:
    original = build_sam(architecture).eval()
    model = load_checkpoint(make_checkpoint(original.state_dict()), architecture)
    image = 255 * torch.rand(1, 3, 96, 64)
    prompt = (torch.tensor([[[40.0, 30.0]]]), torch.tensor([[1]]))
    with torch.inference_mode():
        normalized = (image - model.pixel_mean) / model.pixel_std
        embedding = original.image_encoder(normalized)
        assert torch.equal(model.image_encoder(normalized), embedding)
        torch.testing.assert_close(
            model.decode(embedding, *prompt), original.decode(embedding, *prompt)
        )


def test_the_path_may_be_a_string(checkpoint: Path) -> None:
    assert load_checkpoint(str(checkpoint), "vit_t").image_size == 1024


@pytest.mark.parametrize("level", ["model_state", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "sam."])
def test_weights_of_training_programs_are_found(
    level: str, prefix: str, state_dict: StateDict, make_checkpoint: Callable
) -> None:
    named = {prefix + name: tensor for name, tensor in state_dict.items()}
    content = {level: named, "decoder_state": {"conv.weight": torch.ones(3)}, "epoch": 4}
    model = load_checkpoint(make_checkpoint(content), "vit_t")
    assert_equal(model.state_dict(), state_dict)


def test_the_prefix_of_micro_sam_is_dropped(
    state_dict: StateDict, make_checkpoint: Callable
) -> None:
    path = make_checkpoint({f"sam.{name}": tensor for name, tensor in state_dict.items()})
    assert_equal(read_state_dict(path), state_dict)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_safetensors_become_float32(
    dtype: torch.dtype, state_dict: StateDict, make_checkpoint: Callable
) -> None:
    stored = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in state_dict.items()
    }
    model = load_checkpoint(make_checkpoint(stored, "weights.safetensors"), "vit_t")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    rounded = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in stored.items()
    }
    assert_equal(model.state_dict(), rounded)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_is_detected(architecture: str) -> None:
    with torch.device("meta"):
        model = build_sam(architecture)
    assert detect_architecture(model.state_dict()) == architecture


def test_other_weights_are_no_architecture() -> None:
    assert detect_architecture({}) is None
    assert detect_architecture({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 384)}) is None


def test_a_wrong_architecture_is_named(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"mobile_sam\.pt.*'vit_t'.*'vit_b'"):
        load_checkpoint(checkpoint, "vit_b")


def test_an_unknown_architecture_is_refused(checkpoint: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"'vit_x'.*vit_b"):
        load_checkpoint(checkpoint, "vit_x")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_missing_file_is_named(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no weights file .*weights\..*Download"):
        load_checkpoint(tmp_path / f"weights{suffix}", "vit_t")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no weights file"):
        load_checkpoint(tmp_path, "vit_t")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(
    suffix: str, kept: float, make_checkpoint: Callable, tmp_path: Path
) -> None:
    content = make_checkpoint({"a": torch.randn(100, 100)}, f"whole{suffix}").read_bytes()
    path = tmp_path / f"part{suffix}"
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(CheckpointError, match=r"part\..* not a complete .*Download it again"):
        load_checkpoint(path, "vit_t")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_something_else_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"page{suffix}"
    path.write_text("<!DOCTYPE html><html>404</html>" * 50)
    with pytest.raises(CheckpointError, match="not a complete"):
        load_checkpoint(path, "vit_t")


def test_an_archive_of_something_else_is_refused(
    make_checkpoint: Callable, tmp_path: Path
) -> None:
    content = make_checkpoint({"a": torch.zeros(3)}).read_bytes()
    path = tmp_path / "renamed.pth"
    path.write_bytes(content.replace(b"data.pkl", b"data.txt"))
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path, "vit_t")


def test_code_in_a_file_is_not_run(
    state_dict: StateDict, make_checkpoint: Callable, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    path = make_checkpoint({**state_dict, "extra": Command(trap)})
    with pytest.raises(CheckpointError, match=r"weights\.pth was not read.*code"):
        load_checkpoint(path, "vit_t")
    assert not trap.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_code_in_a_bare_pickle_is_not_run(suffix: str, tmp_path: Path) -> None:
    trap, path = tmp_path / "trap", tmp_path / f"weights{suffix}"
    path.write_bytes(pickle.dumps(Command(trap)))
    with pytest.raises(CheckpointError):
        load_checkpoint(path, "vit_t")
    assert not trap.exists()


@pytest.mark.parametrize(
    "content", [[1, 2], torch.zeros(3), {"a": "text"}, {1: torch.zeros(3)}, {"model": 5}]
)
def test_a_file_without_state_dict_is_refused(
    content: object, make_checkpoint: Callable
) -> None:
    with pytest.raises(CheckpointError, match=r"holds no state dict.*model_state"):
        load_checkpoint(make_checkpoint(content), "vit_t")


def test_missing_weights_are_named(state_dict: StateDict, make_checkpoint: Callable) -> None:
    name = "mask_decoder.iou_token.weight"
    rest = {other: tensor for other, tensor in state_dict.items() if other != name}
    with pytest.raises(CheckpointError, match=rf"weights\.pth.*'vit_t'.*{name} missing"):
        load_checkpoint(make_checkpoint(rest), "vit_t")


def test_unknown_weights_are_named(state_dict: StateDict, make_checkpoint: Callable) -> None:
    more = {**state_dict, "decoder.out.weight": torch.zeros(3)}
    with pytest.raises(CheckpointError, match=r"decoder\.out\.weight unknown"):
        load_checkpoint(make_checkpoint(more), "vit_t")


def test_wrong_shapes_are_named(state_dict: StateDict, make_checkpoint: Callable) -> None:
    name = "mask_decoder.mask_tokens.weight"
    changed = {**state_dict, name: torch.zeros(3, 256)}
    with pytest.raises(CheckpointError, match=r"\(3, 256\) instead of \(4, 256\)"):
        load_checkpoint(make_checkpoint(changed), "vit_t")


def test_a_message_about_many_weights_stays_short(make_checkpoint: Callable) -> None:
    with pytest.raises(CheckpointError, match=r"and \d{3} more missing") as caught:
        load_checkpoint(make_checkpoint({"a": torch.zeros(3)}), "vit_t")
    assert len(str(caught.value)) < 600
