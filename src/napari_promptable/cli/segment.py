"""The command ``segment``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from napari_promptable.cli.options import (
    BUNDLED_MODEL,
    Axes,
    Channel,
    Device,
    ImagePath,
    MaxSize,
    Precision,
    Scheduler,
    load_model,
    max_bytes,
)
from napari_promptable.cli.progress import ProgressBar
from napari_promptable.errors import PromptError
from napari_promptable.weights.registry import MODELS
from napari_promptable.wording import count_of

if TYPE_CHECKING:
    from napari_promptable.annotation.patches import LabelsArray
    from napari_promptable.files.image_file import ImageFile
    from napari_promptable.files.prompts_json import PromptDocument
    from napari_promptable.predict.embeddings import EmbeddingCache
    from napari_promptable.predict.predictor import PromptableModel
    from napari_promptable.propagation.settings import PropagationSettings

_PROPAGATION = "Propagation"  # heading of the options in the help


def run(
    image: ImagePath,
    prompts: Annotated[
        Path,
        Argument(
            metavar="PROMPTS.json|POINTS.csv",
            help="prompts saved by the widget, or the CSV of a Points or Shapes layer",
        ),
    ],
    output: Annotated[
        Path, Option("-o", "--output", metavar="LABELS.tif", help="label image to write")
    ],
    more: Annotated[
        Path | None,
        Argument(metavar="BOXES.csv", help="CSV of another layer", show_default=False),
    ] = None,
    cache: Annotated[
        Path | None, Option(metavar="DIR", help="folder to read and keep embeddings in")
    ] = None,
    max_size: MaxSize = None,
    propagate: Annotated[
        bool,
        Option(
            "--propagate",
            help="extend each object through the whole stack",
            rich_help_panel=_PROPAGATION,
        ),
    ] = False,
    axis: Annotated[
        int | None,
        Option(
            metavar="N",
            help="axis to propagate along, if there is more than one",
            rich_help_panel=_PROPAGATION,
        ),
    ] = None,
    slices: Annotated[
        tuple[int, int] | None,
        Option(
            metavar="FIRST LAST",
            help="fill only these slices (default: all)",
            rich_help_panel=_PROPAGATION,
        ),
    ] = None,
    direction: Annotated[
        Literal["both", "forward", "backward"] | None,
        Option(help="where to go from a prompted slice", rich_help_panel=_PROPAGATION),
    ] = None,
    one_part: Annotated[
        bool | None,
        Option(
            "--one-part/--all-parts",
            help="keep only the part of each object that holds its clicks, or all parts "
            "(default: as the prompts say; one part for CSV files)",
            show_default=False,
        ),
    ] = None,
    scheduler: Scheduler = None,
    axes: Axes = None,
    channel: Channel = None,
    model: Annotated[
        str | None,
        Option(
            metavar="NAME|PATH",
            help="a name from 'models list', or a weights file (default: the prompts' model)",
        ),
    ] = None,
    device: Device = "auto",
    precision: Precision = "float32",
) -> None:
    """Answer prompts on an image and write the labels."""
    from napari_promptable.annotation.session_json import with_one_part
    from napari_promptable.batch.cluster import propagate_on_workers
    from napari_promptable.batch.segment import room_for_labels
    from napari_promptable.files.label_images import check_label_path, write_labels
    from napari_promptable.predict.cluster_worker import ImageSource, Weights
    from napari_promptable.predict.embedding_store import EmbeddingStore
    from napari_promptable.predict.embeddings import EmbeddingCache

    files = [prompts] if more is None else [prompts, more]
    document, opened = _open(files, image, axes, channel)
    if one_part is not None:
        document = with_one_part(document, one_part)
    changes = _propagation_options(slices, direction)
    if not propagate and (changes or axis is not None or scheduler is not None):
        raise PromptError(
            "--axis, --slices, --direction and --scheduler need --propagate; add it"
        )
    settings = _settings_of(document, changes) if propagate else None
    check_label_path(output, document.image_shape, max(document.objects, default=0))

    def weights_of(name: str) -> str:
        return model or _find_weights(name, prompts)

    limit = max_bytes(max_size)
    with room_for_labels(document.image_shape) as room:
        if scheduler is None or settings is None:
            store = None if cache is None else EmbeddingStore(cache, max_bytes=limit)
            labels = _segment(
                lambda name: load_model(weights_of(name), device, precision),
                opened,
                document,
                settings,
                axis,
                EmbeddingCache(store=store),
                room,
            )
        else:
            with ProgressBar("tasks", opened.description) as bar:
                labels = propagate_on_workers(
                    scheduler,
                    ImageSource.named(image, axes, channel)._replace(
                        shape=document.image_shape, layer_name=document.image_name
                    ),
                    document,
                    settings,
                    Weights.named(weights_of(document.model), device, precision),
                    room,
                    axis=axis,
                    cache_path=cache,
                    max_bytes=limit,
                    scratch=output.absolute().parent,
                    progress=bar,
                )
        write_labels(output, labels, opened)
    objects = count_of(len(document.objects), "object")
    print(f"{output}: {objects}, model {model or document.model}")


def _find_weights(name: str, prompts: Path) -> str:
    """Look for a session's weights file beside its prompts, too: the folder may have moved."""
    beside = prompts.parent / PureWindowsPath(name).name
    is_lost = name not in MODELS and not Path(name).is_file()
    return str(beside) if is_lost and beside.is_file() else name


