"""The command ``evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from napari_promptable.cli.options import (
    BUNDLED_MODEL,
    Axes,
    Channel,
    Device,
    ModelName,
    Precision,
    load_model,
)
from napari_promptable.cli.progress import ProgressBar
from napari_promptable.errors import ImageFormatError


def run(
    images: Annotated[Path, Argument(metavar="IMAGES", help="a file or a folder")],
    labels: Annotated[Path, Argument(metavar="LABELS", help="a file or a folder")],
    prompt: Annotated[
        Literal["point", "box"], Option(help="the first prompt of each object")
    ] = "point",
    box_jitter: Annotated[
        float, Option(metavar="F", help="how much boxes vary, as a share of their sides")
    ] = 0.0,
    corrections: Annotated[
        int, Option(metavar="N", help="correcting clicks after the first prompt")
    ] = 0,
    after: Annotated[
        int,
        Option(
            metavar="N",
            help="tell the model the sizes of so many other objects of each image, as if they "
            "had been committed before",
        ),
    ] = 0,
    objects: Annotated[
        int | None, Option(metavar="N", help="score at most so many objects of each image")
    ] = None,
    split: Annotated[
        str | None, Option(help="only this split of the folder's manifest.csv, such as val")
    ] = None,
    json: Annotated[Path | None, Option(metavar="OUT.json", help="write all figures")] = None,
    plot: Annotated[
        Path | None, Option(metavar="OUT.png", help="draw IoU against object size")
    ] = None,
    axes: Axes = None,
    channel: Channel = None,
    model: ModelName = BUNDLED_MODEL,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Measure a model's IoU on labelled images."""
    from napari_promptable.evaluation.evaluate import MIN_AREA, Protocol, evaluate_files
    from napari_promptable.evaluation.labelled_images import find_labelled_files
    from napari_promptable.evaluation.report import (
        check_that_plots_can_be_drawn,
        draw_plot,
        format_table,
        summarise,
    )
    from napari_promptable.files.writing import write_json, write_png

    if plot is not None:
        check_that_plots_can_be_drawn()
    protocol = Protocol(prompt, box_jitter, corrections, after=after, most_objects=objects)
    files = find_labelled_files(images, labels, split, axes, channel)
    answering = load_model(model, device, precision)
    with ProgressBar("images") as bar:
        scores = list(evaluate_files(answering, files, protocol, bar))
    if not scores:
        raise ImageFormatError(
            f"{labels} has no object of {MIN_AREA} pixels or more; give other labels"
        )
    summary = summarise(answering.name, protocol, scores)
    if json is not None:
        write_json(json, summary)
    if plot is not None:
        write_png(plot, draw_plot(summary, scores))
    print(format_table(summary))
