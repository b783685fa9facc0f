"""Verbs that check results: of automatic segmentation first, then of a propagation."""

from __future__ import annotations

from collections.abc import Callable

from napari_promptable.gui.actions.automatic import AutomaticActions
from napari_promptable.gui.actions.doubtful import DoubtfulObjects
from napari_promptable.gui.actions.review import ReviewActions
from napari_promptable.gui.layers.canvas import Place


class CheckActions:
    """Applies a key to the result that waits for a check.

    Parameters
    ----------
    automatic : AutomaticActions
        Holds found objects that are not committed.
    doubtful : DoubtfulObjects
        Leads through committed objects that automatic segmentation found.
    review : ReviewActions
        Leads through the slices of a propagated object.
    pointer : callable
        Returns where the mouse pointer is on the image, or None.
    """

    def __init__(
        self,
        automatic: AutomaticActions,
        doubtful: DoubtfulObjects,
        review: ReviewActions,
        pointer: Callable[[], Place | None],
    ) -> None:
        self._automatic, self._doubtful = automatic, doubtful
        self._review, self._pointer = review, pointer

    def next_doubtful(self) -> None:
        """Go to a doubtful automatic object, or else to a doubtful slice."""
        if not self._doubtful.next():
            self._review.next_doubtful()

    def looks_right(self) -> None:
        """Accept the automatic object under review, or else the slice in view."""
        if not self._doubtful.looks_right():
            self._review.looks_right()

    def reject(self) -> None:
        """Reject the found object under the pointer, or delete the one under review."""
        place = self._pointer()
        if not self._automatic.has_found:
            self._doubtful.delete()
        elif place is not None:
            self._automatic.toggle(*place)
