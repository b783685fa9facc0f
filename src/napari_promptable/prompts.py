"""Prompts for one object on one plane (numpy only)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index as as_integer
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_promptable.errors import PromptError
from napari_promptable.fields import Field
from napari_promptable.masks import FloatArray
from napari_promptable.sizes import ExpectedSize
from napari_promptable.strokes import stroke_to_clicks

FOREGROUND, BACKGROUND = 1, 0
"""Point labels of positive and negative clicks."""

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, init=False)
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
        Low-res logits of an earlier prediction, which the model refines.
    strokes_yx : sequence of array_like of float, shapes (N, 2), optional
        Free-hand strokes of any length. They become clicks along the stroke, at most 16 each,
        after the others in `points_yx`; see `napari_promptable.strokes`.
    stroke_labels : array_like of int, optional
        1 foreground, 0 background, for each stroke; all foreground by default.
    expected_size : ExpectedSize, optional
        The object's likely size, which helps where clicks alone say where it is.

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

    points_yx: FloatArray
    point_labels: IntArray
    box_yxyx: FloatArray | None
    mask_logits: FloatArray | None
    expected_size: ExpectedSize | None

    def __init__(
        self,
        points_yx: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        box_yxyx: npt.ArrayLike | None = None,
        mask_logits: npt.ArrayLike | None = None,
        strokes_yx: Sequence[npt.ArrayLike] = (),
        stroke_labels: npt.ArrayLike | None = None,
        expected_size: ExpectedSize | None = None,
    ) -> None:
        points = as_points_yx(points_yx)
        labels = as_point_labels(point_labels, len(points))
        if len(strokes_yx):
            clicks, signs = clicks_of_strokes(strokes_yx, stroke_labels)
            points, labels = np.concatenate([points, clicks]), np.concatenate([labels, signs])
        box = None
        if box_yxyx is not None:
            box = as_boxes_yxyx(_as_floats(box_yxyx, "box_yxyx")[None])[0]
        _freeze(
            self,
            points_yx=points,
            point_labels=labels,
            box_yxyx=box,
            mask_logits=None if mask_logits is None else _as_logits(mask_logits),
            expected_size=expected_size,
        )

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


@dataclass(frozen=True, eq=False, init=False)
class PlanePrompts:
    """All prompts of one object on one plane, with clicks in the order in which they were made.

    Parameters
    ----------
    points_yx, point_labels
        As in `PromptSet`.
    boxes_yxyx : array_like of float, shape (B, 4), optional
        Boxes; the object is the union of their masks.
    polygons_yx : sequence of array_like of float, shapes (V, 2), optional
        Outlines drawn by hand; each is a mask prompt.
    refines : sequence of (int or None), length P, optional
        For each click, which candidate of the answer before it the click corrects; None for
        the default candidate.
    candidate : int, optional
        The candidate chosen for the final answer; None for the default one.
    extra : dict, optional
        Unknown keys of a prompts.json, kept on round trip.
    point_extra : sequence of dict, length P, optional
        The same for each click.
    mask : array_like of bool, shape (H, W), optional
        Existing mask to correct; returned unchanged until there are clicks.
    one_part : bool, default False
        Whether the answer to clicks, boxes and outlines keeps only the connected part that
        holds the foreground clicks, and has its small holes filled.
    strokes_yx, stroke_labels
        As in `PromptSet`; they are answered together, after regions and before the clicks.
    expected_size
        As in `PromptSet`; it concerns the first answer to clicks and strokes.
    field : Field, optional
        The part of the plane on which they are answered; `mask` has its shape. By default the
        whole plane.
    """

    points_yx: FloatArray
    point_labels: IntArray
    boxes_yxyx: FloatArray
    polygons_yx: tuple[FloatArray, ...]
    refines: tuple[int | None, ...]
    candidate: int | None
    extra: Mapping[str, Any]
    point_extra: tuple[Mapping[str, Any], ...]
    mask: npt.NDArray[np.bool_] | None
    one_part: bool
    strokes_yx: tuple[FloatArray, ...]
    stroke_labels: IntArray
    expected_size: ExpectedSize | None
    field: Field | None

    def __init__(
        self,
        points_yx: npt.ArrayLike | None = None,
        point_labels: npt.ArrayLike | None = None,
        boxes_yxyx: npt.ArrayLike | None = None,
        polygons_yx: Sequence[npt.ArrayLike] = (),
        refines: Sequence[int | None] = (),
        candidate: int | None = None,
        extra: Mapping[str, Any] | None = None,
        point_extra: Sequence[Mapping[str, Any]] = (),
        mask: npt.ArrayLike | None = None,
        one_part: bool = False,
        strokes_yx: Sequence[npt.ArrayLike] = (),
        stroke_labels: npt.ArrayLike | None = None,
        expected_size: ExpectedSize | None = None,
        field: Field | None = None,
    ) -> None:
        points = as_points_yx(points_yx)
        per_point = {
            "refines": tuple(map(_as_candidate, refines)) or (None,) * len(points),
            "point_extra": tuple(point_extra) or ({},) * len(points),
        }
        for name, values in per_point.items():
            if len(values) != len(points):
                raise PromptError(f"{name} has {len(values)} values for {len(points)} points")
        _freeze(
            self,
            points_yx=points,
            point_labels=as_point_labels(point_labels, len(points)),
            boxes_yxyx=as_boxes_yxyx(() if boxes_yxyx is None else boxes_yxyx),
            polygons_yx=tuple(map(as_points_yx, polygons_yx)),
            candidate=_as_candidate(candidate),
            extra=dict(extra or {}),
            mask=None if mask is None else _as_mask(mask),
            one_part=bool(one_part),
            strokes_yx=tuple(map(_as_stroke, strokes_yx)),
            stroke_labels=as_point_labels(stroke_labels, len(strokes_yx)),
            expected_size=expected_size,
            field=field,
            **per_point,
        )

    def __eq__(self, other: object) -> bool:
        """Compare all values."""
        if not isinstance(other, PlanePrompts):
            return NotImplemented
        return self.candidate == other.candidate and self.has_same_prompts(other)

    __hash__ = None  # type: ignore[assignment]

    def has_same_prompts(self, other: PlanePrompts) -> bool:
        """Compare everything except the chosen candidate and the extras."""
        return (
            np.array_equal(self.points_yx, other.points_yx)
            and np.array_equal(self.point_labels, other.point_labels)
            and np.array_equal(self.boxes_yxyx, other.boxes_yxyx)
            and len(self.polygons_yx) == len(other.polygons_yx)
            and all(map(np.array_equal, self.polygons_yx, other.polygons_yx))
            and len(self.strokes_yx) == len(other.strokes_yx)
            and all(map(np.array_equal, self.strokes_yx, other.strokes_yx))
            and np.array_equal(self.stroke_labels, other.stroke_labels)
            and self.refines == other.refines
            and self.one_part == other.one_part
            and self.expected_size == other.expected_size
            and self.field == other.field
            and (self.mask is None) == (other.mask is None)
            and (self.mask is other.mask or np.array_equal(self.mask, other.mask))  # type: ignore[arg-type]
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is no prompt at all."""
        return not (self.num_regions or len(self.points_yx) or self.strokes_yx)

    @property
    def num_regions(self) -> int:
        """How many boxes, outlines and masks there are."""
        return len(self.boxes_yxyx) + len(self.polygons_yx) + (self.mask is not None)

    @property
    def is_answerable(self) -> bool:
        """Whether something says where the object is, not only where it is not."""
        signs = np.concatenate([self.point_labels, self.stroke_labels])
        return self.num_regions > 0 or bool((signs == FOREGROUND).any())

    @property
    def says_absent(self) -> bool:
        """Whether there are background clicks only: the object is not on this plane."""
        return not self.is_empty and not self.is_answerable

    def with_points(self, chosen: slice | npt.NDArray[np.bool_]) -> PlanePrompts:
        """Keep only the clicks that a slice or mask selects, and all other prompts."""
        index = np.arange(len(self.points_yx))[chosen]
        return replace(
            self,
            points_yx=self.points_yx[index],
            point_labels=self.point_labels[index],
            refines=tuple(self.refines[i] for i in index),
            point_extra=tuple(self.point_extra[i] for i in index),
        )


