"""Objects from points and shapes in the user's own layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from napari.components import ViewerModel
from napari.layers import Layer, Points, Shapes

from napari_promptable.annotation.answers import Question
from napari_promptable.annotation.prompt_groups import SinglePrompt, group_prompts
from napari_promptable.annotation.records import Key
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.gui.actions import messages
from napari_promptable.gui.actions.made_objects import MadeObjects
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
    while the object that was made of them exists, unless they were moved or given to another
    object: then the object follows.

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
        self._made = MadeObjects()

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
        """Use a layer's points or shapes, or for None the ones on our own layer."""
        self._follow(kind)
        if layer is not None:
            self._tell(layer)

    def _follow(self, kind: str) -> None:
        self._unfollow(kind)
        layer = self._panel.layer(kind)
        if layer is not None:
            self._followed[kind] = layer
            self._made.follow(layer)
            layer.events.data.connect(self._note_edit)
            layer.events.features.connect(self._note_features)

    def _unfollow(self, kind: str) -> None:
        layer = self._followed.pop(kind, None)
        if layer is not None:
            layer.events.data.disconnect(self._note_edit)
            layer.events.features.disconnect(self._note_features)

    def _note_edit(self, event: object) -> None:
        layer = getattr(event, "source", None)
        is_done = getattr(event, "action", None) in ("added", "changed", "removed")
        if is_done and layer is not None:
            self._made.follow(layer)
            self._tell(layer)

    def _note_features(self, event: object) -> None:
        """React to other signs or ids in the feature table."""
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
        if layer is None:
            self._performer.noted.emit(messages.NOTHING_NEW)
        elif layer is job.layers.points:  # these clicks go when they are objects
            singles = self._read(job, layer)
            self._commit(self._group(job, [replace(each, object_id=None) for each in singles]))
        else:
            self._make_new_and_moved(job, layer)

    def _make_new_and_moved(self, job: AnnotationJob, layer: Points | Shapes) -> None:
        """Save objects for what has none yet, and again for what was moved."""
        session = job.session
        due = self._made.find_due(
            session,
            layer,
            self._read(job, layer),
            _free_ids(session),
            as_one=self._panel.is_as_one,
        )
        questions = self._group(job, due.singles)
        self._commit(questions, due.left, lambda: self._made.note(session, layer, due))

    def _read(self, job: AnnotationJob, layer: Points | Shapes) -> list[SinglePrompt]:
        return read_foreign(layer, job.image, job.planes, self._viewer.dims)

    def _group(self, job: AnnotationJob, singles: list[SinglePrompt]) -> list[Question]:
        """Make the questions that the prompts ask."""
        return group_prompts(
            singles,
            _free_ids(job.session),
            as_one=self._panel.is_as_one,
            one_part=self._actions.one_part,
            expected_size=self._actions.expected_size,
        )

    def _commit(
        self,
        questions: list[Question],
        moved: Collection[Key] = (),
        then: Callable[[], None] = lambda: None,
    ) -> None:
        if questions or moved:
            self._actions.commit_answers_to(questions, moved, then)
        else:
            self._performer.noted.emit(messages.NOTHING_NEW)


def _free_ids(session: SegmentationSession) -> Iterator[int]:
    """The current id, unless an object has it already, and then free ones."""
    current = session.prompts.current_object
    if not session.records.of(current):
        yield current
    yield from session.prompts.free_ids()
