"""Builds the plugin's parts and connects them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari.components import ViewerModel
from psygnal import Signal

from napari_promptable.gui.actions.automatic import AutomaticActions
from napari_promptable.gui.actions.candidates import CandidateActions
from napari_promptable.gui.actions.checking import CheckActions
from napari_promptable.gui.actions.choosing import ChoiceActions, Offers
from napari_promptable.gui.actions.classes import CLASS_KEYS, ClassActions
from napari_promptable.gui.actions.doubtful import DoubtfulObjects
from napari_promptable.gui.actions.fields import FieldActions
from napari_promptable.gui.actions.files import FileActions
from napari_promptable.gui.actions.learning import LearningActions
from napari_promptable.gui.actions.messages import GETTING_READY
from napari_promptable.gui.actions.object_view import ObjectView, color_of
from napari_promptable.gui.actions.objects import ObjectActions
from napari_promptable.gui.actions.performer import Performer
from napari_promptable.gui.actions.prompting import PromptActions
from napari_promptable.gui.actions.sources import SourceActions
from napari_promptable.gui.actions.volume import VolumeActions
from napari_promptable.gui.connections import Connection, Connections
from napari_promptable.gui.display import Display
from napari_promptable.gui.layers.adapters import unwrap
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.canvas import CanvasGuard, LayerKeys, PointerWatch
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.opening import PROMPTS, remove_opener, set_opener
from napari_promptable.gui.panels.model_names import is_bundled
from napari_promptable.gui.panels.panel import Panel
from napari_promptable.gui.saving.autosave import Autosave
from napari_promptable.gui.saving.recovery import Recovery
from napari_promptable.gui.work.learning import Learning
from napari_promptable.gui.work.scheduler import Scheduler


class PromptController:
    """Connects the viewer, the annotation job, the panel and the work.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer, or napari's proxy of it.

    Attributes
    ----------
    panel : Panel
        The controls.
    workspace : Workspace
        Holds the annotation job.
    scheduler : Scheduler
        Computes.
    choices : ChoiceActions
        Applies what the user chose.
    performer : Performer
        Performs the verbs.
    actions : PromptActions
        Verbs for the current object.
    candidate_actions : CandidateActions
        Verbs for the candidates on the plane in view.
    object_actions : ObjectActions
        Verbs for objects in the labels layer.
    class_actions : ClassActions
        Verbs for classes of objects.
    file_actions : FileActions
        Verbs for files.
    sources : SourceActions
        Makes objects of points and shapes in other layers.
    object_view : ObjectView
        Fills the list of objects.
    volume_actions : VolumeActions
        Verbs for stacks.
    automatic : AutomaticActions
        Verbs for finding all objects.
    checks : CheckActions
        Verbs for checking results.
    display : Display
        Shows the state.
    field_actions : FieldActions
        Shows the model what is in view.
    learning_actions : LearningActions
        Verbs for better weights.
    autosave : Autosave
        Saves the session soon after every change.
    recovery : Recovery
        Offers a session that was saved earlier.
    closed : psygnal.Signal
        Emitted before everything is removed from the viewer.
    """

    closed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer: ViewerModel = unwrap(viewer)
        self._is_closed = False
        self._workspace_connections, self._job_connections = Connections(), Connections()
        self._guard = CanvasGuard(self._viewer)
        self._keys = self._make_keys()
        self._keys.bind_viewer(self._viewer)
        self.workspace = workspace = Workspace(self._viewer, self._keys)
        self._pointer = PointerWatch(self._viewer, workspace.locate)
        offers = Offers(self._viewer, workspace)
        self.panel = panel = Panel(
            offers.by_name(), lambda object_id: color_of(workspace.job, object_id)
        )
        self.scheduler = scheduler = Scheduler(workspace)
        self.choices = ChoiceActions(self._viewer, workspace, scheduler, offers, panel.choices)
        self.performer = performer = Performer(workspace, scheduler)
        self.actions = PromptActions(workspace, scheduler, performer)
        self.candidate_actions = CandidateActions(workspace, scheduler.live, performer)
        self.class_actions = ClassActions(workspace, performer, lambda: panel.objects.selected)
        self.object_actions = ObjectActions(
            workspace, performer, scheduler.fields, self._pointer.place
        )
        self.file_actions = FileActions(workspace, performer)
        self.sources = SourceActions(
            self._viewer, workspace, performer, self.actions, panel.files.sources
        )
        self.object_view = ObjectView(workspace, panel.objects)
        self.volume_actions = VolumeActions(workspace, scheduler, performer, panel.volume)
        self.automatic = AutomaticActions(
            workspace, scheduler, performer, self.volume_actions, panel.automatic
        )
        self.checks = CheckActions(
            self.automatic,
            DoubtfulObjects(workspace, performer, self.actions.new_object, self.object_actions),
            self.volume_actions.review,
            self._pointer.place,
        )
        self.display = Display(
            workspace, scheduler, panel, self.object_view, self.volume_actions.review
        )
        self.autosave = Autosave(workspace, lambda: self.choices.models.name)
        self.recovery = Recovery(self.autosave, panel.restore)
        self.field_actions = FieldActions(self._viewer, workspace, scheduler, panel)
        self.learning_actions = LearningActions(
            workspace,
            Learning(),
            panel.learning,
            lambda: self.choices.models.name,
            self.autosave.folder_of,
            lambda: scheduler.is_busy,
        )
        self._connect_choices()
        self._connect_current_object()
        self._connect_files()
        self._connect_objects()
        self._connect_volume()
        self._connect_work()
        self._connect_workspace()
        self.display.say(GETTING_READY)
        scheduler.warm_up.before(self._start)
        scheduler.wake()

    def _start(self) -> None:
        """Make the layers on the topmost image, and load the model."""
        self.display.say("")
        self.choices.start()
        self.sources.refresh()
        self.display.refresh()
        self.scheduler.wake()

    def _make_keys(self) -> LayerKeys:
        return LayerKeys(
            {
                "T": lambda _: self.actions.toggle_sign(),
                "C": lambda _: self.actions.commit(),
                "N": lambda _: self.actions.new_object(),
                "M": lambda _: self.candidate_actions.choose_next(),
                "S": lambda _: self.actions.segment(),
                "P": lambda _: self.object_actions.pick_under_pointer(),
                "D": lambda _: self.checks.next_doubtful(),
                "Y": lambda _: self.checks.looks_right(),
                "X": lambda _: self.checks.reject(),
                "H": lambda _: self.volume_actions.review.not_here(),
                "Shift-C": lambda _: self.actions.clear_prompts(),
                "Control-Z": lambda _: self.actions.undo_step(),
                "Control-Shift-Z": lambda _: self.actions.redo_step(),
                **{f"Control-{n}": self._class_key(n) for n in CLASS_KEYS},
            }
        )

    def _class_key(self, number: int) -> Callable[[Any], None]:
        """Return a function, as napari needs one with a name, for the key of a class."""

        def use_class(_layer: Any) -> None:
            self.class_actions.use_number(number)

        return use_class

    def is_open_in(self, viewer: ViewerModel) -> bool:
        """Whether this is a viewer's segmentation widget and has not been closed."""
        return self._viewer is viewer and not self._is_closed

    def stop(self) -> None:
        """Save, and end all work. Our widgets may be gone already, with their window."""
        if self._is_closed:
            return
        self._is_closed = True
        remove_opener(self._viewer, PROMPTS, self.file_actions.load_prompts)
        self.display.close()
        self.learning_actions.stop()
        self.field_actions.close()
        self.scheduler.close()
        self.choices.close()
        self.sources.close()
        self._pointer.close()
        self.object_view.stop()
        self._job_connections.replace()
        self._workspace_connections.replace()
        self.autosave.close()

    def close(self) -> None:
        """Stop, and remove everything we added to the viewer except committed labels."""
        if self._is_closed:
            return
        self.closed.emit()
        self.stop()
        self.learning_actions.close()
        self.object_view.close()
        self.workspace.close()
        self._keys.unbind(self._viewer)
        self._guard.close()

    # the panel

    def _connect_choices(self) -> None:
        panel, choices = self.panel.choices, self.choices
        panel.changed.connect(choices.apply)
        models = choices.models
        panel.model_info_requested.connect(models.show_about)
        panel.failure_requested.connect(models.show_failure)
        panel.model_file_chosen.connect(models.add_own_model)
        models.changed.connect(self._keep_embeddings)
        models.failed.connect(self.display.show_failure)
        choices.noted.connect(self.display.say)
        choices.applied.connect(self.display.refresh)
        choices.applied.connect(self.scheduler.wake)

    def _keep_embeddings(self, model: str) -> None:
        """Keep embeddings on disk where encoding takes longer than a moment."""
        self.panel.encoding.set_kept(not is_bundled(model))

    def _connect_current_object(self) -> None:
        panel, actions = self.panel.object, self.actions
        panel.object_selected.connect(actions.select_object)
        panel.tool_requested.connect(actions.activate_tool)
        panel.tool_requested.connect(lambda _: self.display.show_tool())
        panel.new_object_requested.connect(actions.new_object)
        panel.segment_requested.connect(actions.segment)
        panel.live_changed.connect(actions.set_live)
        panel.commit_requested.connect(actions.commit)
        panel.clear_requested.connect(actions.clear_prompts)
        panel.undo_requested.connect(actions.undo)
        panel.redo_requested.connect(actions.redo)
        panel.boxes_to_objects_requested.connect(self.sources.boxes_to_objects)
        panel.save_prompts_requested.connect(
            lambda path: self.file_actions.save_prompts(path, self.choices.models.name)
        )
        panel.candidates.chosen.connect(self.candidate_actions.choose)
        panel.candidates.hovered.connect(self.candidate_actions.preview)
        panel.candidates.one_part_chosen.connect(self.scheduler.live.choose_one_part)
        panel.everything_requested.connect(lambda: self.panel.show_automatic(True))
        panel.refine_requested.connect(
            lambda: self.object_actions.refine_selected(self.panel.objects.selected)
        )

    def _connect_files(self) -> None:
        panel, actions = self.panel.files, self.file_actions
        panel.load_prompts_requested.connect(actions.load_prompts)
        panel.save_labels_requested.connect(actions.save_labels)
        set_opener(self._viewer, PROMPTS, actions.load_prompts)
        panel.sources.chosen.connect(self.sources.choose)
        panel.sources.points_to_objects_requested.connect(self.sources.points_to_objects)
        self.choices.applied.connect(self.sources.refresh)

    def _connect_objects(self) -> None:
        panel, actions = self.panel.objects, self.object_actions
        panel.object_chosen.connect(actions.go_to)
        panel.object_chosen.connect(self.volume_actions.review.choose)
        panel.delete_requested.connect(actions.delete)
        panel.merge_requested.connect(actions.merge)
        panel.id_chosen.connect(actions.relabel)
        panel.class_name_chosen.connect(self.class_actions.classify)
        panel.class_key_pressed.connect(self.class_actions.use_number)
        panel.policy_chosen.connect(actions.set_policy)
        panel.policy_chosen.connect(lambda _: self.scheduler.live.update_answers())
        panel.policy_chosen.connect(self.display.clear_note)
        panel.visibility_changed.connect(self.object_view.set_visible)
        panel.selection_changed.connect(self.object_view.select)
        self.scheduler.live.edited.connect(panel.clear_selection)
        learning = self.learning_actions
        panel.learn_requested.connect(learning.learn)
        panel.lessons.sizes_chosen.connect(self.scheduler.live.choose_sizes)
        learning.learned.connect(self.choices.models.add_own_model)
        learning.noted.connect(self.display.say)
        learning.failed.connect(self.display.show_error)

    def _connect_volume(self) -> None:
        panel, actions = self.panel.volume, self.volume_actions
        panel.propagate_requested.connect(actions.propagate)
        panel.next_doubtful_requested.connect(self.checks.next_doubtful)
        panel.looks_right_requested.connect(self.checks.looks_right)
        panel.not_here_requested.connect(actions.review.not_here)
        panel.axis_chosen.connect(actions.choose_axis)
        panel.keep_chosen.connect(actions.keep)
        panel.strip.slice_clicked.connect(actions.review.go_to)
        actions.shown_changed.connect(self.panel.set_stack)

    def _connect_work(self) -> None:
        scheduler, encoding = self.scheduler, self.panel.encoding
        self.performer.failed.connect(self.display.show_error)
        self.performer.noted.connect(self.display.say)
        self.performer.acted.connect(self.display.refresh)
        encoding.encode_all_requested.connect(self._encode_all)
        encoding.keep_changed.connect(scheduler.keep_embeddings)
        encoding.scheduler_changed.connect(scheduler.encode_on)
        self.panel.status.cancel_requested.connect(self.actions.cancel)
        scheduler.started.connect(self.display.show_work)
        scheduler.progressed.connect(self.panel.status.set_progress)
        scheduler.stopped.connect(self.display.show_idle)
        scheduler.stopped.connect(self.learning_actions.learn_if_due)
        scheduler.failed.connect(self.display.show_error)
        self._pointer.rested.connect(scheduler.in_view.expect_click)
        self._pointer.rested.connect(scheduler.wake)

    def _encode_all(self) -> None:
        """Encode all slices, and keep them on disk: memory may not hold them."""
        self.panel.encoding.set_kept(True)
        self.scheduler.encode_all()

    # the annotation job

    def _connect_workspace(self) -> None:
        self._workspace_connections.replace(
            (
                (self.workspace.job_changed, self._follow_job),
                (self.workspace.pixels_changed, self.display.clear_note),
                (self.workspace.plane_changed, self._follow_plane),
            )
        )
        self.autosave.failed.connect(self.display.show_error)
        self.recovery.failed.connect(self.display.show_error)
        self.recovery.noted.connect(self.display.say)

    def _connections_to(self, job: AnnotationJob) -> Sequence[Connection]:
        session, display, live = job.session, self.display, self.scheduler.live
        return (
            (job.layers.edits.pressed, live.answer_early),
            (job.layers.edits.edited, live.read_prompts),
            (job.layers.tool.changed, display.follow_tool),
            (job.layers.edits.refused, display.say),
            (session.prompts.current_changed, display.show_object),
            (session.prompts.restored, display.show_object),
            (session.prompts.changed, self.display.clear_note),
            (session.prompts.changed, self.object_view.update_one),
            (session.prompts.assigned, self.object_view.update),
            (session.answers.changed, live.show_answer),
            (session.answers.changed, display.refresh),
            (session.labels.changed, display.show_labels),
            (session.history.changed, display.refresh),
            (session.history.changed, self.learning_actions.learn_if_due),
            (job.watch.due, self.scheduler.scan_soon),
            (job.watch.changed, live.update_answer),
            (job.watch.changed, display.refresh),
            (session.records.changed, display.show_records),
            (session.classes.changed, self.object_view.recolor),
        )

    def _follow_job(self) -> None:
        """Listen to the new job only, and show its state."""
        job = self.workspace.job
        self.display.say("")
        self._job_connections.replace(() if job is None else self._connections_to(job))
        self.display.show_tool()
        self.autosave.follow(job)
        self.recovery.look()
        self.choices.note_details()
        self.object_view.follow(self.workspace.session)
        self.volume_actions.follow_session()
        self.automatic.forget()
        self.field_actions.follow()
        if job is not None:
            self.object_actions.set_policy(self.panel.objects.policy)
            self.display.show_object(job.session.prompts.current_object)
        self.display.refresh()

    def _follow_plane(self) -> None:
        self.display.show_plane()
        self.automatic.show()
        self.field_actions.follow()
