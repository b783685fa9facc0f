"""Connects panel, workspace, session and scheduler; the only object that knows them all."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QTimer

from napari_promptable.errors import PromptableError
from napari_promptable.gui.layer_adapters import unwrap
from napari_promptable.gui.model_choices import describe_model, model_choices
from napari_promptable.gui.panels import Panel
from napari_promptable.gui.scheduler import Scheduler
from napari_promptable.gui.status import describe_next_step
from napari_promptable.gui.workspace import Workspace
from napari_promptable.planes import Index
from napari_promptable.prompt_document import PromptDocument, write_prompts
from napari_promptable.session import Answer, SegmentationSession

_DEVICES = ("auto", "cpu", "cuda", "mps")


class PromptController:
    """Turns what the user does into verbs of the session, and shows the session's state.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer, or napari's proxy of it.

    Attributes
    ----------
    panel : Panel
        The controls.
    workspace : Workspace
        Image, layers and session.
    scheduler : Scheduler
        What computes.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer: ViewerModel = unwrap(viewer)
        self._own_models: list[str] = []
        self._note = ""
        self._is_following = self._is_closed = False
        self.workspace = Workspace(
            self._viewer,
            {
                "T": lambda _: self._toggle_sign(),
                "C": lambda _: self._commit(),
                "N": lambda _: self._new_object(),
                "M": lambda _: self._next_candidate(),
                "S": lambda _: self._segment(),
            },
        )
        self.panel = Panel(
            {
                "image": self._image_choices,
                "channel": self.workspace.channels,
                "model": lambda: model_choices(self._own_models),
                "device": lambda: [(name, name) for name in _DEVICES],
                "labels": self._labels_choices,
            }
        )
        self.scheduler = Scheduler(self.workspace)
        self._connect_panel()
        self._connect_viewer()
        self.scheduler.set_model(self.panel.choices.value("model"), "auto")
        self._choose_first_image()
        self._show_state()
        self.scheduler.engine.wake()

    # wiring

    def _connect_panel(self) -> None:
        choices, controls = self.panel.choices, self.panel.object
        choices.changed.connect(self._apply_choice)
        choices.model_info_requested.connect(
            lambda: show_info(describe_model(choices.value("model")))
        )
        choices.model_file_chosen.connect(self.add_own_model)
        controls.object_selected.connect(self._select_object)
        controls.tool_requested.connect(self._activate_tool)
        controls.new_object_requested.connect(self._new_object)
        controls.segment_requested.connect(self._segment)
        controls.live_changed.connect(self._set_live)
        controls.commit_requested.connect(self._commit)
        controls.undo_requested.connect(self._undo)
        controls.redo_requested.connect(self._redo)
        controls.boxes_to_objects_requested.connect(self._boxes_to_objects)
        controls.save_prompts_requested.connect(self.save_prompts)
        controls.candidates.chosen.connect(self._choose_candidate)
        controls.candidates.hovered.connect(self._preview_candidate)
        self.panel.status.cancel_requested.connect(self._cancel)

    def _connect_viewer(self) -> None:
        engine, workspace = self.scheduler.engine, self.workspace
        engine.started.connect(self.panel.status.set_work)
        engine.started.connect(self._show_state)
        engine.progressed.connect(self.panel.status.set_progress)
        engine.stopped.connect(self._show_idle)
        self.scheduler.failed.connect(self._show_error)
        workspace.session_changed.connect(self._follow_session)
        workspace.prompts_edited.connect(self._read_prompts)
        workspace.plane_changed.connect(self._show_plane)
        workspace.tool_changed.connect(self.panel.object.set_tool)
        for event in self._layer_list_events():
            event.connect(self._follow_layer_list)

    def _layer_list_events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.renamed

    def close(self) -> None:
        """Leave the viewer as if the widget had not been there, but for committed labels."""
        if self._is_closed:
            return
        self._is_closed = True
        self.scheduler.engine.close()
        for event in self._layer_list_events():
            event.disconnect(self._follow_layer_list)
        self.workspace.close()

    # choices

    def _image_choices(self) -> list[tuple[str, Any]]:
        return [
            (layer.name, layer)
            for layer in reversed(self._viewer.layers)
            if isinstance(layer, Image) and layer.ndim >= 2
        ]

    def _labels_choices(self) -> list[tuple[str, Any]]:
        targets = self.workspace.possible_targets()
        return [*((layer.name, layer) for layer in targets), ("new layer", None)]

    def _choose_first_image(self) -> None:
        """Work on the topmost image, if there is one."""
        choices = self._image_choices()
        self.workspace.set_image(choices[0][1] if choices else None)
        self._refresh_choices()

    def _refresh_choices(self) -> None:
        """Offer the layers of today, the ones in use chosen."""
        self.panel.choices.refresh("image", self.workspace.image)
        self.panel.choices.refresh("channel")
        self.scheduler.set_channel(self.panel.choices.value("channel"))
        self.panel.choices.refresh("labels", self.workspace.target)

    def _apply_choice(self, name: str, value: Any) -> None:
        """Do what the user chose."""
        if name == "image" and value is not self.workspace.image:
            self.workspace.set_image(value)
        elif name == "labels" and (value is None or value is not self.workspace.target):
            self.workspace.set_target(value)
        elif name == "channel":
            self.scheduler.set_channel(value)
        elif name in ("model", "device"):
            choices = self.panel.choices
            self.scheduler.set_model(choices.value("model"), choices.value("device"))
        if name in ("image", "labels"):
            self._refresh_choices()
        self._show_state()
        self.scheduler.engine.wake()

    def add_own_model(self, path: str) -> None:
        """Offer a weights file in the list of models, and choose it."""
        if path not in self._own_models:
            self._own_models.append(path)
        self.panel.choices.refresh("model")
        self.panel.choices.set_value("model", path)

    def _follow_layer_list(self, _event: Any) -> None:
        """Follow soon: the viewer may be amid removing many layers, or yet to select one."""
        if not self._is_following:
            self._is_following = True
            QTimer.singleShot(0, self._catch_up_with_layer_list)

    def _catch_up_with_layer_list(self) -> None:
        """Offer the layers of today; take another image where ours is gone or none was."""
        self._is_following = False
        if self._is_closed:
            return
        if self.workspace.image not in self._viewer.layers:
            self._choose_first_image()
        self._refresh_choices()
        self._show_state()
        self.scheduler.engine.wake()

    # what the user does

    @property
    def _session(self) -> SegmentationSession | None:
        return self.workspace.session

    def _act(self, verb: Any, *arguments: Any) -> Any:
        """Call a verb of the session; its errors become notifications."""
        self._note = ""
        try:
            return verb(*arguments)
        except PromptableError as error:
            self._show_error(error)
            return None
        finally:
            self._show_state()
            self.scheduler.engine.wake()

    def _read_prompts(self) -> None:
        if self._session is not None and self.workspace.layers is not None:
            self._act(self._session.replace_prompts, self.workspace.layers.read())
            self.workspace.layers.set_refined(None)

    def _select_object(self, object_id: int) -> None:
        if self._session is not None:
            self._act(self._session.select_object, object_id)

    def _new_object(self) -> None:
        if self._session is not None:
            self._act(self._session.new_object)

    def _activate_tool(self, name: str) -> None:
        if self.workspace.layers is not None:
            self.workspace.layers.activate_tool(name)

    def _toggle_sign(self) -> None:
        if self.workspace.layers is not None:
            self.workspace.layers.toggle_sign()

    def _segment(self) -> None:
        self._note = ""
        self.scheduler.segment()

    def _set_live(self, is_live: bool) -> None:
        self.scheduler.is_live = is_live
        self.scheduler.engine.wake()
        self._show_state()

    def _commit(self) -> None:
        if self._session is None:
            return
        commit = self._act(self._session.commit)
        if commit is not None:
            self._say(f"Object {commit.object_ids[0]} is committed. Go on with the next one.")

    def _undo(self) -> None:
        if self._session is not None and self._act(self._session.undo) is not None:
            self._say("The last commit is taken back; its prompts are here to be changed.")

    def _redo(self) -> None:
        if self._session is not None and self._act(self._session.redo) is not None:
            self._say("Committed again.")

    def _boxes_to_objects(self) -> None:
        session = self._session
        questions = [] if session is None else session.questions_by_box()
        if session is None or not questions:
            self._say("Drag a box around each object first (▭ box).")
            return

        def deliver(answers: list[Answer]) -> None:
            if session is self._session:
                commit = self._act(session.commit_answers, answers)
                if commit is not None:
                    self._say(f"{len(commit.object_ids)} objects are committed.")

        self.scheduler.answer(questions, deliver)

    def save_prompts(self, path: str) -> None:
        """Write the prompts of all objects to a prompts.json."""
        if self._session is None or self.workspace.image is None:
            return
        planes = self._session.planes
        document = PromptDocument(
            self.workspace.image.name,
            planes.shape,
            planes.axes,
            self.panel.choices.value("model"),
            self._session.objects,
        )
        if self._act(write_prompts, document, path) is not None:
            self._say(f"Prompts of {len(document.objects)} objects are saved in {path}.")

    def _choose_candidate(self, candidate: int) -> None:
        index = self.workspace.visible_index()
        if self._session is None or index is None or self._session.prediction(index) is None:
            return
        self._act(self._session.choose_candidate, index, candidate)
        if self.workspace.layers is not None:
            self.workspace.layers.set_refined(candidate)

    def _next_candidate(self) -> None:
        index = self.workspace.visible_index()
        if self._session is None or index is None:
            return
        prediction, chosen = self._session.prediction(index), self._session.candidate(index)
        if prediction is not None and chosen is not None:
            self._choose_candidate((chosen + 1) % len(prediction.masks))

    def _preview_candidate(self, candidate: int) -> None:
        """Show a candidate that is pointed at, or (−1) the chosen one again."""
        index, layers = self.workspace.visible_index(), self.workspace.layers
        if self._session is None or index is None or layers is None:
            return
        prediction = self._session.prediction(index)
        if prediction is not None and 0 <= candidate < len(prediction.masks):
            layers.show_mask(index, prediction.masks[candidate])
        else:
            layers.show_mask(index, self._session.mask(index))

    def _cancel(self) -> None:
        self.scheduler.cancel()
        self._say("Cancelled. Press Segment (S) to start again.")

    # what is shown

    def _follow_session(self, former: SegmentationSession | None) -> None:
        """Listen to the new session only, and show its state."""
        for session, connect in ((former, False), (self._session, True)):
            if session is None:
                continue
            for signal, slot in (
                (session.current_object_changed, self._show_object),
                (session.answer_changed, self._show_answer),
                (session.labels_changed, self._show_labels),
                (session.history_changed, self._show_state),
            ):
                if connect:
                    signal.connect(slot)
                else:
                    signal.disconnect(slot)
        if self._session is not None:
            self._show_object(self._session.current_object)
        self._show_state()

    def _show_object(self, object_id: int) -> None:
        """Show another object's prompts."""
        self.panel.object.set_object(object_id)
        if self.workspace.layers is not None and self._session is not None:
            self.workspace.layers.write(object_id, self._session.prompts_of(object_id))
        self._show_state()

    def _show_answer(self, index: Index) -> None:
        if self.workspace.layers is not None and self._session is not None:
            self.workspace.layers.show_mask(index, self._session.mask(index))
        self._show_state()

    def _show_labels(self, _patches: object) -> None:
        if self.workspace.target is not None:
            self.workspace.target.refresh()

    def _show_plane(self) -> None:
        self._show_state()
        self.scheduler.engine.wake()

    def _show_idle(self) -> None:
        self.panel.status.set_work(None)
        self._show_state()

    def _show_error(self, error: PromptableError) -> None:
        """Turn an error into a notification; the one place that does."""
        show_error(str(error))
        self._say(str(error))

    def _say(self, text: str) -> None:
        """Show a sentence in the status line until the user does something."""
        self._note = text
        self._show_state()

    def _show_state(self, *_: object) -> None:
        """Show candidates, what can be done, and what to do next."""
        if self._is_closed:  # the panel may be gone
            return
        session, index = self._session, self.workspace.visible_index()
        prediction = None
        if session is not None and index is not None:
            prediction = session.prediction(index)
        if prediction is None or session is None or index is None:
            self.panel.object.candidates.show_candidates((), None)
        else:
            self.panel.object.candidates.show_candidates(
                prediction.predicted_iou.tolist(), session.candidate(index)
            )
        self.panel.object.set_possible(
            commit=session is not None and session.has_answer,
            undo=session is not None and session.can_undo,
            redo=session is not None and session.can_redo,
        )
        text = self._note or describe_next_step(
            session,
            index,
            has_image=self.workspace.image is not None,
            is_busy=self.scheduler.engine.is_busy,
            is_live=self.scheduler.is_live,
        )
        self.panel.status.set_status(text)