def _open(
    files: list[Path], path: Path, axes: str | None, channel: int | None
) -> tuple[PromptDocument, ImageFile]:
    """Read the prompts, and open the view of the image that they belong to."""
    from napari_promptable.files.images import open_image
    from napari_promptable.files.napari_csv import count_axes, read_csv_prompts
    from napari_promptable.files.prompts_json import read_prompts

    if files[0].suffix.lower() != ".csv":
        if len(files) > 1:
            raise PromptError(f"{files[1]} was given beside {files[0]}; give two CSV files")
        document = read_prompts(files[0])
        shape, name = document.image_shape, document.image_name
        return document, open_image(path, axes).fitted(shape, name, channel)
    image = open_image(path, axes)
    if channel is not None or len(image.shape) != count_axes(files[0]):
        image = image.at_channel(channel or 0)
    return read_csv_prompts(files, image.name, image.planes, BUNDLED_MODEL), image


def _propagation_options(
    slices: tuple[int, int] | None, direction: str | None
) -> dict[str, Any]:
    """Propagation settings that options override."""
    changes: dict[str, Any] = {}
    if slices is not None:
        changes["first"], changes["last"] = slices
    if direction is not None:
        changes["direction"] = direction
    return changes


def _settings_of(document: PromptDocument, changes: dict[str, Any]) -> PropagationSettings:
    """Propagation settings from the file, overridden by command-line options."""
    from napari_promptable.propagation.settings import PropagationSettings

    return replace(
        PropagationSettings.from_dict(document.extra.get("propagation", {})), **changes
    )


def _segment(
    load: Callable[[str], PromptableModel],
    image: ImageFile,
    document: PromptDocument,
    settings: PropagationSettings | None,
    axis: int | None,
    cache: EmbeddingCache,
    room: LabelsArray,
) -> LabelsArray:
    """Propagate if there are settings, repeat a saved session, or answer all prompts."""
    from napari_promptable.annotation.session_json import ACTIONS
    from napari_promptable.batch.replay import replay_document
    from napari_promptable.batch.segment import propagate_document, segment_document

    name = "slices" if settings else "steps" if document.extra.get(ACTIONS) else "objects"
    with ProgressBar(name, image.description) as bar:
        if settings is not None:
            model = load(document.model)
            return propagate_document(
                model,
                image.data,
                document,
                settings,
                axis=axis,
                levels=image.levels_by_step,
                cache=cache,
                labels=room,
                progress=bar,
            )
        if document.extra.get(ACTIONS):
            return replay_document(
                load,
                image.data,
                document,
                levels=image.levels_by_step,
                cache=cache,
                labels=room,
                progress=bar,
            )
        model = load(document.model)
        return segment_document(
            model,
            image.data,
            document,
            levels=image.levels_by_step,
            cache=cache,
            labels=room,
            progress=bar,
        )
