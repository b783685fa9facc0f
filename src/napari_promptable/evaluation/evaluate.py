"""Scoring a model on labelled images: simulated prompts, masks compared by IoU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_promptable.errors import PromptError
from napari_promptable.evaluation.labelled_images import LabelledFile
from napari_promptable.masks import interior_point_yx, mask_iou, mask_region, mask_to_box_yxyx
from napari_promptable.predict.click_by_click import answer_prompts
from napari_promptable.predict.embeddings import ImageEmbedding
from napari_promptable.predict.predictor import PromptableModel, encode_image
from napari_promptable.progress import Progress, report_each
from napari_promptable.prompts import BACKGROUND, FOREGROUND, PlanePrompts
from napari_promptable.sizes import ExpectedSize, expect_size

PROMPTS = ("point", "box")
MIN_AREA = 20
"""Smallest object that is scored, in pixels."""

MAX_JITTER_PX = 20.0
"""Largest shift of a box side by jitter, in pixels (SAM, arXiv 2304.02643, appendix A)."""

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Protocol:
    """How each object is prompted.

    Attributes
    ----------
    prompt : str
        "point": the interior point farthest from the border; "box": the exact bounding box.
    box_jitter : float
        Standard deviation of the shift of each side, relative to the box's height or width;
        simulates hasty boxes.
    corrections : int
        Number of correcting clicks, each inside the largest error region.
    seed : int
        Seed of the jitter and of the choice of objects.
    after : int
        Number of other objects of the same image whose sizes are known, as if they had been
        committed before; fewer where there are fewer.
    most_objects : int or None
        Number of objects of each plane to score at most, drawn at random; None scores all.
    """

    prompt: str = "point"
    box_jitter: float = 0.0
    corrections: int = 0
    seed: int = 0
    after: int = 0
    most_objects: int | None = None

    def __post_init__(self) -> None:
        """Validate the values. Raises PromptError if one is not allowed."""
        if self.prompt not in PROMPTS:
            raise PromptError(f"the prompt is one of {', '.join(PROMPTS)}, not {self.prompt!r}")
        if not 0 <= self.box_jitter < 1:
            raise PromptError(
                f"the box jitter is a share of the sides, 0 to 1, not {self.box_jitter}"
            )
        if self.corrections < 0:
            raise PromptError(f"{self.corrections} corrections cannot be made; give 0 or more")
        if self.after < 0:
            raise PromptError(f"{self.after} objects cannot be known before; give 0 or more")
        if self.most_objects is not None and self.most_objects < 1:
            raise PromptError(f"{self.most_objects} objects cannot be scored; give 1 or more")


@dataclass(frozen=True)
class ObjectScore:
    """Scores of one object.

    Attributes
    ----------
    label : int
        Its value in the labels.
    area : int
        Pixels.
    ious : tuple of float
        IoU of the offered mask after 0, 1, … corrections.
    oracle_iou : float
        The best IoU among the candidates of the first answer.
    predicted_iou : float
        The model's own estimate for the first offered mask.
    """

    label: int
    area: int
    ious: tuple[float, ...]
    oracle_iou: float
    predicted_iou: float


@dataclass(frozen=True)
class ImageScore:
    """Scores of all objects on one plane."""

    dataset: str
    name: str
    objects: tuple[ObjectScore, ...]


def evaluate_files(
    model: PromptableModel,
    files: Sequence[LabelledFile],
    protocol: Protocol,
    progress: Progress | None = None,
) -> Iterator[ImageScore]:
    """Score every plane of every file.

    Parameters
    ----------
    model : PromptableModel
        From `load_model`.
    files : sequence of LabelledFile
        Images and labels.
    protocol : Protocol
        How objects are prompted.
    progress : callable, optional
        Called with the number of finished and of all files.

    Yields
    ------
    ImageScore
        Scores of each plane that has objects.

    Raises
    ------
    ImageFormatError
        If a file cannot be read, or image and labels do not match.
    """
    for file in report_each(files, progress):
        for name, image, labels in file.planes():
            scores = evaluate_plane(model, image, labels, protocol)
            if scores:
                yield ImageScore(file.dataset, name, scores)


def evaluate_plane(
    model: PromptableModel,
    image: npt.NDArray[Any],
    labels: npt.NDArray[np.integer[Any]],
    protocol: Protocol,
) -> tuple[ObjectScore, ...]:
    """Score the objects of one plane.

    Parameters
    ----------
    model : PromptableModel
        From `load_model`.
    image : ndarray, shape (H, W), (H, W, 3) or (H, W, 4)
        Pixels, with robust contrast as in `encode_image`.
    labels : ndarray of int, shape (H, W)
        0 is background.
    protocol : Protocol
        How objects are prompted.

    Returns
    -------
    tuple of ObjectScore
        For each label of at least `MIN_AREA` pixels, or some of these, in ascending order.
    """
    if not any(_scored_labels(labels)):
        return ()
    return score_objects(model, encode_image(model, image), labels, protocol)


def score_objects(
    model: PromptableModel,
    embedding: ImageEmbedding,
    labels: npt.NDArray[np.integer[Any]],
    protocol: Protocol,
) -> tuple[ObjectScore, ...]:
    """Score the objects of an encoded plane. See `evaluate_plane`."""
    areas = _scored_labels(labels)
    chosen = list(areas)
    if protocol.most_objects is not None:
        rng = np.random.default_rng(protocol.seed)
        chosen = sorted(rng.permutation(chosen)[: protocol.most_objects].tolist())
    return tuple(
        _score_object(
            model,
            embedding,
            labels == label,
            label,
            protocol,
            _expected_size(label, areas, protocol),
        )
        for label in chosen
    )


def _scored_labels(labels: npt.NDArray[np.integer[Any]]) -> dict[int, int]:
    """Labels of at least `MIN_AREA` pixels in ascending order, and their areas."""
    values, areas = np.unique(labels[labels != 0], return_counts=True)
    found = zip(values.tolist(), areas.tolist(), strict=True)
    return {label: area for label, area in found if area >= MIN_AREA}


def _expected_size(
    label: int, areas: Mapping[int, int], protocol: Protocol
) -> ExpectedSize | None:
    """Expect the size of some others of the same plane."""
    rng = np.random.default_rng([protocol.seed, label])
    others = rng.permutation([area for each, area in areas.items() if each != label])
    return expect_size(others[: protocol.after].tolist())


def _score_object(
    model: PromptableModel,
    embedding: ImageEmbedding,
    truth: BoolArray,
    label: int,
    protocol: Protocol,
    expected_size: ExpectedSize | None,
) -> ObjectScore:
    """Prompt one object, then correct the answer click by click."""
    rng = np.random.default_rng([protocol.seed, label])
    prompts = replace(first_prompt(truth, protocol, rng), expected_size=expected_size)
    steps = answer_prompts(model, embedding, prompts)
    first = steps[-1].prediction
    ious = [mask_iou(first.mask(first.default), truth)]
    for _ in range(protocol.corrections):
        last = steps[-1].prediction
        correction = correction_click(truth, last.mask(last.default))
        if correction is not None:
            point_yx, sign = correction
            prompts = PlanePrompts(
                [*prompts.points_yx, point_yx],
                [*prompts.point_labels, sign],
                prompts.boxes_yxyx,
                expected_size=prompts.expected_size,
            )
            steps = answer_prompts(model, embedding, prompts, steps)
            last = steps[-1].prediction
        ious.append(mask_iou(last.mask(last.default), truth))
    return ObjectScore(
        label,
        int(np.count_nonzero(truth)),
        tuple(ious),
        max(mask_iou(mask, truth) for mask in first.masks),
        float(first.predicted_iou[first.default]),
    )


def first_prompt(
    truth: BoolArray, protocol: Protocol, rng: np.random.Generator
) -> PlanePrompts:
    """Make an object's first prompt.

    Parameters
    ----------
    truth : ndarray of bool, shape (H, W)
        The object.
    protocol : Protocol
        Point or box, and the box's jitter.
    rng : numpy.random.Generator
        Source of the jitter.

    Returns
    -------
    PlanePrompts
        One point or one box.
    """
    if protocol.prompt == "point":
        return PlanePrompts([interior_point_yx(truth)])
    return PlanePrompts(
        boxes_yxyx=[jitter_box(mask_to_box_yxyx(truth), protocol.box_jitter, truth.shape, rng)]
    )


def jitter_box(
    box_yxyx: FloatArray,
    jitter: float,
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Move each side of a box at random.

    Parameters
    ----------
    box_yxyx : ndarray, shape (4,)
        First and last row and column.
    jitter : float
        Standard deviation relative to the box's height or width; shifts are capped at
        `MAX_JITTER_PX`.
    shape : (int, int)
        Shape of the image; the box stays inside.
    rng : numpy.random.Generator
        Source of the jitter.

    Returns
    -------
    ndarray of float32, shape (4,)
        The moved box, at least one pixel wide and high.
    """
    sides = np.tile(box_yxyx[2:] - box_yxyx[:2] + 1, 2)
    noise = np.clip(jitter * sides * rng.standard_normal(4), -MAX_JITTER_PX, MAX_JITTER_PX)
    limit = np.array(shape[:2]) - 1
    corners = np.clip((box_yxyx + noise).reshape(2, 2), 0, limit)
    moved: npt.NDArray[np.float32] = np.sort(corners, axis=0).ravel().astype(np.float32)
    return moved


def correction_click(
    truth: BoolArray, mask: BoolArray
) -> tuple[npt.NDArray[np.float32], int] | None:
    """Find where a user would click next.

    Parameters
    ----------
    truth, mask : ndarray of bool, shape (H, W)
        The true object and the model's answer.

    Returns
    -------
    point_yx : ndarray of float32, shape (2,)
        Interior point of the largest connected error region.
    label : int
        1 where the mask lacks pixels, 0 where it has too many.

    None if the mask equals the object.
    """
    around = mask_region(truth | mask)
    if around is None:
        return None
    truth, mask = truth[around], mask[around]
    errors = [
        (largest_part(error), sign)
        for error, sign in ((truth & ~mask, FOREGROUND), (mask & ~truth, BACKGROUND))
        if error.any()
    ]
    if not errors:
        return None
    error, sign = max(errors, key=lambda part: np.count_nonzero(part[0]))
    offset = np.array([part.start for part in around], np.float32)
    return interior_point_yx(error) + offset, sign


def largest_part(region: BoolArray) -> BoolArray:
    """Return the largest connected part of a non-empty region."""
    parts, _ = ndimage.label(region)
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    largest: BoolArray = parts == areas.argmax()
    return largest
