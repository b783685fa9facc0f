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
    learn: Annotated[
        bool,
        Option("--learn", help="learn from five objects instead, and compare (3 minutes)"),
    ] = False,
    model: ModelName = BUNDLED_MODEL,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Segment the bundled images with the bundled prompts."""
    from napari_promptable.samples.demo import run_demo
    from napari_promptable.samples.learning_demo import run_learning_demo

    run = run_learning_demo if learn else run_demo
    run(load_model(model, device, precision), output, print)
