"""Verbs for classes of objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.touch_up import classify_objects
from napari_promptable.gui.actions import messages
from napari_promptable.gui.actions.performer import Performer
from napari_promptable.gui.layers.workspace import Workspace

CLASS_KEYS = range(10)
"""Numbers on the keyboard: 0 stands for no class, 1 to 9 for the first classes."""


class ClassActions:
    """Verbs for classes.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    performer : Performer
        Performs the verbs.
    selected : callable
        Returns the ids of the objects that are selected in the list.
    """

    def __init__(
        self, workspace: Workspace, performer: Performer, selected: Callable[[], list[int]]
    ) -> None:
        self._workspace, self._performer, self._selected = workspace, performer, selected

    @property
    def _session(self) -> SegmentationSession | None:
        return self._workspace.session

    def classify(self, object_ids: Sequence[int], name: str) -> None:
        """Set the class of objects, empty for none."""
        if self._session is None:
            return
        if not object_ids:
            self._performer.noted.emit(messages.HOW_TO_SELECT)
            return
        self._performer.perform_and_note(
            classify_objects, self._session, list(object_ids), name
        )

    def choose(self, name: str) -> None:
        """Give new objects this class from now on, empty for none."""
        if self._session is not None:
            self._performer.perform(self._session.classes.choose, name)
            self._performer.noted.emit(messages.describe_current_class(name))

    def use_number(self, number: int) -> None:
        """Give the selected objects a class by its number, or new objects if none is selected.

        Parameters
        ----------
        number : int
            1 for the first class, 0 for no class.
        """
        if self._session is None:
            return
        names = ["", *self._session.classes.colors]
        if number >= len(names):
            self._performer.noted.emit(messages.describe_missing_class(number))
        elif selected := self._selected():
            self.classify(selected, names[number])
        else:
            self.choose(names[number])

    def define(self, name: str, color: str = "") -> None:
        """Add a class, or change its color."""
        if self._session is not None:
            self._performer.perform(self._session.classes.define, name, color)

    def rename(self, name: str, new_name: str) -> None:
        """Rename a class."""
        if self._session is not None:
            self._performer.perform(self._session.classes.rename, name, new_name)

    def remove(self, name: str) -> None:
        """Remove a class. Its objects then have none."""
        if self._session is not None:
            self._performer.perform(self._session.classes.remove, name)
