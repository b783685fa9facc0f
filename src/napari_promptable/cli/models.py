"""The commands ``models list | fetch | path | verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Typer

from napari_promptable.cli.progress import ProgressBar
from napari_promptable.weights.checkpoints import (
    checkpoint_path,
    fetch_checkpoint,
    is_downloaded,
    verify_checkpoint,
)
from napari_promptable.weights.registry import MODELS

Name = Annotated[str, Argument(metavar="NAME", help="a name from 'models list'")]

app = Typer(help="List, download and check weights files.")


@app.command("list")
def list_models() -> None:
    """List each model's name, size and licence, and whether it is on disk."""
    print(f"{'name':<22}{'size':>10}  {'on disk':<9}{'licence':<14}good for")
    for name, spec in MODELS.items():
        is_here = "bundled" if spec.is_bundled else "yes" if is_downloaded(name) else "no"
        size_bytes = spec.size_bytes
        if size_bytes is None and is_downloaded(name):
            size_bytes = checkpoint_path(name).stat().st_size
        size = "–" if size_bytes is None else f"{size_bytes / 1e6:.0f} MB"
        print(f"{name:<22}{size:>10}  {is_here:<9}{spec.licence:<14}{spec.description}")


@app.command()
def fetch(name: Name) -> None:
    """Download a model's weights and check them."""
    with ProgressBar(name, in_bytes=True) as bar:
        path = fetch_checkpoint(name, bar)
    print(path)


@app.command()
def path(name: Name) -> None:
    """Print where a model's weights are, or would be."""
    print(checkpoint_path(name))


@app.command()
def verify(path: Annotated[Path, Argument(metavar="PATH", help="a weights file")]) -> None:
    """Check a weights file against the published hash."""
    spec = verify_checkpoint(path)
    if spec is None:
        print(f"{path}: not a published file, so there is no hash to compare it with")
    else:
        print(f"{path}: {spec.name}, as published")
