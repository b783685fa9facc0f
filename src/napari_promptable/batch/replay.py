"""Repeat a session's changes of the labels by script: the same labels without a screen."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_promptable.annotation.absence import mark_absent
from napari_promptable.annotation.automatic import FOUND, NewObjects, commit_new
from napari_promptable.annotation.history import TOUCH_UPS, Change, Verb
from napari_promptable.annotation.patches import LabelsArray, OverlapPolicy
from napari_promptable.annotation.propagated import prompts_on, to_objects
from napari_promptable.annotation.records import Key, ObjectOnSlice
from napari_promptable.annotation.session import MOVED, SegmentationSession
from napari_promptable.annotation.session_json import parse_changes
from napari_promptable.annotation.touch_up import LINE, PLANES, split_object, touch_up
from napari_promptable.batch.answering import answer_open_questions
from napari_promptable.errors import PromptError
from napari_promptable.fields import Field
from napari_promptable.files.prompts_json import PromptDocument
from napari_promptable.masks import PackedMask
from napari_promptable.plane_source import PlaneSource
from napari_promptable.planes import (
    Channel,
    Index,
    PlaneAxes,
    SliceLine,
    from_ranges,
)
from napari_promptable.predict.embeddings import EmbeddingCache, ImageEmbedding
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.progress import Progress, report_each
from napari_promptable.propagation.fields import field_of, propagate_in_field
from napari_promptable.propagation.settings import PropagationSettings
from napari_promptable.propagation.volume import VolumeMasks

LoadModel = Callable[[str], PromptableModel]
"""Loads a model by registry name, or from the path of its weights."""


def replay_document(
    load_model: LoadModel,
    image: Any,
    document: PromptDocument,
    *,
    levels: Mapping[int, Any] | None = None,
    cache: EmbeddingCache | None = None,
    labels: LabelsArray | None = None,
    progress: Progress | None = None,
) -> LabelsArray:
    """Repeat all changes that a saved session made to its labels.

    Objects that have prompts but were never committed are committed at the end.

    Parameters
    ----------
    load_model : callable
        Loads a model by name; each is loaded once.
    image : array of any kind
        With the document's shape, optionally followed by an RGB axis; only the planes that are
        needed are read.
    document : PromptDocument
        From `document_of`.
    levels : dict of int to array of any kind, optional
        The image at reduced resolution, by step; see `PlaneSource`.
    cache : EmbeddingCache, optional
        Cache to take embeddings from and keep them in.
    labels : LabelsArray, optional
        Array to write to, of the image's shape, all background; a new array in memory by
        default.
    progress : callable, optional
        Called with the number of finished and of all changes.

    Returns
    -------
    LabelsArray, shape of the image without RGB axis
        `labels`, or an ndarray of uint32: the labels of the session, if it began with empty
        ones.

    Raises
    ------
    PromptError
        If the image has another shape, or a change cannot be repeated on it.
    """
    planes = PlaneAxes(document.image_shape, document.plane_axes)
    planes.check_image(tuple(image.shape))
    labels = np.zeros(planes.shape, np.uint32) if labels is None else labels
    cache = EmbeddingCache() if cache is None else cache
    session = SegmentationSession(planes, labels)
    source = PlaneSource(image, planes, levels=levels or {})
    replay = _Replay(functools.cache(load_model), source, document.model, session, cache)
    changes = parse_changes(document)
    for change in report_each([*changes, *_open_commits(document, changes)], progress):
        replay.do(change)
    return labels


def _open_commits(document: PromptDocument, changes: Sequence[Change]) -> list[Change]:
    """Commits of objects that have prompts but no change."""
    known = {object_id for change in changes for object_id in change.object_ids}
    return [
        Change(Verb.COMMIT, (object_id,), (), {}, {}, asked={object_id: prompts})
        for object_id, prompts in document.objects.items()
        if prompts and object_id not in known
    ]


def _planes_of(change: Change) -> list[Index]:
    """At least one plane that a change concerns. Raises PromptError if none can be read."""
    try:
        first, *others = [tuple(map(int, plane)) for plane in change.details[PLANES]]
    except (KeyError, TypeError, ValueError) as error:
        raise PromptError(f"the change {change.verb} cannot be repeated ({error!r})") from error
    return [first, *others]


def _moved_in(change: Change) -> list[Key]:
    """Objects that left a plane first, with the plane. PromptError if they are malformed."""
    try:
        return [(int(i), tuple(map(int, index))) for i, index in change.details.get(MOVED, [])]
    except (TypeError, ValueError) as error:
        raise PromptError(
            f"the moved objects of a commit cannot be read ({error!r})"
        ) from error


class _Replay:
    """A session on which changes are repeated."""

    def __init__(
        self,
        load_model: LoadModel,
        image: PlaneSource,
        model: str,
        session: SegmentationSession,
        cache: EmbeddingCache,
    ) -> None:
        self._load_model, self._image, self._model_name = load_model, image, model
        self._session, self._planes = session, session.planes
        self._cache = cache

    def do(self, change: Change) -> None:
        """Repeat a change."""
        session, ids = self._session, change.object_ids
        session.labels.policy = OverlapPolicy(change.details.get("policy", OverlapPolicy.KEEP))
        if change.verb is Verb.COMMIT:
            self._commit(change)
        elif change.verb is Verb.PROPAGATE:
            self._propagate(change)
        elif change.verb is Verb.AUTOMATIC:
            new = NewObjects.from_plain(change.details.get(FOUND, []), self._planes)
            commit_new(session, new, change.details.get("settings", {}))
        elif change.verb is Verb.CLEAR:
            self._clear(change)
        elif change.verb is Verb.DELETE:
            session.delete_objects(ids)
        elif change.verb is Verb.MERGE:
            session.merge_objects(ids, into=ids[0])
        elif change.verb is Verb.RELABEL:
            session.relabel_object(ids[1], ids[0])
        elif change.verb in TOUCH_UPS:
            touch_up(session, change.verb, ids, _planes_of(change))
        elif change.verb is Verb.SPLIT:
            index, *others = _planes_of(change)
            split_object(session, ids[0], change.details[LINE], index, others)

    def _model(self, change: Change) -> PromptableModel:
        return self._load_model(str(change.details.get("model", self._model_name)))

    def _source(self, change: Change) -> PlaneSource:
        """Return a reader of planes as the model saw them."""
        channel = Channel.from_plain(change.details.get("channel"))
        return replace(self._image, channel=channel)

    def _commit(self, change: Change) -> None:
        """Answer prompts and commit the answers, object by object."""
        model, source = self._model(change), self._source(change)
        self._session.labels.write({}, _moved_in(change))
        for object_id, prompts in change.asked.items():
            self._session.prompts.select(object_id)
            self._session.prompts.replace(prompts)
            answer_open_questions(self._session, model, model.model_id, source, self._cache)
            self._session.commit()

    def _clear(self, change: Change) -> None:
        """Remove an object from the planes that the session cleared."""
        index, *beyond = _planes_of(change)
        for object_id, prompts in change.asked.items():
            self._session.prompts.select(object_id)
            self._session.prompts.replace(prompts)
            mark_absent(self._session, index, beyond)

    def _propagate(self, change: Change) -> None:
        """Propagate objects again, and write the slices that the session wrote."""
        model, source = self._model(change), self._source(change)
        line, written = self._line(change)
        settings = PropagationSettings.from_dict(change.details["settings"])

        def embed(position: int, field: Field | None) -> ImageEmbedding:
            pixels = source.read(line.at(position), field)
            return self._cache.embed(model, model.model_id, pixels)

        for object_id, prompts in change.asked.items():
            self._session.prompts.select(object_id)
            self._session.prompts.replace(prompts)
        objects = {i: prompts_on(line, prompts) for i, prompts in change.asked.items()}
        masks = VolumeMasks()
        for value in propagate_in_field(
            model,
            embed,
            line.length,
            objects,
            settings,
            self._planes.plane_shape,
            field_of(objects),
        ):
            masks.add(value)
        found = to_objects(masks, line)
        nothing = ObjectOnSlice.of_mask(PackedMask.empty(self._planes.plane_shape))
        chosen = {key: mask for key, mask in found.items() if key in written}
        chosen |= dict.fromkeys(written - found.keys(), nothing)
        self._session.commit_masks(chosen)

    def _line(self, change: Change) -> tuple[SliceLine, set[Key]]:
        """Read along which line a propagation ran, and which slices it wrote."""
        try:
            place = int(change.details["axis"])
            others = list(map(int, change.details["others"]))
            line = SliceLine.from_others(self._planes, place, others)
            written = {
                (int(object_id), line.at(position))
                for object_id, ranges in change.details["slices"].items()
                for position in from_ranges(ranges)
            }
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise PromptError(f"a propagation cannot be repeated ({error!r})") from error
        return line, written
