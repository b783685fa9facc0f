"""A simulated user in front of napari, and a model without weights.

``fake_model``
    The shared segmenter as a model that the plugin loads; tests can pause it.
``make_disks``
    Images and stacks of bright disks at known positions, with their labels.
``desk``, ``make_desk``, ``open_desk``
    A viewer without a window, and the plugin's widget on it; returns a `Desk`.
``open_plugin``
    Opens napari with an image and the plugin's widget; returns a `User`.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import ref

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.key_bindings import KeymapHandler
from napari.utils.notifications import notification_manager
from npe2 import PluginManager
from qtpy.QtCore import (
    QCoreApplication,
    QDeadlineTimer,
    QEvent,
    QEventLoop,
    QPoint,
    QPointF,
    Qt,
    QTimer,
)
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QCheckBox, QRadioButton, QWidget

from napari_promptable.errors import CancelledError
from napari_promptable.gui.layers.adapters import camera_of
from napari_promptable.gui.work.warm_up import make_first_layers

DISK_RADIUS = 4.5  # a click within one pixel of the centre gives exactly the disk
PLUGIN, WIDGET = "napari-promptable", "Promptable segmentation"
_TIMEOUT_MS = 20_000
_LONGEST_SLEEP_MS = 10  # what a wait is for may come without an event
_PATIENCE_S = 30.0  # so that a failing test cannot hang in a worker


class FakeModel:
    """A segmenter in place of a network.

    Attributes
    ----------
    encode_gate, predict_gate : threading.Event
        Clear one, and the next call waits until a test sets it or cancels the encoding.
    num_free : int
        Number of prompts that may pass a closed gate.
    questions : list of PromptSet
        All prompts so far.
    planes : list of ndarray
        Planes passed to `encode`.
    num_cancelled : int
        Encodings that were cancelled midway.
    looks_closer : bool
        Whether the plugin should announce where the next click is likely.
    expected : list of PromptSet
        Announced clicks.
    """

    name = "fake"
    model_id = "fake"
    carries_masks = False

    def __init__(self, segmenter: Any) -> None:
        self._segmenter = segmenter
        self.encode_gate, self.predict_gate = threading.Event(), threading.Event()
        self.is_encoding, self.is_predicting = threading.Event(), threading.Event()
        self.open_gates()
        self.planes: list[np.ndarray] = []
        self.num_cancelled = 0
        self.num_free = 0
        self.looks_closer = False
        self.expected: list[Any] = []

    @property
    def questions(self) -> list[Any]:
        return self._segmenter.questions

    def look_closer(self, _embedding: Any, prompts: Any) -> None:
        self.expected.append(prompts)

    def open_gates(self) -> None:
        self.encode_gate.set()
        self.predict_gate.set()

    def encode(
        self,
        image: np.ndarray,
        contrast_limits: tuple[float, float] | None = None,
        *,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> Any:
        self.is_encoding.set()
        for _ in range(int(_PATIENCE_S / 0.01)):
            if is_cancelled is not None and is_cancelled():
                self.num_cancelled += 1
                raise CancelledError("encoding was cancelled")
            if self.encode_gate.wait(0.01):
                break
        self.planes.append(np.array(image))
        return self._segmenter.encode(image, contrast_limits)

    def predict_many(
        self, embedding: Any, prompts: Any, multimask_output: bool | None = True
    ) -> Any:
        return [self._predict(embedding, each) for each in prompts]

    def _predict(self, embedding: Any, prompts: Any) -> Any:
        [prediction] = self._segmenter.predict_many(embedding, [prompts])
        self.is_predicting.set()
        if self.num_free:
            self.num_free -= 1
        else:
            self.predict_gate.wait(_PATIENCE_S)
        return prediction


@pytest.fixture(scope="session", autouse=True)
def _warm_napari() -> Iterator[None]:
    """Do once what napari does for the first layers, and again for each window of a test.

    Layers are made as soon as the widget opens, in the first test as in the others. Plugins are
    looked for once among all installed packages.
    """
    make_first_layers()
    PluginManager.instance().discover(include_npe1=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManager, "discover", lambda *_, **__: 0)
        yield


@pytest.fixture(autouse=True)
def _spare_survivors() -> None:
    """Keep modules, and all that earlier tests left, out of garbage collection.

    napari collects garbage for each layer that it drops, which takes a third of a second among
    all modules that are imported by then.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch) -> None:
    """Look through changed labels without waiting for the end of a stroke."""
    monkeypatch.setattr("napari_promptable.gui.work.scheduler._SCAN_PATIENCE_MS", 0)


