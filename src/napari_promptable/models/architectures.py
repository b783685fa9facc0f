"""The networks that can be asked for by name."""

from collections.abc import Callable
from functools import partial

from napari_promptable.errors import UnknownModelError
from napari_promptable.models.sam import (
    Sam,
    build_mobile_sam,
    build_tiny_sam,
    build_vit_sam,
)
from napari_promptable.models.sam2.hiera import HIERA_LAYOUTS
from napari_promptable.models.sam2.sam2 import Sam2

_BUILDERS: dict[str, Callable[[], Sam]] = {
    "conv_tiny": partial(
        build_tiny_sam,
        with_instance_maps=False,
        with_quality_head=False,
        compares_levels=True,
    ),
    "conv_tiny_2": build_tiny_sam,
    "vit_t": build_mobile_sam,
    "vit_b": partial(build_vit_sam, 768, 12, 12, (2, 5, 8, 11)),
    "vit_l": partial(build_vit_sam, 1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": partial(build_vit_sam, 1280, 32, 16, (7, 15, 23, 31)),
    **{name: partial(Sam2, layout) for name, layout in HIERA_LAYOUTS.items()},
}
ARCHITECTURES = tuple(_BUILDERS)
"""Names that `build_sam` takes."""


def build_sam(architecture: str) -> Sam:
    """Build a model with random weights.

    Parameters
    ----------
    architecture : str
        One of `ARCHITECTURES`.

    Returns
    -------
    Sam
        In training mode, on the CPU.

    Raises
    ------
    UnknownModelError
        If there is no such architecture.
    """
    if architecture not in _BUILDERS:
        raise UnknownModelError(
            f"There is no architecture {architecture!r}. Choose one of: "
            f"{', '.join(ARCHITECTURES)}."
        )
    return _BUILDERS[architecture]()
