"""Read weights files safely and make models of them.

Only tensors are read: a file that would run code is refused, whatever its source.
"""

import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from napari_promptable.errors import CheckpointError
from napari_promptable.models.architectures import build_sam
from napari_promptable.models.sam import Sam
from napari_promptable.weights.sam2_names import is_sam_2_0, to_our_names

_LEVELS = ("model_state", "state_dict", "model")
"""Where training programs put the state dict, next to optimizers and the like."""

_PREFIX = "sam."
"""What micro-sam's trainer puts in front of each name."""

_SIGNATURES = {
    "vit_b": ("image_encoder.pos_embed", (1, 64, 64, 768)),
    "vit_l": ("image_encoder.pos_embed", (1, 64, 64, 1024)),
    "vit_h": ("image_encoder.pos_embed", (1, 64, 64, 1280)),
    "vit_t": ("image_encoder.patch_embed.seq.0.c.weight", (32, 3, 3, 3)),
    "conv_tiny_2": ("instance_head.layers.0.weight", (128, 1, 3, 3)),
    "conv_tiny": ("image_encoder.stem.0.weight", (24, 3, 3, 3)),
    "hiera_tiny": ("image_encoder.trunk.blocks.11.norm2.weight", (768,)),
    "hiera_small": ("image_encoder.trunk.blocks.15.norm2.weight", (768,)),
    "hiera_base_plus": ("image_encoder.trunk.patch_embed.proj.weight", (112, 3, 7, 7)),
    "hiera_large": ("image_encoder.trunk.patch_embed.proj.weight", (144, 3, 7, 7)),
}
"""A tensor that identifies each architecture. The first match counts: "conv_tiny_2" has all
tensors of "conv_tiny"."""

_DAMAGE_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)
"""What `torch.load` was seen to raise for files with wrong bytes in them."""

_NAMES_SHOWN = 3  # of tensors that do not fit, in an error message


def load_checkpoint(path: str | Path, architecture: str) -> Sam:
    """Make a model of a weights file.

    Parameters
    ----------
    path : str or Path
        A file of SAM, MobileSAM, SAM 2.1 or micro-sam (.pt, .pth), or .safetensors.
    architecture : str
        One of `ARCHITECTURES`.

    Returns
    -------
    Sam
        For inference: in evaluation mode, on the CPU, in float32, without gradients.

    Raises
    ------
    UnknownModelError
        If there is no such architecture.
    CheckpointError
        If the file is missing, damaged or unsafe, or holds another architecture.
    """
    path = Path(path)
    model = _build_without_weights(architecture)
    state_dict = read_state_dict(path)
    detected = detect_architecture(state_dict)
    if detected is not None and detected != architecture:
        raise CheckpointError(
            f"{path} holds weights for {detected!r}, but {architecture!r} was asked for. "
            f"Choose {detected!r}, or another file."
        )
    _check_fit(path, architecture, expected=model.state_dict(), found=state_dict)
    model.load_state_dict(state_dict, assign=True)
    return model.eval().requires_grad_(False)


def build_from_weights(
    architecture: str, weights: Mapping[str, Tensor], image_encoder: nn.Module | None = None
) -> Sam:
    """Make a model of weights in memory.

    Parameters
    ----------
    architecture : str
        One of `ARCHITECTURES`.
    weights : mapping of str to Tensor
        All weights, or all but the image encoder's; the model uses these tensors themselves.
    image_encoder : torch.nn.Module, optional
        Used instead of the image encoder in the weights.

    Returns
    -------
    Sam
        As `load_checkpoint`.
    """
    model = _build_without_weights(architecture)
    if image_encoder is not None:
        model.image_encoder = nn.Identity()
        weights = {n: w for n, w in weights.items() if not n.startswith("image_encoder.")}
    model.load_state_dict(weights, assign=True)
    if image_encoder is not None:
        model.image_encoder = image_encoder
    return model.eval().requires_grad_(False)


def _build_without_weights(architecture: str) -> Sam:
    """Build a model on the "meta" device, for weights that replace all of its own."""
    with torch.device("meta"), _NoInitialValues():
        return build_sam(architecture)


