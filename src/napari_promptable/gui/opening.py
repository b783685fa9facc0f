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


def hand_over(kind: str, path: str | list[str]) -> bool:
    """Hand files to the widget of the viewer that is opening them.

    Parameters
    ----------
    kind : str
        `PROMPTS` or `OUTLINES`.
    path : str or list of str
        As napari gives it to readers.

    Returns
    -------
    bool
        Whether a widget opens such files.
    """
    opener = _OPENERS.get((id(find_opening_viewer()), kind))
    if opener is None:
        return False
    for one in each_of(path):
        opener(one)
    return True


def each_of(path: str | list[str]) -> list[str]:
    """Return all paths that napari gives to a reader."""
    return [path] if isinstance(path, str) else path


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
