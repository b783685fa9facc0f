"""The demo: segment the bundled images and write labels.tif and overview.png."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from napari_promptable.batch.segment import segment_document
from napari_promptable.files.images import read_image
from napari_promptable.files.label_images import write_labels
from napari_promptable.files.writing import write_png
from napari_promptable.masks import mask_iou
from napari_promptable.planes import Index
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.prompts import FOREGROUND, PlanePrompts
from napari_promptable.samples.data import (
    SAMPLES,
    WITH_PROMPTS,
    sample_labels,
    sample_path,
    sample_prompts,
)
from napari_promptable.samples.overview import draw_overview

_HEAD = (
    f"{'object':>6}  {'prompt':<24}three candidates, each: predicted IoU / IoU with the truth"
)


def run_demo(model: PromptableModel, folder: Path, say: Callable[[str], None]) -> None:
    """Segment the bundled samples that have prompts.

    Parameters
    ----------
    model : PromptableModel
        Answers the prompts.
    folder : Path
        Where ``labels.tif`` and ``overview.png`` of the first sample go, and
        ``NAME_labels.tif`` and ``NAME_overview.png`` of the others. Created if missing.
    say : callable
        Called with each line of the report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(WITH_PROMPTS):
        _run_sample(model, name, folder, "" if number == 0 else f"{name}_", say)


def _run_sample(
    model: PromptableModel, name: str, folder: Path, prefix: str, say: Callable[[str], None]
) -> None:
    image, truth, document = (
        read_image(sample_path(name)),
        sample_labels(name),
        sample_prompts(name),
    )
    say(f"{SAMPLES[name][0]}, {image.shape[0]} × {image.shape[1]} pixels, model {model.name}")
    say(_HEAD)
    chosen_ious: list[float] = []

    def report(object_id: int, index: Index, prediction: Prediction, chosen: int) -> None:
        ious = [mask_iou(mask, truth == object_id) for mask in prediction.masks]
        chosen_ious.append(ious[chosen])
        cells = [
            f"{'→' if k == chosen else ' '} {predicted:.2f} / {iou:.2f}"
            for k, (predicted, iou) in enumerate(
                zip(prediction.predicted_iou, ious, strict=True)
            )
        ]
        words = describe_prompts(document.objects[object_id][index])
        say(f"{object_id:>6}  {words:<24}" + "   ".join(cells))

    start = time.perf_counter()
    labels = np.asarray(segment_document(model, image, document, report=report))
    seconds = time.perf_counter() - start
    write_labels(folder / f"{prefix}labels.tif", labels)
    prompts = {object_id: planes[()] for object_id, planes in document.objects.items()}
    write_png(folder / f"{prefix}overview.png", draw_overview(image, prompts, labels))
    say(
        f"{len(chosen_ious)} objects in {seconds:.1f} s, mean IoU of the chosen masks (→) "
        f"{np.mean(chosen_ious):.2f}; {folder / f'{prefix}labels.tif'}, "
        f"{folder / f'{prefix}overview.png'}\n"
    )


def describe_prompts(prompts: PlanePrompts) -> str:
    """Describe prompts in words, such as "box, 1 + and 1 −"."""
    positive = int((prompts.point_labels == FOREGROUND).sum())
    negative = len(prompts.points_yx) - positive
    regions = ["box"] * len(prompts.boxes_yxyx) + ["outline"] * len(prompts.polygons_yx)
    parts = [" and ".join(regions)] if regions else []
    clicks = [f"{n} {sign}" for n, sign in ((positive, "+"), (negative, "−")) if n]
    if clicks:
        parts.append(
            " and ".join(clicks) + (" click" if positive + negative == 1 else " clicks")
        )
    return ", ".join(parts)
