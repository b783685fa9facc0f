"""The command ``measure``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from napari_promptable.cli.options import Axes, Channel, LabelsPath, PromptsPath
from napari_promptable.wording import count_of


def run(
    labels: LabelsPath,
    output: Annotated[
        Path,
        Option("-o", "--output", metavar="TABLE.csv", help="table to write, .csv or .parquet"),
    ],
    image: Annotated[
        Path | None,
        Argument(metavar="IMAGE", help="image to measure intensities on", show_default=False),
    ] = None,
    per_slice: Annotated[
        bool, Option("--per-slice", help="measure each slice of a volume separately")
    ] = False,
    prompts: PromptsPath = None,
    axes: Axes = None,
    channel: Channel = None,
) -> None:
    """Measure size, shape and intensity of each object."""
    from napari_promptable.files.formats.label_files import open_labels
    from napari_promptable.files.images import open_image
    from napari_promptable.measurement.measure import measure_objects
    from napari_promptable.measurement.tables import check_table_path, write_table

    check_table_path(output)
    if image is None:
        table = measure_objects(open_labels(labels, axes, None, prompts), per_slice=per_slice)
    else:
        pixels = open_image(image, axes)
        if channel is not None:
            pixels = pixels.at_channel(channel)
        objects = open_labels(labels, axes, image, prompts)
        channel_axis = next((i for i, axis in enumerate(pixels.axes) if axis in "CS"), None)
        table = measure_objects(objects, pixels.data, channel_axis, per_slice)
    write_table(output, table)
    size = count_of(len(table), "row"), count_of(len(table.columns), "column")
    print(f"{output}: {', '.join(size)}")