@pytest.fixture(autouse=True)
def empty_cache_folder(tmp_path, monkeypatch) -> None:
    """Hide everything that earlier tests saved."""
    monkeypatch.setenv("NAPARI_PROMPTABLE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def fake_model(make_fake_segmenter, monkeypatch) -> Iterator[FakeModel]:
    """The model that the widget loads, whichever the user chooses."""
    model = FakeModel(make_fake_segmenter())

    def encode_image(model, image, contrast_limits=None, *, is_cancelled=None):
        return model.encode(image, contrast_limits, is_cancelled=is_cancelled)

    monkeypatch.setattr("napari_promptable.gui.work.loading.fetch_checkpoint", lambda *_: None)
    monkeypatch.setattr(
        "napari_promptable.predict.load_model.load_model", lambda *_, **__: model
    )
    monkeypatch.setattr("napari_promptable.predict.predictor.encode_image", encode_image)
    yield model
    model.open_gates()


@dataclass
class Disks:
    """Bright disks on a dark ground.

    Attributes
    ----------
    image : ndarray of float
        Two dimensions or more; the disks lie in the last two.
    truth : ndarray of int
        Disk k (from 0) has label k + 1.
    centres : list of tuple of int
        Array positions.
    """

    image: np.ndarray
    truth: np.ndarray
    centres: list[tuple[int, ...]]

    def mask(self, number: int) -> np.ndarray:
        return self.truth == number + 1


@pytest.fixture(scope="session")
def make_disks() -> Callable[..., Disks]:
    """Factory of images with disks, by shape, centres and radius."""

    def make(
        shape: Sequence[int] = (60, 80),
        centres: Sequence[tuple[int, ...]] = ((20, 24), (40, 58)),
        radius: float = DISK_RADIUS,
    ) -> Disks:
        truth = np.zeros(shape, int)
        rows, columns = np.indices(shape[-2:])
        for number, (*index, row, column) in enumerate(centres):
            is_disk = np.hypot(rows - row, columns - column) <= radius
            truth[(*index, is_disk)] = number + 1
        return Disks(np.where(truth > 0, 1.0, 0.1), truth, list(centres))

    return make


@dataclass
class WidgetUser:
    """Reads and operates the widget, with or without a window of napari around it."""

    qtbot: Any
    viewer: Any
    model: FakeModel
    image: Any = None
    widget: Any = None

    # the state

    @property
    def workspace(self) -> Any:
        return self.widget.controller.workspace

    @property
    def session(self) -> Any:
        return self.workspace.session

    @property
    def scheduler(self) -> Any:
        return self.widget.controller.scheduler

    @property
    def points(self) -> Any:
        return self.workspace.job.layers.points

    @property
    def boxes(self) -> Any:
        return self.workspace.job.layers.boxes

    @property
    def preview(self) -> Any:
        return self.workspace.job.layers.preview

    @property
    def objects(self) -> Any:
        return self.workspace.job.labels_layer

    @property
    def preview_mask(self) -> np.ndarray:
        return np.asarray(self.preview.data) > 0

    @property
    def labels(self) -> np.ndarray:
        return np.array(self.objects.data)

    @property
    def status(self) -> str:
        return self.control("status").text()

    @property
    def candidates(self) -> list[QRadioButton]:
        return self.control("candidate").findChildren(QRadioButton)

    @property
    def chosen_candidate(self) -> int:
        [chosen] = [i for i, button in enumerate(self.candidates) if button.isChecked()]
        return chosen

    @property
    def notifications(self) -> list[str]:
        return [record.message for record in notification_manager.records]

    @property
    def layer_names(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers]

    def control(self, name: str) -> Any:
        control = self.widget.findChild(QWidget, name)
        assert control is not None, f"there is no control named {name}"
        return control

    def index(self) -> Any:
        return self.workspace.visible_index()

    # waiting

    def wait_idle(self) -> None:
        self.wait_for(lambda: not self.scheduler.is_busy)

    def process_events(self) -> None:
        """Deliver pending events and zero-delay timers."""
        QApplication.processEvents()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Deliver events until it holds; `qtbot.waitUntil` would look every 10 ms only."""
        deadline = QDeadlineTimer(_TIMEOUT_MS)
        alarm = QTimer(interval=_LONGEST_SLEEP_MS)
        alarm.start()
        loop = QEventLoop()
        while not condition():
            assert not deadline.hasExpired(), "waited in vain"
            loop.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
        alarm.stop()

    # positions

    def world(self, *position: float) -> np.ndarray:
        """World position of a data position of the image."""
        return np.asarray(self.image.data_to_world(position))

    def on_plane(self, row: float, column: float) -> np.ndarray:
        """World position of a position on the plane in view."""
        planes = self.workspace.job.layers.planes
        position = planes.join(self.index(), np.array([[row, column]]))[0]
        return self.world(*position)

    # controls

    def push(self, name: str, wait: bool = True) -> None:
        button = self.control(name)
        assert button.isEnabled(), f"{name} cannot be pressed"
        pos = QPoint(8, button.height() // 2) if isinstance(button, QCheckBox) else QPoint()
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton, pos=pos)
        if wait:
            self.wait_idle()

    def choose(self, name: str, text: str) -> None:
        """Choose the entry of a list that begins with the text."""
        box = self.control(name)
        texts = [box.itemText(i) for i in range(box.count())]
        [number] = [i for i, entry in enumerate(texts) if entry.startswith(text)]
        box.setCurrentIndex(number)
        self.wait_idle()

    def wait_propagated(self) -> None:
        self.wait_for(lambda: not self.widget.controller.volume_actions.is_running)
        self.wait_idle()

    def propagate(self) -> None:
        self.push("propagate", wait=False)
        self.wait_propagated()

    def choose_object(self, object_id: int) -> None:
        self.control("object_id").setValue(object_id)
        self.wait_idle()


@dataclass
class User(WidgetUser):
    """A user of the window; positions are world positions unless a method says otherwise."""

    dock: Any = None

    # mouse and keys on the canvas

    @property
    def canvas(self) -> Any:
        return self.viewer.window._qt_viewer.canvas.native

    def pixel(self, world: Sequence[float]) -> QPoint:
        """Canvas position of a world position."""
        dims = self.viewer.dims
        world = np.concatenate([np.zeros(dims.ndim - len(world)), world])
        camera = camera_of(self.viewer)
        centre = np.asarray(camera.center)[-2:]
        shown = (world[list(dims.displayed)] - centre) * camera.zoom
        x, y = shown[1] + self.canvas.width() / 2, shown[0] + self.canvas.height() / 2
        assert 0 <= x < self.canvas.width() and 0 <= y < self.canvas.height(), "out of view"
        return QPoint(round(x), round(y))

    def click(self, world: Sequence[float], wait: bool = True) -> None:
        pixel = self.pixel(world)
        self.qtbot.mouseMove(self.canvas, pixel)
        self.qtbot.mouseClick(self.canvas, Qt.MouseButton.LeftButton, pos=pixel)
        if wait:
            self.wait_idle()

    def drag(self, *path: Sequence[float], wait: bool = True) -> None:
        """Press at the first position, move along the others, release at the last."""
        first, *others = (self.pixel(world) for world in path)
        self.qtbot.mouseMove(self.canvas, first)
        self._send(QEvent.Type.MouseButtonPress, first)
        for start, stop in zip([first, *others], others, strict=False):
            for part in range(1, 5):
                self._send(QEvent.Type.MouseMove, start + (stop - start) * part / 4)
        self._send(QEvent.Type.MouseButtonRelease, others[-1])
        if wait:
            self.wait_idle()

    def press_button(self, world: Sequence[float]) -> None:
        self._send(QEvent.Type.MouseButtonPress, self.pixel(world))

    def move_pressed(self, world: Sequence[float]) -> None:
        self._send(QEvent.Type.MouseMove, self.pixel(world))

    def release_button(self, world: Sequence[float]) -> None:
        self._send(QEvent.Type.MouseButtonRelease, self.pixel(world))

    def _send(self, kind: QEvent.Type, pixel: QPoint) -> None:
        """Send a mouse event; pytest-qt's moves come without the pressed button."""
        left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
        event = QMouseEvent(
            kind,
            QPointF(pixel),
            QPointF(self.canvas.mapToGlobal(pixel)),
            none if kind == QEvent.Type.MouseMove else left,
            none if kind == QEvent.Type.MouseButtonRelease else left,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(self.canvas, event)
        QApplication.processEvents()

    def drag_box(self, top: float, left: float, bottom: float, right: float) -> None:
        """Drag a box whose corners are positions in the image's plane in view."""
        self.push("tool_box")
        self.drag(self.on_plane(top, left), self.on_plane(bottom, right))

    def press(self, key: str, wait: bool = True) -> None:
        self.qtbot.keyClick(self.canvas, getattr(Qt.Key, f"Key_{key}"))
        if wait:
            self.wait_idle()

    # opening and closing

    def close_dock(self) -> None:
        """Close the dock as its × button does."""
        self.viewer.window.remove_dock_widget(self.dock)

    def reopen(self) -> None:
        self.dock, self.widget = self.viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
        self.wait_idle()


@pytest.fixture
def open_plugin(make_napari_viewer, qtbot, fake_model) -> Iterator[Callable[..., User]]:
    """Factory: a shown viewer, an image (None for no image), then the plugin's widget.

    ``before`` is called with the viewer before the widget is opened.
    """
    notification_manager.records.clear()

    def make(
        data: Any = None,
        before: Callable[[Any], None] = lambda viewer: None,
        is_awaited: bool = True,
        **options: Any,
    ) -> User:
        viewer = make_napari_viewer(show=True)
        viewer.window._qt_window.resize(1040, 720)
        image = None if data is None else viewer.add_image(data, name="image", **options)
        before(viewer)
        dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
        user = User(qtbot, viewer, fake_model, image, widget, dock)
        if is_awaited:
            user.wait_idle()
        qtbot.waitUntil(lambda: user.canvas.width() > 300, timeout=_TIMEOUT_MS)
        viewer.reset_view()
        return user

    yield make
    fake_model.open_gates()
    notification_manager.records.clear()


class Desk(WidgetUser):
    """A viewer without a window, and the plugin's widget on it."""

    def __init__(self, qtbot: Any, model: FakeModel, image: np.ndarray, **options: Any) -> None:
        viewer = ViewerModel()
        layer = viewer.add_image(image, name="image", **options)
        super().__init__(qtbot, viewer, model, layer)

    def open(self, is_shown: bool = False, is_awaited: bool = True) -> None:
        """Make the widget; none of its parts is visible unless it is shown."""
        from napari_promptable.gui.widget import PromptableWidget

        self.widget = PromptableWidget(self.viewer)
        if is_shown:
            self.widget.show()
        if is_awaited:
            self.wait_idle()

    @property
    def job(self):
        return self.workspace.job

    def click(self, *world: float | np.ndarray, wait: bool = True) -> None:
        """Click as on a canvas, at a world position or its coordinates."""
        self.points.add(self.points.world_to_data(np.ravel(world)))
        if wait:
            self.wait_idle()

    def commit(self) -> None:
        self.widget.controller.actions.commit()
        self.wait_idle()

    def press(self, key: str, wait: bool = True) -> None:
        """Press a key while the canvas of a window would have the focus."""
        keys = KeymapHandler()
        keys.keymap_providers = [self.viewer.layers.selection.active, self.viewer]
        keys.press_key(key)
        keys.release_key(key)
        if wait:
            self.wait_idle()

    def offers(self, name: str) -> list[str]:
        """Texts of the entries of a list, outside a window as inside."""
        return [text for text, _ in self._choices[name]()]

    def choose(self, name: str, text: str) -> None:
        """Choose the entry of a list, even of one that is empty outside a window."""
        if name not in self._choices:
            super().choose(name, text)
            return
        value = dict(self._choices[name]())[text]
        self.widget.controller.choices.apply(name, value)
        self.wait_idle()

    @property
    def _choices(self) -> Any:
        return self.widget.controller.choices._offers.by_name()

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

        with suppress(self.qtbot.TimeoutError):
            self.qtbot.waitUntil(lambda: not kept(), timeout=5_000)
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
def make_desk(qtbot, fake_model) -> Iterator[Callable[..., Desk]]:
    """Factory of desks with an image."""
    desks: list[Desk] = []

    def make(image: np.ndarray, **options: Any) -> Desk:
        desks.append(Desk(qtbot, fake_model, image, **options))
        return desks[-1]

    yield make
    fake_model.open_gates()
    for desk in desks:
        desk.close()


@pytest.fixture
def open_desk(make_desk) -> Callable[..., Desk]:
    """Factory of desks with the widget open and shown, in place of `open_plugin`.

    For tests that need no canvas: they take an eighth of the time.
    """
    notification_manager.records.clear()

    def make(
        data: np.ndarray,
        before: Callable[[Any], None] = lambda viewer: None,
        is_awaited: bool = True,
        **options: Any,
    ) -> Desk:
        desk = make_desk(data, **options)
        before(desk.viewer)
        desk.open(is_shown=True, is_awaited=is_awaited)
        return desk

    return make


@pytest.fixture
def desk(make_desk, make_disks) -> Desk:
    return make_desk(make_disks().image)
