"""Saves the session soon after every change, so that a crash loses the last action at most."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
import xxhash
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_promptable.annotation.blocks import Block, blocks_of
from napari_promptable.annotation.fingerprint import fingerprint_of
from napari_promptable.annotation.patches import LabelPatch, LabelsArray
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.session_folder import (
    FINGERPRINT,
    SavedSession,
    SessionFolder,
    SessionShelf,
)
from napari_promptable.annotation.session_json import (
    SessionState,
    document_of,
    restore_session,
    state_of,
)
from napari_promptable.errors import PromptableError
from napari_promptable.gui.layers.adapters import full_resolution, spatial_shape
from napari_promptable.gui.layers.annotation_job import AnnotationJob
from napari_promptable.gui.layers.layer_labels import array_of, is_labels_layer_for, shape_of
from napari_promptable.gui.layers.ownership import made_for
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.threads import call_in_thread
from napari_promptable.planes import Index
from napari_promptable.weights.checkpoints import cache_root

_PLACES: WeakKeyDictionary[SegmentationSession, _Place] = WeakKeyDictionary()
"""Where sessions are saved, so that a reopened widget does not offer the one on screen."""

_PATIENCE_MS = 300  # many changes in a row are saved once
_SUFFIX = ".promptable"  # of the folder beside a labels file


class Autosave:
    """Saves what changes, in a thread. One save at a time.

    Labels that were opened from a file have their session beside the file, in a folder of its
    name and ``.promptable``; others in the package's cache folder.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    model_name : callable
        Returns the name of the model in use.

    Attributes
    ----------
    failed : psygnal.Signal
        Emits the error of a save.
    """

    failed = Signal(object)

    def __init__(self, workspace: Workspace, model_name: Callable[[], str]) -> None:
        self._workspace, self._model_name = workspace, model_name
        self._job: AnnotationJob | None = None
        self._labels: Any = None  # in which the changes were made: the layer may get other data
        self._touched: set[Block] = set()
        self._is_due = False
        self._running: _Save | None = None
        self._told = ""
        self._timer = QTimer(singleShot=True, interval=_PATIENCE_MS)
        self._timer.timeout.connect(self._save_soon)

    def follow(self, job: AnnotationJob | None) -> None:
        """Save another job's session from now on, after saving the changes of the last one."""
        if self._job is not None:
            self._job.catch_up()  # paint that no scan has seen yet
        self.save_now()
        if self._job is not None:
            session = self._job.session
            session.labels.changed.disconnect(self._note_patches)
            session.records.changed.disconnect(self._note_change)
            session.classes.changed.disconnect(self._note_change)
            session.prompts.changed.disconnect(self._note_change)
            self._job.watch.changed.disconnect(self._note_plane)
        self._job, self._labels = job, None
        if job is not None:
            session = job.session
            _PLACES.setdefault(session, _Place(job)).follow_image(job)
            session.labels.changed.connect(self._note_patches)
            session.records.changed.connect(self._note_change)
            session.classes.changed.connect(self._note_change)
            session.prompts.changed.connect(self._note_change)
            job.watch.changed.connect(self._note_plane)

    def close(self) -> None:
        """Save pending changes, and stop."""
        self.follow(None)
        self._timer.stop()

    # what changed

    def _note_patches(self, patches: tuple[LabelPatch, ...]) -> None:
        """Save the labels in these regions soon."""
        assert self._job is not None
        planes = self._job.planes
        for patch in patches:
            index, extent = planes.index_of(patch.region), planes.extent_of(patch.region)
            self._touched.update(blocks_of(planes, index, *extent))
        self._note_change()

    def _note_plane(self, index: Index) -> None:
        """Save the labels of this plane soon."""
        assert self._job is not None
        self._touched.update(blocks_of(self._job.planes, index))
        self._note_change()

    def _note_change(self, _about: object = None) -> None:
        job = self._job
        if job is not None and is_labels_layer_for(job.labels_layer, job.planes):
            self._labels = array_of(job.labels_layer)
        self._is_due = True
        if not self._timer.isActive():  # changes that never pause are saved, too
            self._timer.start()

    # saving

    def _save_soon(self) -> None:
        if self._running is not None:
            self._timer.start()
            return
        save = self._running = self._take_save()
        if save is not None:
            call_in_thread(save, self._finish, partial(self._fail, save))

    def save_now(self) -> None:
        """Save pending changes, and wait for it."""
        for save in filter(None, (self._running, self._take_save())):
            try:
                save()  # the running one may not even have begun
            except PromptableError as error:
                self._report(save, error)

    def _take_save(self) -> _Save | None:
        """What saves the changes since the last save, or None if there are none."""
        job = self._job
        if job is None or not self._is_due:
            return None
        touched, self._touched, self._is_due = self._touched, set(), False
        place = _PLACES[job.session]
        state = state_of(job.session)
        if not state.object_ids and place.folder is None:
            return None
        return _Save(place, state, self._model_name(), self._labels, touched)

    def _finish(self, _result: None = None) -> None:
        self._running = None

    def _fail(self, save: _Save, error: Exception) -> None:
        self._finish()
        self._report(save, error)

    def _report(self, save: _Save, error: Exception) -> None:
        """Tell of a failure, once. The next save tries again."""
        self._touched |= save.touched
        self._is_due = True
        if not isinstance(error, PromptableError):
            raise error
        if str(error) != self._told:
            self._told = str(error)
            self.failed.emit(error)

    def folder_of(self, session: SegmentationSession) -> Path:
        """Return the folder in which a session is saved. It need not exist yet."""
        return _PLACES[session].make_folder().path

    # taking up again

    def find_session(self, found: Callable[[SavedSession | None], None]) -> None:
        """Look, in a thread, for the newest session of the image that is not in use.

        Parameters
        ----------
        found : callable
            Called with it, or None, in the main thread.
        """
        session = self._workspace.session
        if session is None:
            found(None)
            return

        def deliver(sessions: list[SavedSession]) -> None:
            others = [saved for saved in sessions if saved.folder.path not in self._in_use]
            if self._job is not None and self._job.session is session:
                found(others[0] if others else None)

        call_in_thread(_PLACES[session].find_sessions, deliver, _raise)

    @property
    def _in_use(self) -> set[Path | None]:
        """Folders of the sessions whose labels can still be seen and chosen."""
        layers = () if self._job is None else self._job.viewer.layers
        return {
            place.path
            for place in _PLACES.values()
            if place.labels_layer in layers and place.is_on_screen
        }

    def restore(self, saved: SavedSession) -> None:
        """Restore a saved session.

        Its labels come in a new layer, unless they were opened from a file, or the layer that
        we made for the image is still empty.

        Raises
        ------
        PromptError, CacheError
            If a file is damaged; nothing changes then.
        """
        document = saved.folder.read_document()
        for _ in saved.folder.read_blocks():
            pass  # a damaged file is found before anything changes
        job = self._workspace.job
        if job is not None and _source_of(job.labels_layer) is None and not _is_unused(job):
            self._workspace.set_labels_layer(None)
            job = self._workspace.job
        if job is None:
            return
        for block, pixels in saved.folder.read_blocks():
            array_of(job.labels_layer)[block.region(job.planes)] = pixels
        job.labels_layer.refresh()
        restore_session(document, job.session)
        _PLACES[job.session].folder = saved.folder


