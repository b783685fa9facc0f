"""The command ``demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from napari_promptable.cli.options import (
    BUNDLED_MODEL,
    Device,
    ModelName,
    Precision,
    load_model,
)


def run(
    output: Annotated[
        Path, Option(metavar="DIR", help="folder for labels and pictures")
    ] = Path("demo-output"),
    model: ModelName = BUNDLED_MODEL,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Segment the bundled images with the bundled prompts."""
    from napari_promptable.samples.demo import run_demo

    run_demo(load_model(model, device, precision), output, print)
