"""Saves the session soon after every change, so that a crash loses the last action at most."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
import xxhash
from psygnal import Signal
from qtpy.QtCore import QTimer
from superqt.utils import create_worker

from napari_promptable.annotation.patches import LabelPatch, LabelsArray
from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.session_folder import (
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
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.planes import Index
from napari_promptable.weights.checkpoints import cache_root

_PATIENCE_MS = 300  # many changes in a row are saved once
_SUFFIX = ".promptable"  # of the folder beside a labels file


class Autosave:
    """Saves what changes, in a thread; one save at a time.

    Labels that were opened from a file have their session beside the file, in a folder of its
    name and ``.promptable``; others in the package's cache folder.

    Parameters
    ----------
    workspace : Workspace
        What is saved.
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
        self._places: WeakKeyDictionary[SegmentationSession, _Place] = WeakKeyDictionary()
        self._session: SegmentationSession | None = None
        self._touched: set[Index] = set()
        self._is_due = self._is_saving = False
        self._told = ""
        self._timer = QTimer(singleShot=True, interval=_PATIENCE_MS)
        self._timer.timeout.connect(self._save_soon)

    def follow(self, session: SegmentationSession | None) -> None:
        """Save another session from now on; what is due of the last one is saved at once."""
        if session is self._session:
            return
        self.save_now()
        if self._session is not None:
            self._session.labels_changed.disconnect(self._note_patches)
            self._session.records_changed.disconnect(self._note_change)
            self._session.prompts_changed.disconnect(self._note_change)
        self._session = session
        if session is not None:
            self._places.setdefault(session, _Place(self._workspace))
            session.labels_changed.connect(self._note_patches)
            session.records_changed.connect(self._note_change)
            session.prompts_changed.connect(self._note_change)

    def close(self) -> None:
        """Save what is due, and stop."""
        self.follow(None)
        self._timer.stop()

    # what changed

    def _note_patches(self, patches: tuple[LabelPatch, ...]) -> None:
        assert self._session is not None
        others = self._session.planes.other_axes
        self.note_planes(tuple(patch.region[axis] for axis in others) for patch in patches)

    def note_planes(self, indices: Iterable[Any]) -> None:
        """Take note that labels changed on planes."""
        self._touched.update(indices)
        self._note_change()

    def _note_change(self, _about: object = None) -> None:
        self._is_due = True
        self._timer.start()

    # saving

    def _save_soon(self) -> None:
        if self._is_saving:
            self._timer.start()
            return
        save = self._take_save()
        if save is None:
            return
        self._is_saving = True
        failed = partial(self._report, save)
        create_worker(save, _connect={"finished": self._finish, "errored": failed})

    def save_now(self) -> None:
        """Save what is due before going on."""
        save = self._take_save()
        if save is not None:
            try:
                save()
            except PromptableError as error:
                self._report(save, error)

    def _take_save(self) -> _Save | None:
        """What saves the changes since the last save; None if there are none."""
        session = self._session
        if session is None or not self._is_due:
            return None
        touched, self._touched, self._is_due = self._touched, set(), False
        place = self._places[session]
        state = state_of(session)
        if not state.object_ids and place.folder is None:
            return None
        return _Save(place, state, self._model_name(), session.labels, touched)

    def _finish(self) -> None:
        self._is_saving = False

    def _report(self, save: _Save, error: Exception) -> None:
        """Tell of a failure, once; the next save tries again."""
        if not isinstance(error, PromptableError):
            raise error
        self._touched |= save.touched
        self._is_due = True
        if str(error) != self._told:
            self._told = str(error)
            self.failed.emit(error)

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
            in_use = {place.path for place in self._places.values() if place.is_in_viewer}
            others = [saved for saved in sessions if saved.folder.path not in in_use]
            if session is self._workspace.session:
                found(others[0] if others else None)

        find = self._places[session].shelf.find_sessions
        create_worker(find, _connect={"returned": deliver})

    def restore(self, saved: SavedSession) -> None:
        """Go on with a saved session.

        Its labels come in a new layer, but for labels that were opened from a file.

        Raises
        ------
        PromptError, CacheError
            If a file is damaged; nothing changes then.
        """
        document = saved.folder.read_document()
        planes = dict(saved.folder.read_planes())
        if _source_of(self._workspace.target) is None:
            self._workspace.set_target(None)
        target, session = self._workspace.target, self._workspace.session
        if target is None or session is None:
            return
        for index, plane in planes.items():
            target.data[session.planes.region(index)] = plane
        target.refresh()
        restore_session(document, session)
        self._places[session].folder = saved.folder


class _Place:
    """Where a session is saved.

    Parameters
    ----------
    workspace : Workspace
        In which the session was just opened.
    """

    def __init__(self, workspace: Workspace) -> None:
        assert workspace.image is not None and workspace.session is not None
        assert workspace.target is not None
        self._workspace = workspace
        self._target = ref(workspace.target)
        self.image_name = workspace.image.name
        self.folder: SessionFolder | None = None
        path = _source_of(workspace.target)
        if path is not None:
            self.shelf = SessionShelf(path.with_name(path.name + _SUFFIX))
        else:
            planes = workspace.session.planes
            source = _source_of(workspace.image)
            name = f"{self.image_name}|{source}|{planes.shape}|{planes.axes}"
            digest = xxhash.xxh128(name.encode()).hexdigest()
            self.shelf = SessionShelf(cache_root() / "sessions" / digest)

    @property
    def path(self) -> Path | None:
        """Path of the folder, if it has been chosen."""
        return None if self.folder is None else self.folder.path

    @property
    def is_in_viewer(self) -> bool:
        """Whether the labels layer can still be seen and chosen."""
        return self._workspace.has_layer(self._target())

    def make_folder(self) -> SessionFolder:
        """Return the folder; it is chosen when it is first needed."""
        if self.folder is None:
            self.folder = self.shelf.new_folder()
        return self.folder


class _Save:
    """One save; called in a thread."""

    def __init__(
        self,
        place: _Place,
        state: SessionState,
        model_name: str,
        labels: LabelsArray,
        touched: set[Index],
    ) -> None:
        self._folder, self._image_name = place.make_folder(), place.image_name
        self._state, self._model_name = state, model_name
        self._labels, self.touched = labels, touched

    def __call__(self) -> None:
        regions = {index: self._state.planes.region(index) for index in self.touched}
        self._folder.save(
            document_of(self._state, self._image_name, self._model_name),
            {index: np.array(self._labels[region]) for index, region in regions.items()},
        )


def _source_of(layer: Any) -> Path | None:
    """File that a layer was opened from."""
    path = getattr(getattr(layer, "source", None), "path", None)
    return Path(path) if path else None
