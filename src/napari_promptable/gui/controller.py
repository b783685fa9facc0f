"""Connects panel, workspace, session and scheduler; the only object that knows them all."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QTimer

from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.errors import PromptableError
from napari_promptable.gui.actions.object_view import ObjectView, color_of
from napari_promptable.gui.actions.objects import ObjectActions
from napari_promptable.gui.actions.prompting import Actions
from napari_promptable.gui.actions.volume import VolumeActions
from napari_promptable.gui.layers.adapters import unwrap
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.canvas import CanvasGuard, LayerKeys, PointerWatch
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.panels.model_names import describe_model, is_bundled, model_choices
from napari_promptable.gui.panels.next_step import describe_next_step
from napari_promptable.gui.panels.panel import Panel
from napari_promptable.gui.saving.autosave import Autosave
from napari_promptable.gui.saving.recovery import Recovery
from napari_promptable.gui.work.scheduler import Scheduler
from napari_promptable.planes import Channel, Index

_DEVICES = ("auto", "cpu", "cuda", "mps")


class PromptController:
    """Lets the panel and the viewer call actions, and shows the session's state.

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
    actions : Actions
        What the user can do.
    object_actions : ObjectActions
        What the user can do with objects in the labels.
    object_view : ObjectView
        Fills the list of objects.
    volume_actions : VolumeActions
        What the user can do with a stack.
    autosave : Autosave
        Saves the session soon after every change.
    recovery : Recovery
        Offers a session that was saved earlier.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer: ViewerModel = unwrap(viewer)
        self._own_models: list[str] = []
        self._note = ""
        self._is_following = self._is_closed = False
        self._guard = CanvasGuard(self._viewer)
        keys = LayerKeys(
            {
                "T": lambda _: self.actions.toggle_sign(),
                "C": lambda _: self.actions.commit(),
                "N": lambda _: self.actions.new_object(),
                "M": lambda _: self.actions.next_candidate(),
                "S": lambda _: self.actions.segment(),
                "P": lambda _: self._pick(),
                "D": lambda _: self.volume_actions.next_doubtful(),
            }
        )
        self.workspace = Workspace(self._viewer, keys)
        self.panel = Panel(
            {
                "image": self._image_choices,
                "channel": self._channel_choices,
                "model": lambda: model_choices(self._own_models),
                "device": lambda: [(name, name) for name in _DEVICES],
                "labels": self._labels_choices,
            },
            lambda object_id: color_of(self.workspace.job, object_id),
        )
        self.scheduler = Scheduler(self.workspace)
        self.actions = Actions(self.workspace, self.scheduler)
        self.object_actions = ObjectActions(self.workspace, self.actions)
        self.object_view = ObjectView(self.workspace, self.panel.objects)
        self.volume_actions = VolumeActions(
            self.workspace, self.scheduler, self.actions, self.panel.volume
        )
        self.pointer = PointerWatch(self._viewer, self.workspace.locate)
        self.autosave = Autosave(self.workspace, lambda: self.panel.choices.value("model"))
        self.recovery = Recovery(self.autosave, self.panel.restore)
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
        controls.object_selected.connect(self.actions.select_object)
        controls.tool_requested.connect(self.actions.activate_tool)
        controls.new_object_requested.connect(self.actions.new_object)
        controls.segment_requested.connect(self.actions.segment)
        controls.live_changed.connect(self.actions.set_live)
        controls.commit_requested.connect(self.actions.commit)
        controls.undo_requested.connect(self.actions.undo)
        controls.redo_requested.connect(self.actions.redo)
        controls.boxes_to_objects_requested.connect(self.actions.boxes_to_objects)
        controls.save_prompts_requested.connect(
            lambda path: self.actions.save_prompts(path, choices.value("model"))
        )
        controls.candidates.chosen.connect(self.actions.choose_candidate)
        controls.candidates.hovered.connect(self.actions.preview_candidate)
        self.panel.status.cancel_requested.connect(self.actions.cancel)
        controls.refine_requested.connect(
            lambda: self.object_actions.refine_selected(self.panel.objects.selected)
        )
        self._connect_objects()
        self._connect_volume()

    def _connect_objects(self) -> None:
        objects = self.panel.objects
        objects.object_chosen.connect(self.object_actions.go_to)
        objects.object_chosen.connect(self.volume_actions.review)
        objects.delete_requested.connect(self.object_actions.delete)
        objects.merge_requested.connect(self.object_actions.merge)
        objects.id_chosen.connect(self.object_actions.relabel)
        objects.class_name_chosen.connect(self.object_actions.rename_class)
        objects.visibility_changed.connect(self.object_view.set_visible)
        objects.policy_chosen.connect(self.object_actions.set_policy)

    def _connect_volume(self) -> None:
        volume, actions = self.panel.volume, self.volume_actions
        volume.propagate_requested.connect(actions.propagate)
        volume.next_doubtful_requested.connect(actions.next_doubtful)
        volume.axis_chosen.connect(actions.choose_axis)
        volume.keep_chosen.connect(actions.keep)
        volume.strip.slice_clicked.connect(actions.go_to)
        actions.shown_changed.connect(self.panel.set_stack)

        encoding = self.panel.encoding
        encoding.encode_all_requested.connect(self._encode_all)
        encoding.keep_changed.connect(self.scheduler.keep_embeddings)
        encoding.scheduler_changed.connect(self.scheduler.encode_on)

    def _encode_all(self) -> None:
        """Encode all slices, on disk: memory may not hold them."""
        self.panel.encoding.set_kept(True)
        self.scheduler.encode_all()

    def _pick(self) -> None:
        """Refine the object under the pointer."""
        place = self.pointer.place()
        if place is not None:
            self.object_actions.pick(*place)

    def _connect_viewer(self) -> None:
        engine, workspace = self.scheduler.engine, self.workspace
        engine.started.connect(self.panel.status.set_work)
        engine.started.connect(self._show_state)
        engine.progressed.connect(self.panel.status.set_progress)
        engine.stopped.connect(self._show_idle)
        self.scheduler.failed.connect(self._show_error)
        self.autosave.failed.connect(self._show_error)
        self.recovery.failed.connect(self._show_error)
        self.recovery.noted.connect(self._say)
        self.pointer.rested.connect(self.scheduler.expect_click)
        self.actions.failed.connect(self._show_error)
        self.actions.noted.connect(self._say)
        self.actions.acted.connect(self._show_state)
        workspace.job_changed.connect(self._follow_job)
        workspace.plane_changed.connect(self._show_plane)
        for event in self._layer_list_events():
            event.connect(self._follow_layer_list)

    def _layer_list_events(self) -> tuple[Any, ...]:
        events = self._viewer.layers.events
        return events.inserted, events.removed, events.renamed

    def close(self) -> None:
        """Remove everything we added to the viewer except committed labels."""
        if self._is_closed:
            return
        self._is_closed = True
        self.scheduler.close()
        for event in self._layer_list_events():
            event.disconnect(self._follow_layer_list)
        self.pointer.close()
        self._disconnect_job(self.workspace.job)
        self.workspace.job_changed.disconnect(self._follow_job)
        self.workspace.plane_changed.disconnect(self._show_plane)
        self.autosave.close()
        self.object_view.close()
        self.workspace.close()
        self._guard.close()

    # choices

    def _image_choices(self) -> list[tuple[str, Any]]:
        return [
            (layer.name, layer)
            for layer in reversed(self._viewer.layers)
            if isinstance(layer, Image) and layer.ndim >= 2
        ]

    def _channel_choices(self) -> list[tuple[str, Channel | None]]:
        job = self.workspace.job
        return [("all", None)] if job is None else job.channels()

    def _labels_choices(self) -> list[tuple[str, Any]]:
        layers = self.workspace.possible_labels_layers()
        return [*((layer.name, layer) for layer in layers), ("new layer", None)]

    @property
    def _labels_layer(self) -> Labels | None:
        return None if self.workspace.job is None else self.workspace.job.labels_layer

    def _choose_first_image(self) -> None:
        """Work on the topmost image, if there is one."""
        choices = self._image_choices()
        self.workspace.set_image(choices[0][1] if choices else None)
        self._refresh_choices()

    def _refresh_choices(self) -> None:
        """Refresh the layer lists and keep the current selection."""
        self.panel.choices.refresh("image", self.workspace.image)
        self.panel.choices.refresh("channel")
        self.scheduler.set_channel(self.panel.choices.value("channel"))
        self.panel.choices.refresh("labels", self._labels_layer)

    def _apply_choice(self, name: str, value: Any) -> None:
        """Do what the user chose."""
        if name == "image" and value is not self.workspace.image:
            self.workspace.set_image(value)
        elif name == "labels" and (value is None or value is not self._labels_layer):
            self.workspace.set_labels_layer(value)
        elif name == "channel":
            self.scheduler.set_channel(value)
        elif name in ("model", "device"):
            choices = self.panel.choices
            model = choices.value("model")
            self.scheduler.set_model(model, choices.value("device"))
            if name == "model":  # those of the bundled model are made faster than read
                self.panel.encoding.set_kept(not is_bundled(model))
        if name in ("image", "labels"):
            self._refresh_choices()
        self._note_details()
        self._show_state()
        self.scheduler.engine.wake()

    def _note_details(self) -> None:
        """Let the session note with each change what the model was and what it saw."""
        if self._session is not None:
            channel = self.panel.choices.value("channel")
            self._session.details = {
                "model": self.panel.choices.value("model"),
                "channel": None if channel is None else channel.to_plain(),
            }

    def add_own_model(self, path: str) -> None:
        """Offer a weights file in the list of models, and choose it."""
        if path not in self._own_models:
            self._own_models.append(path)
        self.panel.choices.refresh("model")
        self.panel.choices.set_value("model", path)

    def _follow_layer_list(self, _event: Any) -> None:
        """Defer: several layers may be changing at once."""
        if not self._is_following:
            self._is_following = True
            QTimer.singleShot(0, self._catch_up_with_layer_list)

    def _catch_up_with_layer_list(self) -> None:
        """Refresh the layer lists, and choose another image if ours is gone."""
        self._is_following = False
        if self._is_closed:
            return
        if self.workspace.image not in self._viewer.layers:
            self._choose_first_image()
        self._refresh_choices()
        self._show_state()
        self.scheduler.engine.wake()

    # what is shown

    @property
    def _session(self) -> SegmentationSession | None:
        return self.workspace.session

    def _job_connections(self, job: AnnotationJob) -> tuple[tuple[Any, Any], ...]:
        """Signals of a job, and what follows them."""
        session = job.session
        return (
            (job.layers.edited, self.actions.read_prompts),
            (job.layers.tool_changed, self.panel.object.set_tool),
            (session.prompts.current_changed, self._show_object),
            (session.prompts.restored, self._show_object),
            (session.answers.changed, self._show_answer),
            (session.labels.changed, self._show_labels),
            (session.history.changed, self._show_state),
            (session.records.changed, self._show_records),
        )

    def _disconnect_job(self, job: AnnotationJob | None) -> None:
        for signal, slot in () if job is None else self._job_connections(job):
            signal.disconnect(slot)

    def _follow_job(self, former: AnnotationJob | None) -> None:
        """Listen to the new job only, and show its state."""
        job = self.workspace.job
        self._disconnect_job(former)
        for signal, slot in () if job is None else self._job_connections(job):
            signal.connect(slot)
        self.autosave.follow(job)
        self.recovery.look()
        self._note_details()
        self.object_view.follow(self._session)
        self.volume_actions.follow_session()
        if self._session is not None:
            self.object_actions.set_policy(self.panel.objects.policy)
            self._show_object(self._session.prompts.current_object)
        self._show_state()

    def _show_records(self, object_ids: frozenset[int]) -> None:
        self.object_view.update(object_ids)
        self.volume_actions.show_review()

    def _show_object(self, object_id: int) -> None:
        """Show another object's prompts."""
        self.panel.object.set_object(object_id)
        self.volume_actions.show_review()
        if self.workspace.job is not None:
            prompts = self.workspace.job.session.prompts.of(object_id)
            self.workspace.job.layers.write(object_id, prompts)
        self._show_state()

    def _show_answer(self, index: Index) -> None:
        job = self.workspace.job
        if job is not None:
            job.layers.show_mask(index, job.session.answers.mask(index))
        self._show_state()

    def _show_labels(self, _patches: object) -> None:
        if self.workspace.job is not None:
            self.workspace.job.labels_layer.refresh()

    def _show_plane(self) -> None:
        self.volume_actions.show_review()
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
            prediction = session.answers.prediction(index)
        if prediction is None or session is None or index is None:
            self.panel.object.candidates.show_candidates((), None)
        else:
            self.panel.object.candidates.show_candidates(
                prediction.predicted_iou.tolist(), session.answers.candidate(index)
            )
        self.panel.object.set_possible(
            commit=session is not None and bool(session.answers.answered),
            undo=session is not None and session.history.can_undo,
            redo=session is not None and session.history.can_redo,
        )
        text = self._note or describe_next_step(
            session,
            index,
            has_image=self.workspace.image is not None,
            is_busy=self.scheduler.engine.is_busy,
            is_live=self.scheduler.is_live,
        )
        self.panel.status.set_status(text)
