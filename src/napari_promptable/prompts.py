"""Prompt values: what is asked about one object on one plane (numpy only)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import index as as_integer
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import PromptError

FOREGROUND, BACKGROUND = 1, 0
"""Point labels of positive and negative clicks."""

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PromptSet:
    """One question to the model: one object on one plane.

    Parameters
    ----------
    points_yx : array_like of float, shape (P, 2), optional
        Clicks, (row, col) in image pixels, pixel centres at integers.
    point_labels : array_like of int, shape (P,), optional
        1 foreground, 0 background; all foreground by default.
    box_yxyx : array_like of float, shape (4,), optional
        Rows and columns of the object's first and last pixel: (top, left, bottom, right).
    mask_logits : array_like of float, shape (h, w) or (1, h, w), optional
        Low-res logits of an earlier prediction, to be refined.

    Raises
    ------
    PromptError
        If shapes do not match, a number is not finite, a label is neither 0 nor 1, or the
        box ends before it starts.

    Examples
    --------
    >>> prompts = PromptSet(points_yx=[[40, 52], [10, 9]], point_labels=[1, 0])
    >>> prompts.points_yx.shape, prompts.is_ambiguous
    ((2, 2), False)
    """

    points_yx: FloatArray = field(default=None)  # type: ignore[assignment]
    point_labels: IntArray = field(default=None)  # type: ignore[assignment]
    box_yxyx: FloatArray | None = None
    mask_logits: FloatArray | None = None

    def __post_init__(self) -> None:
        points = as_points_yx(self.points_yx)
        object.__setattr__(self, "points_yx", points)
        object.__setattr__(self, "point_labels", as_point_labels(self.point_labels, len(points)))
        if self.box_yxyx is not None:
            boxes = _as_floats(self.box_yxyx, "box_yxyx")[None]
            object.__setattr__(self, "box_yxyx", as_boxes_yxyx(boxes)[0])
        if self.mask_logits is not None:
            logits = _as_floats(self.mask_logits, "mask_logits")
            if logits.ndim == 3 and len(logits) == 1:
                logits = logits[0]
            if logits.ndim != 2:
                raise PromptError(
                    f"mask_logits have shape {logits.shape}; one (h, w) plane of low_res_logits "
                    "is needed: index the candidate first"
                )
            if not np.isfinite(logits).all():
                raise PromptError("mask_logits hold NaN or infinity; give finite numbers")
            object.__setattr__(self, "mask_logits", logits)

    @property
    def is_answerable(self) -> bool:
        """Whether something says where the object is, not only where it is not."""
        return (
            self.box_yxyx is not None
            or self.mask_logits is not None
            or bool((self.point_labels == FOREGROUND).any())
        )

    @property
    def is_ambiguous(self) -> bool:
        """Whether this is a single click, which may mean a part or the whole."""
        return self.box_yxyx is None and self.mask_logits is None and len(self.points_yx) == 1


@dataclass(frozen=True, eq=False)
class PlanePrompts:
    """All prompts of one object on one plane, in the order in which clicks were made.

    Parameters
    ----------
    points_yx, point_labels
        As in `PromptSet`.
    boxes_yxyx : array_like of float, shape (B, 4), optional
        Boxes; the masks of several are united.
    polygons_yx : sequence of array_like of float, shapes (V, 2), optional
        Outlines drawn by hand; each is a mask prompt.
    refines : sequence of (int or None), length P, optional
        For each click, the candidate of the answer before it that it corrects; None is the
        one that was offered.
    candidate : int, optional
        The candidate chosen for the final answer; None is the one that was offered.
    extra : dict, optional
        What a prompts.json may hold besides.
    point_extra : sequence of dict, length P, optional
        The same for each click.
    """

    points_yx: FloatArray = field(default=None)  # type: ignore[assignment]
    point_labels: IntArray = field(default=None)  # type: ignore[assignment]
    boxes_yxyx: FloatArray = field(default=None)  # type: ignore[assignment]
    polygons_yx: tuple[FloatArray, ...] = ()
    refines: tuple[int | None, ...] = ()
    candidate: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    point_extra: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        points = as_points_yx(self.points_yx)
        refines = tuple(map(_as_candidate, self.refines)) or (None,) * len(points)
        point_extra = tuple(self.point_extra) or ({},) * len(points)
        for name, values in (("refines", refines), ("point_extra", point_extra)):
            if len(values) != len(points):
                raise PromptError(f"{name} has {len(values)} values for {len(points)} points")
        boxes = () if self.boxes_yxyx is None else self.boxes_yxyx
        object.__setattr__(self, "points_yx", points)
        object.__setattr__(self, "point_labels", as_point_labels(self.point_labels, len(points)))
        object.__setattr__(self, "boxes_yxyx", as_boxes_yxyx(boxes))
        object.__setattr__(self, "polygons_yx", tuple(map(as_points_yx, self.polygons_yx)))
        object.__setattr__(self, "refines", refines)
        object.__setattr__(self, "candidate", _as_candidate(self.candidate))
        object.__setattr__(self, "point_extra", point_extra)

    def __eq__(self, other: object) -> bool:
        """Compare all values."""
        if not isinstance(other, PlanePrompts):
            return NotImplemented
        return self.candidate == other.candidate and self.has_same_prompts(other)

    __hash__ = None  # type: ignore[assignment]

    def has_same_prompts(self, other: PlanePrompts) -> bool:
        """Compare everything but the chosen candidate and the extras."""
        return (
            np.array_equal(self.points_yx, other.points_yx)
            and np.array_equal(self.point_labels, other.point_labels)
            and np.array_equal(self.boxes_yxyx, other.boxes_yxyx)
            and len(self.polygons_yx) == len(other.polygons_yx)
            and all(map(np.array_equal, self.polygons_yx, other.polygons_yx))
            and self.refines == other.refines
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is no prompt at all."""
        return not (len(self.points_yx) or len(self.boxes_yxyx) or self.polygons_yx)

    @property
    def is_answerable(self) -> bool:
        """Whether something says where the object is, not only where it is not."""
        has_region = len(self.boxes_yxyx) > 0 or len(self.polygons_yx) > 0
        return has_region or bool((self.point_labels == FOREGROUND).any())

    def with_points(self, chosen: npt.ArrayLike) -> PlanePrompts:
        """Keep the clicks that an index array or mask chooses, and everything else."""
        index = np.arange(len(self.points_yx))[chosen]
        return replace(
            self,
            points_yx=self.points_yx[index],
            point_labels=self.point_labels[index],
            refines=tuple(self.refines[i] for i in index),
            point_extra=tuple(self.point_extra[i] for i in index),
        )