def clicks_of_strokes(
    strokes_yx: Sequence[npt.ArrayLike], stroke_labels: npt.ArrayLike | None
) -> tuple[FloatArray, IntArray]:
    """Clicks (P, 2) that stand for strokes, and their labels (P,)."""
    signs = as_point_labels(stroke_labels, len(strokes_yx))
    clicks = [stroke_to_clicks(_as_stroke(stroke)) for stroke in strokes_yx]
    counts = [len(each) for each in clicks]
    return np.concatenate([np.empty((0, 2), np.float32), *clicks]), np.repeat(signs, counts)


def _freeze(value: object, **attributes: object) -> None:
    """Set the attributes of a frozen value under construction."""
    for name, attribute in attributes.items():
        object.__setattr__(value, name, attribute)


def _as_stroke(stroke_yx: npt.ArrayLike) -> FloatArray:
    """Convert a stroke to float32, shape (N, 2). Raises PromptError if it is empty."""
    stroke = as_points_yx(stroke_yx)
    if len(stroke) == 0:
        raise PromptError("a stroke has no points; give at least one (row, col) pair")
    return stroke


def _as_logits(mask_logits: npt.ArrayLike) -> FloatArray:
    """Check and convert logits to float32, shape (h, w). Raises PromptError otherwise."""
    logits = _as_floats(mask_logits, "mask_logits")
    if logits.ndim == 3 and len(logits) == 1:
        logits = logits[0]
    if logits.ndim != 2:
        raise PromptError(
            f"mask_logits have shape {logits.shape}; give one (h, w) plane of low_res_logits: "
            "index the candidate first"
        )
    if not np.isfinite(logits).all():
        raise PromptError("mask_logits hold NaN or infinity; give finite numbers")
    return logits