def _is_unused(job: AnnotationJob) -> bool:
    """Whether a job's labels layer is one that we made and that nothing was done on."""
    job.catch_up()  # paint that no scan has seen yet
    session = job.session
    return (
        job.labels_layer in made_for(job.image)
        and _PLACES[session].folder is None
        and not session.history.changes
        and not session.history.can_redo
        and not state_of(session).object_ids
    )


class _Place:
    """Where a session is saved.

    Parameters
    ----------
    job : AnnotationJob
        The session's job.
    """

    def __init__(self, job: AnnotationJob) -> None:
        self._labels_layer = ref(job.labels_layer)
        self.follow_image(job)
        self.image_name = job.image.name
        self.folder: SessionFolder | None = None
        path = _source_of(job.labels_layer)
        if path is not None:
            self.shelf = SessionShelf(path.with_name(path.name + _SUFFIX))
        else:
            source = _source_of(job.image)
            name = f"{self.image_name}|{source}|{job.planes.shape}|{job.planes.axes}"
            digest = xxhash.xxh128(name.encode()).hexdigest()
            self.shelf = SessionShelf(cache_root() / "sessions" / digest)

    @property
    def path(self) -> Path | None:
        """Path of the folder, if it has been chosen."""
        return None if self.folder is None else self.folder.path

    @property
    def is_on_screen(self) -> bool:
        """Whether the labels layer has data of the image's shape, and not other data now."""
        layer = self.labels_layer
        return layer is not None and shape_of(layer) == self._planes.shape

    @property
    def labels_layer(self) -> Any:
        """The labels layer, or None if it is gone."""
        return self._labels_layer()

    def follow_image(self, job: AnnotationJob) -> None:
        """Note the job's image, whose data may be other ones at each save."""
        self._image, self._planes = ref(job.image), job.planes

    def fingerprint(self) -> str:
        """Compute the image's fingerprint, empty without its pixels. Safe in a thread."""
        image = self._image()
        if image is None or spatial_shape(image) != self._planes.shape:
            return ""
        return fingerprint_of(full_resolution(image), self._planes)

    def find_sessions(self) -> list[SavedSession]:
        """Find the sessions of the image, the newest first. Safe in a thread."""
        return self.shelf.find_sessions(self.fingerprint())

    def make_folder(self) -> SessionFolder:
        """Return the folder. It is chosen when it is first needed."""
        if self.folder is None:
            self.folder = self.shelf.new_folder()
        return self.folder


class _Save:
    """One save, which is written once, by whichever thread calls it first."""

    def __init__(
        self,
        place: _Place,
        state: SessionState,
        model_name: str,
        labels: LabelsArray,
        touched: set[Block],
    ) -> None:
        self._folder, self._place = place.make_folder(), place
        self._state, self._model_name = state, model_name
        self._labels, self.touched = labels, touched
        self._lock, self._is_written = Lock(), False

    def __call__(self) -> None:
        regions = {block: block.region(self._state.planes) for block in self.touched}
        with self._lock:
            if not self._is_written:
                name, extra = self._place.image_name, {FINGERPRINT: self._place.fingerprint()}
                self._folder.save(
                    document_of(self._state, name, self._model_name, **extra),
                    {b: np.array(self._labels[region]) for b, region in regions.items()},
                )
                self._is_written = True


def _raise(error: Exception) -> None:
    raise error


def _source_of(layer: Any) -> Path | None:
    """File that a layer was opened from."""
    path = getattr(getattr(layer, "source", None), "path", None)
    return Path(path) if path else None
