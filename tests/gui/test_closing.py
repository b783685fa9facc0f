"""What is left after the dock or a layer is gone: nothing of ours. No window is needed."""

import gc
import threading
from collections.abc import Iterator
from contextlib import suppress
from weakref import ref

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QCoreApplication, QEvent

from napari_promptable.gui.widget import PromptableWidget

pytestmark = pytest.mark.gui

NUM_CYCLES = 50


class Desk:
    """A viewer without a window, and the plugin's widget on it."""

    def __init__(self, qtbot, image: np.ndarray) -> None:
        self._qtbot = qtbot
        self.viewer = ViewerModel()
        self.image = self.viewer.add_image(image, name="image")
        self.widget: PromptableWidget | None = None

    def open(self) -> None:
        self.widget = PromptableWidget(self.viewer)
        self.wait_idle()

    def wait_idle(self) -> None:
        scheduler = self.widget.controller.scheduler
        self._qtbot.waitUntil(lambda: not scheduler.is_busy, timeout=20_000)

    @property
    def job(self):
        return self.widget.controller.workspace.job

    def click(self, *position: float) -> None:
        self.job.layers.points.add(position)
        self.wait_idle()

    def commit(self) -> None:
        self.widget.controller.actions.commit()
        self.wait_idle()

    def close(self) -> None:
        """Close the widget and let Qt delete it."""
        if self.widget is not None:
            self.widget.close()
            self.widget.deleteLater()
            self.widget = None
            self.settle()

    def settle(self) -> None:
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QCoreApplication.processEvents()

    def wait_freed(self, gone: dict[str, ref]) -> None:
        """Wait until nothing keeps these objects; a thread may take its time to end."""

        def kept() -> list[str]:
            self.settle()
            gc.collect()
            return [name for name, what in gone.items() if what() is not None]

        with suppress(self._qtbot.TimeoutError):
            self._qtbot.waitUntil(lambda: not kept(), timeout=5_000)
        assert kept() == []

    def callbacks(self) -> dict[str, int]:
        """How many callbacks and keys the viewer and its layers have."""
        emitters = {"dims": self.viewer.dims.events, "layers": self.viewer.layers.events}
        emitters |= {layer.name: layer.events for layer in self.viewer.layers}
        counts = {
            f"{owner} {name}": len(emitter.callbacks)
            for owner, group in emitters.items()
            for name, emitter in group.emitters.items()
        }
        counts |= {f"keys of {layer.name}": len(layer.keymap) for layer in self.viewer.layers}
        counts["keys"] = len(self.viewer.keymap)
        counts["pointer"] = len(self.viewer.mouse_move_callbacks)
        return counts


@pytest.fixture
def desk(qtbot, make_disks, fake_model) -> Iterator[Desk]:
    desk = Desk(qtbot, make_disks().image)
    yield desk
    desk.close()


def test_opening_and_closing_many_times_leaves_nothing(desk, make_disks) -> None:
    desk.open()
    desk.click(*make_disks().centres[0])
    desk.commit()
    desk.close()
    callbacks, threads = desk.callbacks(), threading.active_count()
    controllers = []
    for _ in range(NUM_CYCLES):
        desk.open()
        controllers.append(ref(desk.widget.controller))
        desk.close()
    assert [layer.name for layer in desk.viewer.layers] == ["image", "objects"]
    assert desk.callbacks() == callbacks
    assert threading.active_count() <= threads
    desk.wait_freed({f"cycle {n}": controller for n, controller in enumerate(controllers)})


def test_nothing_reacts_after_closing(desk, make_disks) -> None:
    """Whatever happens in the viewer and to the session, no panel that is gone is called."""
    desk.open()
    desk.click(*make_disks().centres[0])
    session, labels_layer = desk.job.session, desk.job.labels_layer
    desk.close()
    session.commit()
    session.undo()
    labels_layer.data_setitem((np.array([3]), np.array([4])), 5)
    desk.viewer.add_image(np.zeros((4, 60, 80)))
    desk.viewer.dims.ndisplay = 3
    desk.viewer.layers.clear()
    desk.settle()  # pytest-qt reports what a callback raised


def test_removed_layers_are_freed(desk, make_disks) -> None:
    desk.open()
    desk.click(*make_disks().centres[0])
    desk.commit()
    gone = {
        "session": ref(desk.job.session),
        "labels layer": ref(desk.job.labels_layer),
        "labels": ref(desk.job.labels_layer.data),
    }
    desk.viewer.layers.remove(desk.job.labels_layer)
    desk.settle()
    desk.wait_freed(gone)
    assert desk.job.labels_layer in desk.viewer.layers

    gone = {
        "image": ref(desk.image),
        "session": ref(desk.job.session),
        "labels layer": ref(desk.job.labels_layer),
        "preview": ref(desk.job.layers.preview),
    }
    desk.image = None
    desk.viewer.layers.clear()
    desk.settle()
    desk.wait_freed(gone)


def test_labels_that_stay_keep_their_session(desk, make_disks) -> None:
    desk.open()
    desk.click(*make_disks().centres[0])
    desk.commit()
    desk.close()
    desk.open()
    assert desk.job.session.history.can_undo
