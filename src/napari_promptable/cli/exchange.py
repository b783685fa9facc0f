"""The commands ``export`` and ``import``: objects in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from napari_promptable.cli.options import BUNDLED_MODEL, Axes, LabelsPath, PromptsPath
from napari_promptable.wording import count_of

FormatName = Annotated[
    str,
    Option(
        "--format",
        metavar="NAME",
        help="coco, coco-polygons, geojson, roi, ngff, ctc, geff or tiff (default: by ending)",
    ),
]


def run_export(
    labels: LabelsPath,
    output: Annotated[
        Path, Option("-o", "--output", metavar="OUT", help="file or folder to write")
    ],
    format_name: FormatName = "",
    image: Annotated[
        Path | None,
        Option(metavar="IMAGE", help="segmented image, for its axes, pixel sizes and name"),
    ] = None,
    prompts: PromptsPath = None,
    axes: Axes = None,
) -> None:
    """Write the objects of a label image in another program's format."""
    from napari_promptable.files.formats.exchange import export_objects
    from napari_promptable.files.formats.label_files import open_labels

    written = export_objects(output, open_labels(labels, axes, image, prompts), format_name)
    loss = f" (not in this format: {written.loss})" if written.loss else ""
    print(f"{output}: {written.title}{loss}")


def run_import(
    file: Annotated[Path, Argument(metavar="FILE", help="file or folder to read")],
    output: Annotated[
        Path,
        Option(
            "-o",
            "--output",
            metavar="LABELS.tif",
            help="label image to write; a .ome.zarr keeps classes too, a .json takes prompts",
        ),
    ],
    image: Annotated[
        Path, Option(metavar="IMAGE", help="image that the objects were drawn on")
    ],
    format_name: FormatName = "",
    axes: Axes = None,
    prompt: Annotated[
        str, Option(metavar="KIND", help="box or point: what a prompts.json gets")
    ] = "box",
) -> None:
    """Make a label image, or prompts, of objects that another program saved."""
    from napari_promptable.files.formats.as_prompts import import_for_prompts, to_document
    from napari_promptable.files.formats.exchange import export_objects, import_objects
    from napari_promptable.files.formats.label_files import label_grid, placed_in
    from napari_promptable.files.images import open_image
    from napari_promptable.files.prompts_json import write_prompts

    opened = open_image(image, axes)
    image_axes, shape = label_grid(opened)
    if output.suffix.lower() == ".json":
        scale = tuple(opened.scale.get(axis, 1.0) for axis in image_axes)
        found = import_for_prompts(file, prompt, shape, image_axes, scale, format_name)
        document = to_document(placed_in(found, opened), prompt, BUNDLED_MODEL)
        write_prompts(document, output)
        count = count_of(len(document.objects), "object")
        print(f"{output}: prompts of {count} from {file.name}")
        return
    found = import_objects(file, shape, image_axes, format_name)
    export_objects(output, placed_in(found, opened))
    print(f"{output}: {count_of(len(found.find_ids()), 'object')} from {file.name}")