class _NoInitialValues(TorchFunctionMode):
    """Leaves out the functions of torch.nn.init.

    They have nothing to do on the "meta" device, but normal_ makes torch import its compiler
    there, which takes a second and 95 MB.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, or return the tensor that it was to fill."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"]
        return func(*args, **kwargs)


def detect_architecture(state_dict: Mapping[str, Tensor]) -> str | None:
    """Tell which architecture weights belong to.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        Weights as `read_state_dict` returns them.

    Returns
    -------
    str or None
        One of `ARCHITECTURES`; None if the weights look like none of them.
    """
    for architecture, (name, shape) in _SIGNATURES.items():
        if name in state_dict and state_dict[name].shape == shape:
            return architecture
    return None


def read_state_dict(path: str | Path, mmap: bool = False) -> dict[str, Tensor]:
    """Read the weights of a model.

    Parameters
    ----------
    path : str or Path
        A file as `load_checkpoint` takes.
    mmap : bool, default False
        Leave the content of a file of torch on disk until it is used. That is for a look at
        it: layers that are packed would be held twice, by their memory and by the file's.

    Returns
    -------
    dict of str to Tensor
        Weights by SAM's names, on the CPU; floats are float32.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged or unsafe, or holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"There is no weights file {path}. Download it there, or choose another file."
        )
    if path.suffix == ".safetensors":
        content = _read_safetensors(path)
    else:
        content = _read_torch_file(path, mmap)
    return _to_state_dict(path, content)


def _read_safetensors(path: Path) -> object:
    """Read a .safetensors file."""
    try:
        return safetensors.torch.load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"{path} is not a complete safetensors file ({error}). Download it again."
        ) from error


def _read_torch_file(path: Path, mmap: bool) -> object:
    """Read what `torch.save` wrote, which is a zip archive around a pickle."""
    try:
        is_archive = zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        is_archive = False
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}). Check its permissions."
        ) from error
    if not is_archive:
        raise CheckpointError(
            f"{path} is not a complete PyTorch weights file: torch.save writes a zip archive, "
            "and this is none, or only the start of one. Download it again."
        )
    try:
        return torch.load(path, map_location="cpu", mmap=mmap, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} was not read: it is damaged, or holds more than tensors, which could run "
            "code. Download it again, or save its state dict alone."
        ) from error
    except _DAMAGE_ERRORS as error:
        raise CheckpointError(
            f"{path} is a damaged PyTorch weights file. Download it again."
        ) from error


def _to_state_dict(path: Path, content: object) -> dict[str, Tensor]:
    """Find the state dict in a file's content. Bring names and types to ours."""
    if isinstance(content, Mapping):
        for level in _LEVELS:
            if isinstance(content.get(level), Mapping):
                content = content[level]
                break
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise CheckpointError(
            f"{path} holds no state dict: a mapping of names to tensors was expected, at the "
            f"top or under one of {', '.join(_LEVELS)}. Save model.state_dict()."
        )
    weights = to_our_names(
        {
            name.removeprefix(_PREFIX): tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in content.items()
        }
    )
    if is_sam_2_0(weights):
        raise CheckpointError(
            f"{path} holds weights of SAM 2.0, but SAM 2.1 is needed. Download the file whose "
            "name begins with sam2.1_hiera."
        )
    return weights


def _check_fit(
    path: Path, architecture: str, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> None:
    """Refuse weights whose names or shapes are not the model's."""
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    reshaped = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected
        if name in found and found[name].shape != expected[name].shape
    ]
    faults = (("missing", missing), ("unknown", extra), ("of another shape", reshaped))
    found_faults = [f"{_shorten(names)} {fault}" for fault, names in faults if names]
    if found_faults:
        raise CheckpointError(
            f"{path} does not fit {architecture!r}, which has {len(expected)} tensors: "
            f"{'; '.join(found_faults)}. Choose the file that belongs to {architecture!r}."
        )


def _shorten(names: list[str]) -> str:
    """The first few names and how many more there are."""
    text = ", ".join(names[:_NAMES_SHOWN])
    rest = len(names) - _NAMES_SHOWN
    return f"{text} and {rest} more" if rest > 0 else text
