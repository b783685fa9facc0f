"""The command ``finetune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from typer import Argument, Option

from napari_promptable.cli.options import (
    BUNDLED_MODEL,
    Axes,
    Channel,
    Device,
    load_model,
)
from napari_promptable.cli.progress import ProgressBar

if TYPE_CHECKING:
    from napari_promptable.evaluation.labelled_images import LabelledFile
    from napari_promptable.learning.examples import Example
    from napari_promptable.learning.learner import LearningState


def run(
    images: Annotated[Path, Argument(metavar="IMAGES", help="a file or a folder")],
    labels: Annotated[
        Path,
        Argument(metavar="LABELS", help="a file or a folder; some labelled objects are enough"),
    ],
    output: Annotated[
        Path,
        Option("-o", "--output", metavar="WEIGHTS.safetensors", help="weights file to write"),
    ],
    objects: Annotated[
        int | None, Option(metavar="N", min=2, help="learn from so many objects (default: all)")
    ] = None,
    minutes: Annotated[float, Option(metavar="M", help="time to learn")] = 2.0,
    start: Annotated[
        str,
        Option(
            "--start",
            "--model",
            metavar="NAME|PATH",
            help="the model to start from: a name from 'models list', or a weights file",
        ),
    ] = BUNDLED_MODEL,
    complete: Annotated[
        bool, Option("--complete", help="every object of the images is labelled")
    ] = False,
    part: Annotated[
        Literal["auto", "all", "decoder"], Option(help="the part of the network that learns")
    ] = "auto",
    steps: Annotated[
        int | None, Option(metavar="N", help="stop after so many steps at the latest")
    ] = None,
    split: Annotated[
        str | None, Option(help="only this split of the folder's manifest.csv, such as train")
    ] = None,
    axes: Axes = None,
    channel: Channel = None,
    cache: Annotated[
        Path | None,
        Option(
            metavar="DIR",
            help="folder to read and keep embeddings in, used where the encoder does not learn",
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Learn from labelled objects and write better weights, if they are better."""
    from napari_promptable.evaluation.labelled_images import find_labelled_files
    from napari_promptable.learning.learn import learn
    from napari_promptable.learning.learned import check_weights_path
    from napari_promptable.learning.settings import LearningSettings, TrainedPart
    from napari_promptable.predict.embedding_store import EmbeddingStore
    from napari_promptable.predict.embeddings import EmbeddingCache

    settings = LearningSettings(
        minutes=minutes, part=TrainedPart(part), is_complete=complete, max_steps=steps
    )
    check_weights_path(output)
    files = find_labelled_files(images, labels, split, axes, channel)
    examples: list[Example] = [file.read() for file in files]
    if objects is not None:
        examples = _keep_objects(examples, objects)
    embeddings = EmbeddingCache(store=None if cache is None else EmbeddingStore(cache))
    model = load_model(start, device, "float32")
    total = round(60 * minutes)
    with ProgressBar("seconds") as bar:

        def show(state: LearningState) -> None:
            bar(min(total, max(0, total - round(state.seconds_left))), total)

        learned = learn(
            model, examples, settings, show, source=_describe(files), cache=embeddings
        )
    print(learned)
    if not learned.is_better:
        print(f"{output} was not written")
        return
    learned.save(output)
    print(f"{output}: {learned.model.name}")


def _describe(files: list[LabelledFile]) -> str:
    """Name the images that objects come from."""
    first = files[0].image_path.name
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more"


def _keep_objects(examples: list[Example], count: int) -> list[Example]:
    """Keep the labels of some objects, drawn from all images."""
    found = [
        (number, label)
        for number, (_, labels) in enumerate(examples)
        for label in np.unique(np.asarray(labels))
        if label
    ]
    chosen = np.random.default_rng(0).permutation(len(found))[:count]
    kept: dict[int, list[int]] = {}
    for number, label in (found[n] for n in chosen):
        kept.setdefault(number, []).append(label)
    return [
        (image, np.where(np.isin(labels, kept[number]), labels, 0))
        for number, (image, labels) in enumerate(examples)
        if number in kept
    ]
