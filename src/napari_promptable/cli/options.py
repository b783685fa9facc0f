"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

if TYPE_CHECKING:
    from napari_promptable.predict.predictor import PromptableModel

BUNDLED_MODEL = "tiny"

ImagePath = Annotated[Path, Argument(metavar="IMAGE", help="image file or zarr folder")]
LabelsPath = Annotated[Path, Argument(metavar="LABELS", help="label image or zarr folder")]
PromptsPath = Annotated[
    Path | None,
    Option(
        metavar="PROMPTS.json",
        help="prompts saved with the labels; they hold classes and confidences",
    ),
]
Axes = Annotated[
    str | None,
    Option(metavar="ZCYX", help="name the image's axes: T, C, Z, Y, X, and S for RGB"),
]
Channel = Annotated[int | None, Option(metavar="N", help="use this channel, from 0")]
ModelName = Annotated[
    str, Option(metavar="NAME|PATH", help="a name from 'models list', or a weights file")
]
Scheduler = Annotated[
    str | None,
    Option(
        metavar="ADDRESS",
        help="work on the workers of this dask.distributed scheduler; 'local': on processes of "
        "this computer",
    ),
]
Device = Annotated[str, Option(metavar="D", help="auto, cpu, cuda or mps")]
Precision = Annotated[
    Literal["float32", "bfloat16"],
    Option(help="bfloat16 is faster on GPUs and changes masks a little"),
]

MaxSize = Annotated[
    float | None,
    Option(metavar="GB", help="delete the least recently used embeddings beyond this size"),
]


def max_bytes(max_size: float | None) -> int | None:
    """Return the bytes of a `MaxSize`."""
    return None if max_size is None else int(max_size * 1e9)


def load_model(name: str, device: str, precision: str) -> PromptableModel:
    """Load a model by registry name or weights path. Imports torch."""
    from napari_promptable.predict.load_model import load_model

    return load_model(name, device=device, precision=precision)
