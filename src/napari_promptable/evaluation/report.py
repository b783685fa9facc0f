"""Reports of an evaluation: JSON, a table, a plot."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_promptable.errors import MissingPackageError
from napari_promptable.evaluation.evaluate import ImageScore, ObjectScore, Protocol

_DIAMETER_BINS = 8  # of the curve of IoU against object size


def summarise(
    model_name: str, protocol: Protocol, images: Sequence[ImageScore]
) -> dict[str, Any]:
    """Summarise an evaluation.

    Parameters
    ----------
    model_name : str
        Name of the evaluated model.
    protocol : Protocol
        How objects were prompted.
    images : sequence of ImageScore
        At least one.

    Returns
    -------
    dict
        Plain data for JSON. Means are over objects; ``mean_over_datasets`` weighs all datasets
        equally, and ``per_dataset`` and ``per_image`` hold their own figures.
    """
    groups: dict[str, list[ImageScore]] = defaultdict(list)
    for image in images:
        groups[image.dataset].append(image)
    per_dataset = {
        name: {"n_images": len(group)} | _figures(_objects_of(group))
        for name, group in groups.items()
    }
    figures = _figures(_objects_of(images))
    return {
        "model": model_name,
        "prompt": protocol.prompt,
        "box_jitter": protocol.box_jitter,
        "corrections": protocol.corrections,
        "after": protocol.after,
        "n_images": len(images),
        **figures,
        "mean_over_datasets": {
            key: np.mean([group[key] for group in per_dataset.values()], axis=0).tolist()
            for key in figures
            if key != "n_objects"
        },
        "per_dataset": per_dataset,
        "per_image": [
            {"name": image.name, "dataset": image.dataset} | _figures(image.objects)
            for image in images
        ],
    }


def _objects_of(images: Sequence[ImageScore]) -> list[ObjectScore]:
    return [score for image in images for score in image.objects]


def _figures(objects: Sequence[ObjectScore]) -> dict[str, Any]:
    """Means over objects."""
    ious = np.array([score.ious for score in objects])
    errors = [abs(score.ious[0] - score.predicted_iou) for score in objects]
    return {
        "n_objects": len(objects),
        "mean_iou": float(ious[:, 0].mean()),
        "mean_iou_oracle": float(np.mean([score.oracle_iou for score in objects])),
        "predicted_iou_error": float(np.mean(errors)),
        "iou_by_corrections": ious.mean(axis=0).tolist(),
    }


def format_table(summary: dict[str, Any]) -> str:
    """Format the figures of each dataset as a text table."""
    corrections = range(1, summary["corrections"] + 1)
    head = ["images", "objects", "IoU", "oracle", "pred. err.", *(f"+{n}" for n in corrections)]
    lines = [f"{summary['model']}, {summary['prompt']}".ljust(28) + _cells(head)]
    rows = [(name or "all", group) for name, group in summary["per_dataset"].items()]
    if len(rows) > 1:
        rows += [
            ("all objects", summary),
            ("mean over datasets", summary["mean_over_datasets"]),
        ]
    for name, figures in rows:
        values = [
            figures["mean_iou"],
            figures["mean_iou_oracle"],
            figures["predicted_iou_error"],
            *figures["iou_by_corrections"][1:],
        ]
        counts = [str(figures.get(key, "")) for key in ("n_images", "n_objects")]
        lines.append(name.ljust(28) + _cells([*counts, *(f"{v:.3f}" for v in values)]))
    return "\n".join(lines)


def _cells(texts: Sequence[str]) -> str:
    return "".join(f"{text:>11}" for text in texts)


def check_that_plots_can_be_drawn() -> None:
    """Raise MissingPackageError unless matplotlib is installed."""
    if find_spec("matplotlib") is None:
        raise MissingPackageError(
            "plots need matplotlib, which is not installed; run "
            "pip install 'napari-promptable[plot]', or leave the plot out"
        )


def draw_plot(summary: dict[str, Any], images: Sequence[ImageScore]) -> npt.NDArray[np.uint8]:
    """Draw IoU against object size, and predicted against true IoU.

    Parameters
    ----------
    summary : dict
        From `summarise`.
    images : sequence of ImageScore
        The scores behind the summary.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        The plot.

    Raises
    ------
    MissingPackageError
        If matplotlib is not installed.
    """
    check_that_plots_can_be_drawn()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), dpi=110, layout="constrained")
    figure.suptitle(f"{summary['model']}, {summary['prompt']} prompts")
    by_size, by_prediction = figure.subplots(1, 2)
    for name in summary["per_dataset"]:
        objects = _objects_of([image for image in images if image.dataset == name])
        diameters = np.sqrt(4 * np.array([score.area for score in objects]) / np.pi)
        ious = np.array([score.ious[0] for score in objects])
        predicted = [score.predicted_iou for score in objects]
        [points] = by_size.plot(diameters, ious, ".", ms=3, alpha=0.25)
        by_size.plot(*_binned(diameters, ious), "-o", ms=4, color=points.get_color())
        label = f"{name or 'all'}: {ious.mean():.2f}"
        by_prediction.plot(predicted, ious, ".", ms=4, alpha=0.4, label=label)
    by_size.set(xscale="log", xlabel="diameter of a disk of equal area (pixels)", ylabel="IoU")
    by_prediction.plot([0, 1], [0, 1], "k--", lw=0.8)
    by_prediction.set(xlabel="predicted IoU", ylabel="IoU")
    by_prediction.legend(fontsize="small", title="dataset: mean IoU", markerscale=2)
    for axes in (by_size, by_prediction):
        axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))


def _binned(
    diameters: npt.NDArray[np.floating[Any]], ious: npt.NDArray[np.floating[Any]]
) -> tuple[list[float], list[float]]:
    """Median diameter and mean IoU of groups of similar size."""
    order = np.argsort(diameters)
    groups = [g for g in np.array_split(order, min(_DIAMETER_BINS, len(order))) if len(g)]
    return (
        [float(np.median(diameters[group])) for group in groups],
        [float(ious[group].mean()) for group in groups],
    )
