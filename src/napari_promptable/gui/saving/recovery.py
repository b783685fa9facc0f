"""Offers a session that was saved earlier and is not in use."""

from __future__ import annotations

from psygnal import Signal

from napari_promptable.annotation.session_folder import SavedSession
from napari_promptable.errors import PromptableError
from napari_promptable.gui.panels.restore import RestorePanel
from napari_promptable.gui.saving.autosave import Autosave
from napari_promptable.wording import count_of


class Recovery:
    """Finds, offers, restores and discards saved sessions.

    Parameters
    ----------
    autosave : Autosave
        Where they were saved.
    panel : RestorePanel
        Where they are offered.

    Attributes
    ----------
    failed : psygnal.Signal
        Emits the error of an action of the user.
    noted : psygnal.Signal
        Emits a sentence for the user.
    """

    failed = Signal(object)
    noted = Signal(str)

    def __init__(self, autosave: Autosave, panel: RestorePanel) -> None:
        self._autosave, self._panel = autosave, panel
        self._saved: SavedSession | None = None
        panel.restore_requested.connect(self.restore)
        panel.discard_requested.connect(self.discard)

    def look(self) -> None:
        """Look for a session to offer."""
        self._offer(None)
        self._autosave.find_session(self._offer)

    def _offer(self, saved: SavedSession | None) -> None:
        self._saved = saved
        if saved is None:
            self._panel.offer("")
            return
        when = f"{saved.saved_at:%d %b %Y, %H:%M}"
        self._panel.offer(f"An earlier session ({when}) has {describe_saved(saved)}.")

    def restore(self) -> None:
        """Restore the offered session."""
        saved, self._saved = self._saved, None
        if saved is None:
            return
        try:
            self._autosave.restore(saved)
        except PromptableError as error:
            self.failed.emit(error)
            return
        self._panel.offer("")
        self.noted.emit(
            f"{describe_saved(saved).capitalize()} restored. Click the next object."
        )

    def discard(self) -> None:
        """Delete the session that is offered, and look for another one."""
        if self._saved is not None:
            self._saved.folder.remove()
        self.look()


def describe_saved(saved: SavedSession) -> str:
    """Count the objects of a session, such as "3 objects and 1 not committed"."""
    if not saved.num_objects:
        return f"{count_of(saved.num_uncommitted, 'object')} not committed"
    objects = count_of(saved.num_objects, "object")
    return (
        f"{objects} and {saved.num_uncommitted} not committed"
        if saved.num_uncommitted
        else objects
    )
