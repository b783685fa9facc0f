"""Verbs for files: load and save prompts, save labels."""

from __future__ import annotations

from functools import partial

from superqt.utils import create_worker

from napari_promptable.annotation.session import SegmentationSession
from napari_promptable.annotation.session_json import document_of, state_of
from napari_promptable.errors import PromptError
from napari_promptable.files.label_images import write_labels
from napari_promptable.files.prompts_json import PromptDocument, read_prompts, write_prompts
from napari_promptable.gui.actions import messages
from napari_promptable.gui.actions.performer import Performer
from napari_promptable.gui.layers.layer_labels import array_of
from napari_promptable.gui.layers.workspace import Workspace


class FileActions:
    """Verbs for files.

    Parameters
    ----------
    workspace : Workspace
        Holds the annotation job.
    performer : Performer
        Performs the verbs.
    """

    def __init__(self, workspace: Workspace, performer: Performer) -> None:
        self._workspace, self._performer = workspace, performer

    def load_prompts(self, path: str) -> None:
        """Add the objects of a prompts.json to the session."""
        session = self._workspace.session
        if session is None:
            self._performer.noted.emit(messages.OPEN_IMAGE_FIRST)
            return
        if not self._performer.can_write():
            return
        ids = self._performer.perform(_load, session, path)
        if ids is not None:
            self._performer.noted.emit(messages.describe_loaded(ids))

    def save_prompts(self, path: str, model: str) -> None:
        """Write the prompts of all objects to a prompts.json."""
        job = self._workspace.job
        if job is None:
            return
        document = document_of(state_of(job.session), job.image.name, model)
        if self._performer.perform(write_prompts, document, path) is not None:
            self._performer.noted.emit(
                messages.describe_saved_prompts(len(document.objects), path)
            )

    def save_labels(self, path: str) -> None:
        """Write the labels layer to a file, in a thread."""
        job = self._workspace.job
        if job is None:
            return

        def tell(_: None) -> None:
            self._performer.noted.emit(f"Labels saved to {path}.")

        write = partial(write_labels, path, array_of(job.labels_layer))
        create_worker(write, _connect={"returned": tell, "errored": self._performer.report})


def _load(session: SegmentationSession, path: str) -> list[int]:
    """Read a file and add its objects. Returns their ids in the session."""
    document = read_prompts(path)
    _check_image(document, session)
    ids = session.prompts.add(document.objects)
    if ids:
        session.prompts.show(ids[0])
    return ids


def _check_image(document: PromptDocument, session: SegmentationSession) -> None:
    """Refuse prompts of another image. Raises PromptError."""
    planes = session.planes
    if document.image_shape != planes.shape:
        raise PromptError(
            f"these prompts belong to an image of shape {document.image_shape} "
            f"({document.image_name!r}), not of {planes.shape}; open that image first"
        )
    if document.plane_axes != planes.axes:
        raise PromptError(
            f"these prompts lie on planes of the axes {document.plane_axes}, the viewer shows "
            f"{planes.axes}; change the order of the axes first"
        )
