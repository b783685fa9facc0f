"""Objects found without prompts: committing them as one change, and keeping it in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_promptable.annotation.answers import PackedAnswer, Question
from napari_promptable.annotation.history import Verb
from napari_promptable.annotation.outcomes import Outcome, outcome_of_writing
from napari_promptable.annotation.patches import Extent, PlacedIds, find_extents, shift_extent
from napari_promptable.annotation.records import Key
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.errors import PromptError
from napari_promptable.files.run_lengths import decode_mask, encode_mask
from napari_promptable.instances.linking import link_slices
from napari_promptable.masks import PackedMask
from napari_promptable.planes import Index, PlaneAxes
from napari_promptable.prompts import PlanePrompts

if TYPE_CHECKING:  # imports torch
    from napari_promptable.instances.automatic import AutomaticResult

FOUND = "found"
"""Key of a change's details for the objects by plane."""


@dataclass(frozen=True, eq=False)
class NewObjects:
    """Objects to write where nothing is yet.

    Attributes
    ----------
    planes : dict of Index to PlacedIds
        Their ids.
    confidence : dict of (object id, Index) to float
        Of each of them.
    """

    planes: Mapping[Index, PlacedIds]
    confidence: Mapping[Key, float]

    @classmethod
    def of_results(cls, results: Mapping[Index, AutomaticResult], first_id: int) -> NewObjects:
        """Number the objects of some planes. Ones that overlap on neighbours become one.

        Parameters
        ----------
        results : dict of Index to AutomaticResult
            Of the same part of each plane, in the order in which to link them.
        first_id : int
            Lowest id.
        """
        labels = [result.new_labels for result in results.values()]
        planes: dict[Index, PlacedIds] = {}
        confidence: dict[Key, float] = {}
        ids_by_plane = link_slices(labels, first_id)
        for (index, result), ids in zip(results.items(), ids_by_plane, strict=True):
            table = np.zeros(len(ids) + 1, np.int64)
            table[list(ids)] = list(ids.values())
            planes[index] = PlacedIds(table[result.new_labels], result.corner)
            for label, object_id in ids.items():
                confidence[object_id, index] = result.chosen[label].confidence
        return cls(planes, confidence)

    def with_answers(self, answers: Iterable[PackedAnswer]) -> NewObjects:
        """Add answers to `ask_about_gaps`, where no other new object is."""
        planes = {
            index: replace(placed, ids=placed.ids.copy())
            for index, placed in self.planes.items()
        }
        confidence = dict(self.confidence)
        for answer in answers:
            found, key = answer.on_slice, (answer.question.object_id, answer.question.index)
            assert found.mask is not None
            placed = planes[key[1]]
            free = placed.free_of(found.mask)
            if free.any():
                placed.ids[free], confidence[key] = key[0], found.confidence
        return NewObjects(planes, confidence)

    def to_plain(self) -> list[dict[str, Any]]:
        """Describe them as plain data for a file. `from_plain` undoes it."""
        return [
            {
                "index": list(index),
                "objects": [
                    {
                        "id": object_id,
                        "corner": [
                            placed.corner[0] + rows.start,
                            placed.corner[1] + columns.start,
                        ],
                        **encode_mask(placed.ids[rows, columns] == object_id),
                        "confidence": round(self.confidence[object_id, index], 6),
                    }
                    for object_id, (rows, columns) in find_extents(placed.ids).items()
                ],
            }
            for index, placed in self.planes.items()
        ]

    @classmethod
    def from_plain(cls, plain: Sequence[Mapping[str, Any]], planes: PlaneAxes) -> NewObjects:
        """Read what `to_plain` made. Raises PromptError if it is malformed or does not fit."""
        drawn: dict[Index, PlacedIds] = {}
        confidence: dict[Key, float] = {}
        try:
            for entry in plain:
                index = tuple(int(i) for i in entry["index"])
                masks = {
                    int(one["id"]): _read_mask(one, planes.plane_shape)
                    for one in entry["objects"]
                }
                drawn[index] = _draw(masks)
                for one in entry["objects"]:
                    confidence[int(one["id"]), index] = float(one["confidence"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise PromptError(f"automatic objects cannot be read ({error!r})") from error
        return cls(drawn, confidence)


def _read_mask(plain: Mapping[str, Any], shape: tuple[int, int]) -> PackedMask:
    """Read the mask of one object. Raises ValueError if it does not lie on the plane."""
    crop, (top, left) = decode_mask(plain), map(int, plain["corner"])
    is_inside = top + crop.shape[0] <= shape[0] and left + crop.shape[1] <= shape[1]
    if min(top, left) < 0 or not is_inside:
        raise ValueError(f"corner {plain['corner']} on a plane of {shape}")
    return PackedMask.pack_crop(crop, (top, left), shape)


def _draw(masks: Mapping[int, PackedMask]) -> PlacedIds:
    """Draw the masks of a plane, on no more rows and columns than needed."""
    extent = PackedMask.unite(list(masks.values())).region if masks else None
    if extent is None:
        return PlacedIds(np.zeros((0, 0), np.int64))
    rows, columns = extent
    ids = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.int64)
    for object_id, mask in masks.items():
        ids[mask.within(extent)] = object_id
    return PlacedIds(ids, (rows.start, columns.start))


def ask_about_gaps(new: NewObjects, results: Mapping[Index, AutomaticResult]) -> list[Question]:
    """Ask about objects that were missed on a single plane between two others.

    Parameters
    ----------
    new : NewObjects
        From these results.
    results : dict of Index to AutomaticResult
        In the order in which they were linked. Where the user has rejected an object, none is
        missing.

    Returns
    -------
    list of Question
        A box each, halfway between the object's boxes on both neighbours.
    """
    extents = [_extents_of(placed) for placed in new.planes.values()]
    indices = list(new.planes)
    questions = []
    for index, before, here, after in zip(
        indices[1:-1], extents, extents[1:], extents[2:], strict=False
    ):
        for object_id in sorted((before.keys() & after.keys()) - here.keys()):
            box = (_box_of(before[object_id]) + _box_of(after[object_id])) / 2
            if not results[index].rejects(box.reshape(2, 2).mean(axis=0)):
                prompts = PlanePrompts(boxes_yxyx=[box], one_part=True)
                questions.append(Question(object_id, index, prompts))
    return questions


def _extents_of(placed: PlacedIds) -> dict[int, Extent]:
    """Rows and columns of the plane of each object."""
    moved = {
        object_id: shift_extent(place, placed.extent)
        for object_id, place in find_extents(placed.ids).items()
    }
    return {object_id: extent for object_id, extent in moved.items() if extent is not None}


def _box_of(extent: Extent) -> npt.NDArray[np.float64]:
    """First and last row and column: (top, left, bottom, right)."""
    rows, columns = extent
    return np.array([rows.start, columns.start, rows.stop - 1, columns.stop - 1], float)


def first_free_id(session: SegmentationSession) -> int:
    """Lowest id above all that are in use, or the current object's id if it has nothing yet."""
    prompts, records = session.prompts, session.records
    current = prompts.current_object
    highest = max([*prompts.objects, *records.object_ids], default=0)
    return max(current, highest + 1)


def commit_new(
    session: SegmentationSession, new: NewObjects, settings: Mapping[str, Any]
) -> Outcome:
    """Write new objects as one entry of the history, then begin another object.

    Parameters
    ----------
    session : SegmentationSession
        Its existing labels keep every pixel, whatever its policy.
    new : NewObjects
        With free ids.
    settings : dict
        How they were found; plain values, kept with the change.

    Raises
    ------
    LabelError
        If an id does not fit the labels; nothing is written.
    """
    ids = tuple(dict.fromkeys(object_id for object_id, _ in new.confidence))
    written = session.labels.add(new.planes, new.confidence)
    if written.num_pixels:
        details = {"settings": dict(settings), FOUND: new.to_plain()}
        session.add_change(Verb.AUTOMATIC, ids, written, {}, details=details)
        session.prompts.new_object()
    return outcome_of_writing(Verb.AUTOMATIC, ids, written)
