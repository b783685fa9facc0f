"""The command line: ``napari-promptable demo | models | segment | embed | evaluate``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_promptable.errors import ImageFormatError, PromptableError, PromptError
from napari_promptable.weights.checkpoints import (
    checkpoint_path,
    fetch_checkpoint,
    is_downloaded,
    verify_checkpoint,
)
from napari_promptable.weights.registry import MODELS

if TYPE_CHECKING:
    from napari_promptable.annotation.patches import LabelsArray
    from napari_promptable.files.prompts_json import PromptDocument
    from napari_promptable.planes import Index, PlaneAxes
    from napari_promptable.predict.embeddings import EmbeddingCache
    from napari_promptable.predict.predictor import PromptableModel
    from napari_promptable.propagation.settings import PropagationSettings

DONE, MISTAKE, INTERRUPTED = 0, 2, 130  # exit codes
_AFTER_MISTAKES_S = 1e-3  # a bar appears with the first plane that is done


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        0 done; 2 for a user's mistake, told in one line on stderr; 130 when interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    arguments = make_parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except PromptableError as error:
        print(f"napari-promptable: error: {' '.join(str(error).split())}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        print("napari-promptable: interrupted", file=sys.stderr)
        return INTERRUPTED
    return DONE


def make_parser() -> argparse.ArgumentParser:
    """Describe commands and options."""
    parser = argparse.ArgumentParser(
        prog="napari-promptable", description="Promptable segmentation without a screen."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="segment bundled images with bundled prompts")
    demo.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIR")
    _add_model_options(demo, default="tiny")
    demo.set_defaults(run=_demo)

    segment = commands.add_parser("segment", help="prompts of a file → labels")
    segment.add_argument("image", type=Path, metavar="IMAGE")
    segment.add_argument("prompts", type=Path, metavar="PROMPTS.json")
    segment.add_argument("-o", "--output", type=Path, required=True, metavar="LABELS.tif")
    _add_model_options(segment, default=None)
    segment.add_argument(
        "--cache", type=Path, metavar="DIR", help="embeddings are read from here and kept here"
    )
    _add_propagation_options(segment)
    segment.set_defaults(run=_segment)

    _add_embed_command(commands)

    evaluate = commands.add_parser("evaluate", help="a model's IoU on labelled images")
    evaluate.add_argument("images", type=Path, metavar="IMAGES", help="a file or a folder")
    evaluate.add_argument("labels", type=Path, metavar="LABELS", help="a file or a folder")
    evaluate.add_argument("--prompt", choices=("point", "box"), default="point")
    evaluate.add_argument(
        "--box-jitter", type=float, default=0.0, metavar="F", help="share of the box's side"
    )
    evaluate.add_argument("--corrections", type=int, default=0, metavar="N")
    evaluate.add_argument("--split", help="of a folder's manifest.csv, such as val")
    evaluate.add_argument("--json", type=Path, metavar="OUT.json")
    evaluate.add_argument("--plot", type=Path, metavar="OUT.png")
    _add_model_options(evaluate, default="tiny")
    evaluate.set_defaults(run=_evaluate)

    models = commands.add_parser("models", help="list, download and check weights files")
    verbs = models.add_subparsers(required=True, metavar="list | fetch | path | verify")
    verbs.add_parser("list", help="name, size, licence, on disk or not").set_defaults(run=_list)
    for verb, run, text in (
        ("fetch", _fetch, "download a model's weights"),
        ("path", _path, "where a model's weights are, or would be"),
    ):
        command = verbs.add_parser(verb, help=text)
        command.add_argument("name", metavar="NAME")
        command.set_defaults(run=run)
    verify = verbs.add_parser("verify", help="check that a weights file is what was published")
    verify.add_argument("path", type=Path, metavar="PATH")
    verify.set_defaults(run=_verify)
    return parser


def _add_model_options(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--model",
        default=default,
        metavar="NAME|PATH",
        help="a name of 'models list', or a weights file"
        + ("" if default else "; by default the one that the prompts name"),
    )
    parser.add_argument(
        "--device", default="auto", metavar="D", help="auto, cpu, cuda or mps (default: auto)"
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="bfloat16: faster on GPUs, masks change a little (default: float32)",
    )


def _add_embed_command(commands: Any) -> None:
    embed = commands.add_parser("embed", help="encode an image ahead of time; resumable")
    embed.add_argument("image", type=Path, metavar="IMAGE")
    embed.add_argument("-o", "--output", type=Path, required=True, metavar="CACHE.zarr")
    embed.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of dask.distributed, whose workers encode; 'local': processes of this computer",
    )
    embed.add_argument(
        "--float16",
        action="store_true",
        help="half the space on disk, masks change a little; for a new cache",
    )
    embed.add_argument(
        "--max-size",
        type=float,
        metavar="GB",
        help="delete the least recently used embeddings beyond this",
    )
    _add_model_options(embed, default="tiny")
    embed.set_defaults(run=_embed)


def _add_propagation_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("propagation")
    group.add_argument(
        "--propagate", action="store_true", help="carry the objects through the whole stack"
    )
    group.add_argument(
        "--axis", type=int, metavar="N", help="along which axis, if there is more than one"
    )
    group.add_argument(
        "--slices",
        type=int,
        nargs=2,
        metavar=("FIRST", "LAST"),
        help="fill these slices only (default: all)",
    )
    group.add_argument("--direction", choices=("both", "forward", "backward"))


def _demo(arguments: argparse.Namespace) -> None:
    from napari_promptable.samples.demo import run_demo

    run_demo(_load_model(arguments), arguments.output, print)


def _load_model(arguments: argparse.Namespace, name: str = "") -> PromptableModel:
    """Load the model that the options name, or else the one of this name."""
    from napari_promptable.predict.predictor import load_model

    return load_model(
        arguments.model or name, device=arguments.device, precision=arguments.precision
    )


def _segment(arguments: argparse.Namespace) -> None:
    from napari_promptable.annotation.session_json import ACTIONS
    from napari_promptable.batch.replay import replay_document
    from napari_promptable.batch.segment import room_for_labels
    from napari_promptable.files.images import read_image, write_labels
    from napari_promptable.files.prompts_json import read_prompts
    from napari_promptable.predict.embedding_store import EmbeddingStore
    from napari_promptable.predict.embeddings import EmbeddingCache

    document = read_prompts(arguments.prompts)
    settings = _propagation_settings(arguments, document.extra.get("propagation", {}))
    image = read_image(arguments.image)

    cache = EmbeddingCache(
        store=None if arguments.cache is None else EmbeddingStore(arguments.cache)
    )
    with room_for_labels(document.image_shape) as room:
        if settings is None and document.extra.get(ACTIONS):
            labels = replay_document(
                partial(_load_model, arguments),
                image,
                document,
                cache=cache,
                labels=room,
                progress=lambda changes: _bar(changes, "step"),
            )
        else:
            model = _load_model(arguments, document.model)
            labels = _segment_all(model, image, document, settings, arguments.axis, cache, room)
        write_labels(arguments.output, labels)
    name = arguments.model or document.model
    print(f"{arguments.output}: {len(document.objects)} objects, model {name}")


def _bar(items: Iterable[Any], unit: str, **options: Any) -> Any:
    """Show progress over items on the standard error stream."""
    from tqdm import tqdm

    return tqdm(items, unit=unit, file=sys.stderr, **options)


@contextmanager
def _count_up(**options: Any) -> Iterator[Callable[[int, int | None], None]]:
    """Give a function that shows, on the standard error stream, what is done of a total."""
    from tqdm import tqdm

    with tqdm(file=sys.stderr, **options) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def _propagation_settings(
    arguments: argparse.Namespace, of_document: Any
) -> PropagationSettings | None:
    """Settings of the prompts file, but for what the options say; None not to propagate."""
    from napari_promptable.propagation.settings import PropagationSettings

    changes = {}
    if arguments.slices is not None:
        changes = dict(zip(("first", "last"), arguments.slices, strict=True))
    if arguments.direction is not None:
        changes["direction"] = arguments.direction
    if not arguments.propagate:
        if changes or arguments.axis is not None:
            raise PromptError("--axis, --slices and --direction need --propagate; add it")
        return None
    return replace(PropagationSettings.from_dict(of_document), **changes)


def _segment_all(
    model: PromptableModel,
    image: Any,
    document: PromptDocument,
    settings: PropagationSettings | None,
    axis: int | None,
    cache: EmbeddingCache,
    room: LabelsArray,
) -> LabelsArray:
    """Answer all prompts, with a progress bar; propagate them if there are settings."""
    from napari_promptable.batch.segment import propagate_document, segment_document

    if settings is None:
        return segment_document(
            model,
            image,
            document,
            cache=cache,
            labels=room,
            progress=lambda ids: _bar(ids, "object"),
        )
    with _count_up(unit="slice") as progress:
        return propagate_document(
            model, image, document, settings, axis=axis, cache=cache, progress=progress
        )


def _embed(arguments: argparse.Namespace) -> None:
    from napari_promptable.files.images import read_image
    from napari_promptable.planes import PlaneAxes

    image = read_image(arguments.image)
    planes = PlaneAxes.of_image(tuple(image.shape))
    total = sum(1 for _ in planes.indices())
    max_bytes = None if arguments.max_size is None else int(arguments.max_size * 1e9)
    dtype = "float16" if arguments.float16 else None
    if arguments.scheduler is None:
        done = _embed_here(arguments, image, planes, max_bytes, dtype)
    else:
        done = _embed_on_cluster(arguments, max_bytes, dtype)
    bar = _bar(done, "plane", total=total, delay=_AFTER_MISTAKES_S)
    num_encoded = sum(was_encoded for _, was_encoded in bar)
    print(f"{arguments.output}: {num_encoded} planes encoded, {total - num_encoded} were there")


def _embed_here(
    arguments: argparse.Namespace,
    image: Any,
    planes: PlaneAxes,
    max_bytes: int | None,
    dtype: str | None,
) -> Iterator[tuple[Index, bool]]:
    """Encode in this process."""
    from napari_promptable.predict.embedding_store import EmbeddingStore
    from napari_promptable.predict.encode_planes import embed_planes

    store = EmbeddingStore(arguments.output, max_bytes=max_bytes, dtype=dtype)
    model = _load_model(arguments)
    return embed_planes(
        model,
        model.model_id,
        lambda index: image[planes.region(index)],
        planes.indices(),
        store,
    )


def _embed_on_cluster(
    arguments: argparse.Namespace, max_bytes: int | None, dtype: str | None
) -> Iterator[tuple[Index, bool]]:
    """Encode on the workers of a scheduler."""
    from napari_promptable.predict.cluster import embed_volume

    return embed_volume(
        arguments.image,
        arguments.output,
        model=arguments.model,
        address=None if arguments.scheduler == "local" else arguments.scheduler,
        device=arguments.device,
        precision=arguments.precision,
        max_bytes=max_bytes,
        dtype=dtype,
    )


def _evaluate(arguments: argparse.Namespace) -> None:
    from napari_promptable.evaluation.evaluate import MIN_AREA, Protocol, evaluate_files
    from napari_promptable.evaluation.labelled_images import find_labelled_files
    from napari_promptable.evaluation.report import draw_plot, format_table, summarise
    from napari_promptable.files.images import write_json, write_png

    protocol = Protocol(arguments.prompt, arguments.box_jitter, arguments.corrections)
    files = find_labelled_files(arguments.images, arguments.labels, arguments.split)
    model = _load_model(arguments)
    images = list(evaluate_files(model, files, protocol, partial(_bar, unit="image")))
    if not images:
        raise ImageFormatError(
            f"there is no object of {MIN_AREA} pixels or more in {arguments.labels}"
        )
    summary = summarise(model.name, protocol, images)
    if arguments.json is not None:
        write_json(arguments.json, summary)
    if arguments.plot is not None:
        write_png(arguments.plot, draw_plot(summary, images))
    print(format_table(summary))


def _list(_arguments: argparse.Namespace) -> None:
    print(f"{'name':<22}{'size':>10}  {'on disk':<9}{'licence':<14}good for")
    for name, spec in MODELS.items():
        is_here = "bundled" if spec.is_bundled else "yes" if is_downloaded(name) else "no"
        size_bytes = spec.size_bytes
        if size_bytes is None and is_downloaded(name):
            size_bytes = checkpoint_path(name).stat().st_size
        size = "–" if size_bytes is None else f"{size_bytes / 1e6:.0f} MB"
        print(f"{name:<22}{size:>10}  {is_here:<9}{spec.licence:<14}{spec.description}")


def _fetch(arguments: argparse.Namespace) -> None:
    with _count_up(unit="B", unit_scale=True, desc=arguments.name) as progress:
        print(fetch_checkpoint(arguments.name, progress))


def _path(arguments: argparse.Namespace) -> None:
    print(checkpoint_path(arguments.name))


def _verify(arguments: argparse.Namespace) -> None:
    spec = verify_checkpoint(arguments.path)
    if spec is None:
        print(f"{arguments.path}: not a file of the registry; its hash is not known")
    else:
        print(f"{arguments.path}: {spec.name}, as published")