def _as_mask(mask: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Check and convert a mask to bool, shape (H, W). Raises PromptError if it is empty."""
    pixels = np.asarray(mask, bool)
    if pixels.ndim != 2 or not pixels.any():
        raise PromptError(
            f"a mask must be an (H, W) array with at least one pixel, not {pixels.shape} with "
            f"{np.count_nonzero(pixels)}"
        )
    return pixels


def as_points_yx(points_yx: npt.ArrayLike | None) -> FloatArray:
    """Check and convert positions to float32, shape (P, 2). Raises PromptError otherwise."""
    points = _as_floats([] if points_yx is None else points_yx, "points_yx")
    if points.size == 0:
        points = points.reshape(0, 2)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise PromptError(
            f"points must be finite (row, col) pairs of shape (P, 2), not {points_yx!r}"
        )
    return points


def as_point_labels(point_labels: npt.ArrayLike | None, count: int) -> IntArray:
    """Check and convert point labels to int64, shape (count,). Raises PromptError otherwise."""
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
    """Check and convert boxes to float32, shape (B, 4). Raises PromptError otherwise."""
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
    """Convert to float32 (overflow gives infinity). Raises PromptError if not numbers."""
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
    return as_whole_number(candidate, "a candidate", "0, 1, 2 … or None", least=0)


def as_whole_number(
    value: object, name: str, allowed: str = "a whole number", least: int | None = None
) -> int:
    """Check and convert a whole number.

    Parameters
    ----------
    value : object
        An int or a numpy integer, for example.
    name, allowed : str
        For the message: what the number is, and which values are allowed.
    least : int, optional
        Smallest number allowed.

    Returns
    -------
    int
        The number.

    Raises
    ------
    PromptError
        If the value is no whole number, or too small.
    """
    try:
        number = as_integer(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or (least is not None and number < least):
        raise PromptError(f"{name} must be {allowed}, not {value!r}")
    return number
