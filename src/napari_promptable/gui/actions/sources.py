"""Objects from points and shapes in the user's own layers."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace
from itertools import count
from weakref import WeakKeyDictionary

from napari.components import ViewerModel
from napari.layers import Layer, Points, Shapes

from napari_promptable.annotation.answers import Question
from napari_promptable.annotation.prompt_groups import SinglePrompt, group_prompts
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.gui.actions import messages
from napari_promptable.gui.actions.performer import Performer
from napari_promptable.gui.actions.prompting import PromptActions
from napari_promptable.gui.layers.adapters import BOXES_NAME, POINTS_NAME
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.foreign_prompts import read_foreign
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.panels.sources import BOXES, POINTS, SourcePanel

_KINDS: dict[str, tuple[type[Layer], str]] = {
    POINTS: (Points, POINTS_NAME),
    BOXES: (Shapes, BOXES_NAME),
}


class SourceActions:
    """Makes objects of the points and shapes in layers that the user chose.

    The layers are read at each request, so that edits count. Points and shapes are left out
    while the object that was made of them exists.

    Parameters
    ----------
    viewer : ViewerModel
        Holds the layers.
    workspace : Workspace
        Holds the annotation job.
    performer : Performer
        Reports success and errors.
    actions : PromptActions
        Answers questions.
    panel : SourcePanel
        The controls.

    """

    def __init__(
        self,
        viewer: ViewerModel,
        workspace: Workspace,
        performer: Performer,
        actions: PromptActions,
        panel: SourcePanel,
    ) -> None:
        self._viewer, self._workspace = viewer, workspace
        self._performer, self._actions, self._panel = performer, actions, panel
        self._followed: dict[str, Points | Shapes] = {}
        self._made: WeakKeyDictionary[SegmentationSession, dict[Hashable, int]] = (
            WeakKeyDictionary()
        )

    def close(self) -> None:
        """Disconnect from the layers."""
        for kind in list(self._followed):
            self._unfollow(kind)

    def refresh(self) -> None:
        """Offer the layers that are there, and follow the chosen ones."""
        for kind, (layer_type, own) in _KINDS.items():
            ours = self._our_layers()
            layers = [
                (layer.name, layer)
                for layer in reversed(self._viewer.layers)
                if isinstance(layer, layer_type) and layer not in ours
            ]
            self._panel.refresh(kind, own, layers)
            self._follow(kind)

    def _our_layers(self) -> tuple[Layer | None, ...]:
        job = self._workspace.job
        return () if job is None else (job.layers.points, job.layers.boxes)

    def use(self, kind: str, layer: Points | Shapes) -> None:
        """Use a new layer's points or shapes, as if the user had chosen it in the list."""
        self.refresh()
        self._panel.choose(kind, layer)
        self.choose(kind, layer)

    def choose(self, kind: str, layer: Points | Shapes | None) -> None:
        """Use a layer's points or shapes; None: the ones on our own layer."""
        self._follow(kind)
        if layer is not None:
            self._tell(layer)

    def _follow(self, kind: str) -> None:
        self._unfollow(kind)
        layer = self._panel.layer(kind)
        if layer is not None:
            self._followed[kind] = layer
            layer.events.data.connect(self._note_edit)

    def _unfollow(self, kind: str) -> None:
        layer = self._followed.pop(kind, None)
        if layer is not None:
            layer.events.data.disconnect(self._note_edit)

    def _note_edit(self, event: object) -> None:
        if getattr(event, "action", None) in ("added", "changed", "removed"):
            self._tell(getattr(event, "source", None))

    def _tell(self, layer: Points | Shapes | None) -> None:
        """Say how many prompts a layer has, and how to make objects of them."""
        if layer is not None:
            noun = "point" if isinstance(layer, Points) else "shape"
            text = messages.describe_source(layer.name, len(layer.data), noun)
            self._performer.noted.emit(text)

    # objects

    def points_to_objects(self) -> None:
        """Save objects for all points of the chosen layer, as one change."""
        job = self._workspace.job
        self._make_objects(self._panel.layer(POINTS) or (job and job.layers.points))

    def boxes_to_objects(self) -> None:
        """Save objects for all shapes of the chosen layer, as one change."""
        layer = self._panel.layer(BOXES)
        if layer is None:
            self._actions.boxes_to_objects()
        else:
            self._make_objects(layer)

    def _make_objects(self, layer: Points | Shapes | None) -> None:
        job = self._workspace.job
        if job is None or not self._performer.can_write():
            return
        session = job.session
        made = self._made.setdefault(session, {})
        singles = [] if layer is None else self._singles(job, layer)
        questions = group_prompts(
            [each for each in singles if not session.records.of(made.get(_key(each), 0))],
            _free_ids(session),
            as_one=self._panel.is_as_one,
            one_part=self._actions.one_part,
            expected_size=self._actions.expected_size,
        )
        if not questions:
            self._performer.noted.emit(messages.NOTHING_NEW)
            return

        def note_made() -> None:
            made.update({_key(each): each.object_id for each in questions})

        self._actions.commit_answers_to(questions, note_made)

    def _singles(self, job: AnnotationJob, layer: Points | Shapes) -> list[SinglePrompt]:
        """Read a layer; clicks on our own belong to no object: each is to become one."""
        singles = read_foreign(layer, job.image, job.planes, self._viewer.dims)
        if layer is job.layers.points:
            return [replace(single, object_id=None) for single in singles]
        return singles


def _free_ids(session: SegmentationSession) -> Iterator[int]:
    """The current id, unless an object has it already, and then ids above all others."""
    current = session.prompts.current_object
    if not session.records.of(current):
        yield current
    yield from count(session.prompts.highest_id + 1)


def _key(single: SinglePrompt | Question) -> Hashable:
    """The same for the same prompts on the same plane."""
    prompts = single.prompts
    points, boxes = prompts.points_yx.tobytes(), prompts.boxes_yxyx.tobytes()
    signs, outlines = prompts.point_labels.tobytes(), prompts.polygons_yx
    return single.index, points, signs, boxes, tuple(each.tobytes() for each in outlines)
