"""The command ``embed``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from napari_promptable.cli.options import (
    BUNDLED_MODEL,
    Axes,
    Channel,
    Device,
    ImagePath,
    MaxSize,
    ModelName,
    Precision,
    Scheduler,
    load_model,
    max_bytes,
)
from napari_promptable.cli.progress import track
from napari_promptable.wording import count_of

if TYPE_CHECKING:
    from napari_promptable.files.image_file import ImageFile
    from napari_promptable.planes import Index
    from napari_promptable.predict.predictor import PromptableModel


def run(
    image: ImagePath,
    output: Annotated[
        Path, Option("-o", "--output", metavar="CACHE.zarr", help="folder for the embeddings")
    ],
    scheduler: Scheduler = None,
    float16: Annotated[
        bool,
        Option("--float16", help="new cache in half the space; masks change a little"),
    ] = False,
    max_size: MaxSize = None,
    axes: Axes = None,
    channel: Channel = None,
    model: ModelName = BUNDLED_MODEL,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Encode an image ahead of time. An interrupted run resumes where it stopped."""
    from napari_promptable.files.images import open_channel
    from napari_promptable.predict.cluster import embed_volume

    opened = open_channel(image, axes, channel)
    total = sum(1 for _ in opened.planes.indices())
    keeping: dict[str, Any] = {
        "max_bytes": max_bytes(max_size),
        "dtype": "float16" if float16 else None,
    }
    if scheduler is None:
        load = partial(load_model, model, device, precision)
        encoded = _embed_here(load, opened, output, keeping)
    else:
        encoded = embed_volume(
            image,
            output,
            model=model,
            address=scheduler,
            device=device,
            precision=precision,
            axes=axes,
            channel=channel,
            **keeping,
        )
    num_encoded = sum(
        was_encoded for _, was_encoded in track(encoded, "planes", opened.description, total)
    )
    planes = count_of(num_encoded, "plane")
    print(f"{output}: {planes} encoded, {total - num_encoded:,} already there")


def _embed_here(
    load: Callable[[], PromptableModel],
    image: ImageFile,
    output: Path,
    keeping: dict[str, Any],
) -> Iterator[tuple[Index, bool]]:
    """Encode in this process."""
    from napari_promptable.predict.embedding_store import EmbeddingStore, embed_planes

    source, field = image.source, image.overview
    store = EmbeddingStore(output, **keeping)
    model = load()
    return embed_planes(
        model,
        model.model_id,
        lambda index: source.read(index, field),
        image.planes.indices(),
        store,
    )
