"""Point and box prompts, or a grid of clicks → masks from any model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from napari_promptable.instances.by_maps import mask_agreement, stability_of
from napari_promptable.instances.found import FoundObject, tidy_mask
from napari_promptable.instances.seeds import Seed
from napari_promptable.instances.settings import AutomaticSettings
from napari_promptable.masks import BoolArray, PackedMask
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.prediction import Prediction
from napari_promptable.predict.segmenter import Segmenter
from napari_promptable.progress import Progress
from napari_promptable.prompts import PromptSet

_AT_ONCE = 16  # prompts whose answers are held


def answer_seeds_by(
    model: Segmenter, embedding: ImageEmbedding, seeds: Sequence[Seed], progress: Progress
) -> Iterator[FoundObject]:
    """Answer seeds that another network found.

    Parameters
    ----------
    model : Segmenter
        Answers prompts.
    embedding : ImageEmbedding
        Of the image, made by it.
    seeds : sequence of Seed
        Of views of the same image.
    progress : callable
        Called with the numbers of finished and of all seeds.

    Yields
    ------
    FoundObject
        One per seed that got a mask.
    """
    prompts = [seed.prompts_in_image() for seed in seeds]
    for number, prediction in _answer(model, embedding, prompts, None, progress):
        region = seeds[number].region_on(embedding.low_res_valid, embedding.original_size)
        rows, columns = region.shape
        agreements = np.array(
            [
                mask_agreement(logits[:rows, :columns] > 0, region)
                for logits in prediction.low_res_logits
            ]
        )
        best = int(np.argmax(prediction.predicted_iou * agreements))
        yield _draw(prediction, best, float(agreements[best]))


def answer_grid(
    model: Segmenter,
    embedding: ImageEmbedding,
    settings: AutomaticSettings,
    region: BoolArray,
    progress: Progress,
) -> Iterator[FoundObject]:
    """Click on a grid of positions, as SAM does, and keep what is sure and stable.

    Parameters
    ----------
    model, embedding, progress
        As in `answer_seeds_by`.
    settings : AutomaticSettings
        Distance of the clicks; masks below its thresholds are not even drawn.
    region : ndarray of bool, shape (H, W)
        Where to click.

    Yields
    ------
    FoundObject
        Up to three per click.
    """
    points = grid_points(embedding.original_size, settings.points_per_side)
    points = points[region[tuple(points.astype(int).T)]]
    prompts = [PromptSet([point]) for point in points]
    for _, prediction in _answer(model, embedding, prompts, True, progress):
        for candidate, predicted_iou in enumerate(prediction.predicted_iou):
            stability = stability_of(prediction.low_res_logits[candidate])
            if predicted_iou >= settings.min_confidence and stability >= settings.min_stability:
                yield _draw(prediction, candidate, 1.0)


def grid_points(size: tuple[int, int], points_per_side: int) -> npt.NDArray[np.float32]:
    """Spread positions evenly over an image.

    Parameters
    ----------
    size : (int, int)
        Height and width in pixels.
    points_per_side : int
        Along the longer side.

    Returns
    -------
    ndarray of float32, shape (P, 2)
        (row, col), each in the middle of a square of the grid.
    """
    counts = [max(1, round(points_per_side * length / max(size))) for length in size]
    rows, columns = (
        (np.arange(count) + 0.5) * length / count - 0.5
        for count, length in zip(counts, size, strict=True)
    )
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
    return np.maximum(grid.reshape(-1, 2), 0).astype(np.float32)


def _answer(
    model: Segmenter,
    embedding: ImageEmbedding,
    prompts: Sequence[PromptSet],
    multimask_output: bool | None,
    progress: Progress,
) -> Iterator[tuple[int, Prediction]]:
    """Answer some prompts at a time. Yields their numbers, too."""
    for start in range(0, len(prompts), _AT_ONCE):
        some = prompts[start : start + _AT_ONCE]
        answers = model.predict_many(embedding, some, multimask_output)
        yield from enumerate(answers, start)
        progress(start + len(some), len(prompts))


def _draw(prediction: Prediction, candidate: int, agreement: float) -> FoundObject:
    """Bring one candidate to image pixels."""
    drawn = prediction.mask(candidate)
    mask = PackedMask.pack_crop(drawn, (0, 0), (drawn.shape[0], drawn.shape[1]))
    crop = tidy_mask(mask.crop())
    corner = (0, 0) if mask.region is None else tuple(part.start for part in mask.region)
    return FoundObject(
        PackedMask.pack_crop(crop, (corner[0], corner[1]), mask.shape),
        int(np.count_nonzero(crop)),
        float(prediction.predicted_iou[candidate]),
        agreement,
        stability_of(prediction.low_res_logits[candidate]),
    )