def as_points_yx(points_yx: npt.ArrayLike | None) -> FloatArray:
    """Check and convert positions to float32, shape (P, 2); PromptError otherwise."""
    points = _as_floats([] if points_yx is None else points_yx, "points_yx")
    if points.size == 0:
        points = points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise PromptError(
            f"points must be finite (row, col) pairs of shape (P, 2), not {points_yx!r}"
        )
    return points


def as_point_labels(point_labels: npt.ArrayLike | None, count: int) -> IntArray:
    """Check and convert point labels to int64, shape (count,); PromptError otherwise."""
    if point_labels is None:
        return np.ones(count, np.int64)
    labels = np.asarray(point_labels)
    if labels.size == 0:
        labels = labels.astype(np.int64).reshape(0)
    if labels.shape != (count,) or not np.isin(labels, (BACKGROUND, FOREGROUND)).all():
        raise PromptError(
            f"point labels must be {count} numbers, one per point, each 1 (foreground) or "
            f"0 (background), not {point_labels!r}"
        )
    return labels.astype(np.int64)


def as_boxes_yxyx(boxes_yxyx: npt.ArrayLike | Sequence[npt.ArrayLike]) -> FloatArray:
    """Check and convert boxes to float32, shape (B, 4); PromptError otherwise."""
    boxes = _as_floats(boxes_yxyx, "boxes_yxyx")
    if boxes.shape == (0,):
        boxes = boxes.reshape(0, 4)
    is_valid = boxes.ndim == 2 and boxes.shape[1] == 4 and np.isfinite(boxes).all()
    if not is_valid or (boxes[:, :2] > boxes[:, 2:]).any():
        raise PromptError(
            "a box must be four finite numbers (top, left, bottom, right) with top <= bottom "
            f"and left <= right, not {boxes_yxyx!r}"
        )
    return boxes


def _as_floats(values: npt.ArrayLike | Sequence[npt.ArrayLike], name: str) -> FloatArray:
    """Convert to float32, too large numbers to infinity; PromptError if there are no numbers."""
    try:
        with np.errstate(over="ignore"):
            return np.asarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise PromptError(
            f"{name} must be numbers in a regular array, not {values!r} ({error})"
        ) from error


def _as_candidate(candidate: int | None) -> int | None:
    """Check and convert the index of a candidate."""
    if candidate is None:
        return None
    try:
        number = as_integer(candidate)
    except TypeError:
        number = -1
    if number < 0:
        raise PromptError(f"a candidate must be 0, 1, 2 … or None, not {candidate!r}")
    return number
