"""The command ``auto``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from napari_promptable.cli.options import (
    BUNDLED_MODEL,
    Axes,
    Channel,
    Device,
    ImagePath,
    ModelName,
    Precision,
    Scheduler,
    load_model,
)
from napari_promptable.cli.progress import ProgressBar
from napari_promptable.errors import PromptError
from napari_promptable.wording import count_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def run(
    image: ImagePath,
    output: Annotated[
        Path, Option("-o", "--output", metavar="LABELS.tif", help="label image to write")
    ],
    seeds: Annotated[
        Literal["auto", "maps", "tiny", "grid"],
        Option(
            help="where the prompts come from: the model's own instance maps, those of "
            "'tiny', or a grid of clicks"
        ),
    ] = "auto",
    region: Annotated[
        str | None,
        Option(metavar="BOX|MASK", help="only here: 'top,left,bottom,right', or a mask image"),
    ] = None,
    keep: Annotated[
        Path | None,
        Option("--keep", "--labels", metavar="LABELS", help="labels to keep and add to"),
    ] = None,
    min_confidence: Annotated[
        float | None, Option(metavar="F", help="leave out objects that are less certain")
    ] = None,
    min_area: Annotated[
        float | None, Option(metavar="N", help="leave out smaller objects, in pixels")
    ] = None,
    max_area: Annotated[
        float | None, Option(metavar="N", help="leave out larger objects, in pixels")
    ] = None,
    points_per_side: Annotated[
        int | None, Option(metavar="N", help="clicks along the longer side of the grid")
    ] = None,
    scheduler: Scheduler = None,
    axes: Axes = None,
    channel: Channel = None,
    model: ModelName = BUNDLED_MODEL,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Label all objects of an image without any prompt."""
    from napari_promptable.batch.segment import room_for_labels
    from napari_promptable.files.images import open_channel, read_image
    from napari_promptable.files.label_images import check_label_path, highest_id, write_labels
    from napari_promptable.instances.automatic import default_settings
    from napari_promptable.instances.cluster import Search, search_on
    from napari_promptable.instances.settings import Seeds
    from napari_promptable.instances.streaming import Labelling, write_objects
    from napari_promptable.predict.cluster_worker import ImageSource, Weights

    opened = open_channel(image, axes, channel).as_stack()
    shape = opened.planes.shape
    existing = None if keep is None else read_image(keep)
    highest = 0 if existing is None else highest_id(existing)
    check_label_path(output, shape, highest)
    where = None if region is None else _read_region(region)
    changes: dict[str, Any] = {
        "min_confidence": min_confidence,
        "min_area": min_area,
        "max_area": max_area,
        "points_per_side": points_per_side,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    answering = load_model(model, device, precision)
    settings = default_settings(answering, Seeds(seeds), **changes)
    search = Search(
        ImageSource.named(image, axes, channel or 0)._replace(shape=shape),
        Weights.named(model, device, precision),
        settings,
        where,
        None if keep is None else str(keep.absolute()),
    )
    with (
        room_for_labels(shape) as room,
        search_on(scheduler, search) as workers,
        ProgressBar("work", opened.description) as bar,
    ):
        task = Labelling(answering, opened.data, settings, where, existing, workers, bar)
        count = write_objects(task, room)
        write_labels(output, room, opened)
    print(f"{output}: {count_of(count, 'new object')}, model {model}")


def _read_region(region: str) -> npt.NDArray[np.generic]:
    """Read a box from four numbers, or a mask from a file."""
    import numpy as np

    from napari_promptable.files.images import read_image

    parts = region.split(",")
    if len(parts) == 4:
        try:
            return np.array([float(part) for part in parts])
        except ValueError:
            pass
    if not Path(region).exists():
        raise PromptError(
            f"--region {region} is neither a file nor a box; give 'top,left,bottom,right', "
            "such as 0,0,99,199, or a mask image"
        )
    return np.asarray(read_image(region))
