"""Objects that something else paints into the labels layer are found; no window is needed."""

import threading

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_promptable.gui.layers.canvas import LayerKeys
from napari_promptable.gui.layers.workspace import Workspace
from napari_promptable.gui.work.scan import LabelScan
from napari_promptable.gui.work.scheduler import Scheduler
from napari_promptable.gui.work.worker import TaskControl

pytestmark = pytest.mark.gui


@pytest.fixture
def workspace(qtbot) -> Workspace:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((3, 20, 30)))
    workspace = Workspace(viewer, LayerKeys({}))
    workspace.set_image(image)
    return workspace


def paint(workspace: Workspace, object_id: int) -> None:
    index = workspace.visible_index()
    workspace.job.labels_layer.data_setitem(
        tuple(np.array([i]) for i in (*index, 4, 5)), object_id
    )


def test_a_scan_does_not_wait_for_a_download(workspace, fake_model, monkeypatch, qtbot) -> None:
    is_downloaded = threading.Event()
    monkeypatch.setattr(
        "napari_promptable.gui.work.loading.fetch_checkpoint",
        lambda *_: is_downloaded.wait(30),
    )
    scheduler = Scheduler(workspace)
    scheduler.set_model("tiny", "cpu")
    paint(workspace, 7)
    scheduler.wake()
    qtbot.waitUntil(lambda: bool(workspace.session.records.of(7)), timeout=20_000)
    assert fake_model.planes == []
    is_downloaded.set()
    qtbot.waitUntil(lambda: len(fake_model.planes) > 0, timeout=20_000)
    qtbot.waitUntil(lambda: not scheduler.is_busy, timeout=20_000)
    scheduler.close()


def test_a_cancelled_scan_is_repeated(workspace) -> None:
    errors: list[Exception] = []
    scan = LabelScan(workspace, errors.append)
    paint(workspace, 7)
    scan.next_task()  # its result never comes
    task = scan.next_task()
    task.done(task.run(TaskControl()))
    assert list(workspace.session.records.of(7)) == [workspace.visible_index()]
    assert scan.next_task() is None
    assert errors == []
