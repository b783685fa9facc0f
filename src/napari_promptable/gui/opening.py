"""Which viewer is opening a file, and what the plugin's widgets in it do with the file."""

from __future__ import annotations

import sys
from collections.abc import Callable

import napari
from napari.components import ViewerModel

from napari_promptable.gui.layers.adapters import unwrap

Opener = Callable[[str], None]
"""Takes the path of a file."""

PROMPTS, OUTLINES = "prompts", "outlines"
"""Kinds of files that widgets open."""

_OPENERS: dict[tuple[int, str], Opener] = {}  # by the identity of the viewer, and the kind


def set_opener(viewer: ViewerModel, kind: str, opener: Opener) -> None:
    """Choose what opens files that are dropped on a viewer, until `remove_opener`.

    Parameters
    ----------
    viewer : ViewerModel
        The viewer itself, not napari's proxy of it.
    kind : str
        `PROMPTS` or `OUTLINES`.
    opener : callable
        Takes a path.
    """
    _OPENERS[id(viewer), kind] = opener


def remove_opener(viewer: ViewerModel, kind: str, opener: Opener) -> None:
    """Let files become layers again, unless another widget has set its opener since."""
    if _OPENERS.get((id(viewer), kind)) == opener:
        del _OPENERS[id(viewer), kind]


def find_opener(kind: str) -> Opener | None:
    """Return what opens files of a kind in the viewer that is opening one, or None."""
    return _OPENERS.get((id(find_opening_viewer()), kind))


def find_opening_viewer() -> ViewerModel | None:
    """Return the viewer that is opening a file.

    napari (0.9.2) does not tell readers which viewer calls them. The active viewer is another
    one if a file is dropped on a window in the background. The caller is thus looked up on the
    stack; the active viewer is the answer only where no viewer called.

    Returns
    -------
    ViewerModel or None
        The viewer itself; None if there is none.
    """
    frame = sys._getframe()
    while (caller := frame.f_back) is not None:
        frame = caller
        viewer = frame.f_locals.get("self")
        if isinstance(viewer, ViewerModel):
            return viewer
    active: ViewerModel | None = unwrap(napari.current_viewer())
    return active
