"""Names of tensors in the published weights of SAM 2.1, and in our networks."""

import re
from collections.abc import Mapping

from torch import Tensor

_PREFIXES = {"sam_prompt_encoder.": "prompt_encoder.", "sam_mask_decoder.": "mask_decoder."}
_PERCEPTRON = re.compile(r"(mask_decoder\.transformer\.layers\.\d+\.mlp)\.layers\.([01])\.")

_SINCE_2_0 = "image_encoder.trunk.pos_embed_window"
_SINCE_2_1 = "no_obj_embed_spatial"


def to_our_names(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of published SAM 2.1 weights. All other names stay.

    Parameters
    ----------
    state_dict : mapping of str to Tensor
        Weights of any model.

    Returns
    -------
    dict of str to Tensor
        The same tensors.
    """
    return {_to_our_name(name): tensor for name, tensor in state_dict.items()}


def _to_our_name(name: str) -> str:
    for prefix, ours in _PREFIXES.items():
        if name.startswith(prefix):
            name = ours + name.removeprefix(prefix)
    return _PERCEPTRON.sub(lambda match: f"{match[1]}.lin{int(match[2]) + 1}.", name)


def is_sam_2_0(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether weights are of SAM 2.0, which lacks parts of SAM 2.1."""
    return _SINCE_2_0 in state_dict and _SINCE_2_1 not in state_dict
