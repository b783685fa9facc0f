"""Opening the panel and clicking, in a window: what is seen when, and is napari ever stuck?

    xvfb-run -a -s "-screen 0 1600x1200x24 +extension GLX +render -noreset" \
        python -m benchmarks.viewer [--clicks 100] [--sides 512 2048] [--repeats 3] [--hold 80]

The model is the bundled one, every click is a real one on the canvas, and each answer is
committed before the next click; when all objects of the image are committed, they are deleted
together. With `--clicks 1000` the first and the last hundred clicks tell whether a long session
slows down. `--hold` is how many milliseconds the mouse button stays down, about 80 if a person
clicks; they are not counted. Beside it stands bare napari with the same layers, where a
click adds a point and nothing else. Each measurement has a process of its own; plugin and
bare napari take turns. A software renderer may take longer to draw than all the rest, so times
are given with and without drawing. Prints JSON with medians over the repeats, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from benchmarks.measure import read_status
from docs.scripts.make_screenshots import PLUGIN, WIDGET, Screen
from napari_promptable.masks import interior_point_yx
from napari_promptable.samples.data import sample_labels, sample_path

MAX_WAIT_S = 30
BEAT_MS = 5
SAMPLE = "fluorescence_nuclei"
NUM_LAYERS = 5  # of the image, the plugin's four, and no others
STEADY = 100  # clicks at the start, and at the end, that are compared
_WAIT = QEventLoop.ProcessEventsFlag.WaitForMoreEvents


class Pulse:
    """How long the main thread is away from events, and how long it draws.

    Attributes
    ----------
    longest : float
        Longest time between two beats, without drawing, in seconds.
    drawing : float
        Time spent on drawing since the last beat, in seconds.
    num_draws : int
        Drawings of the canvas.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        events = viewer.window._qt_viewer.canvas._scene_canvas.events.draw
        events.connect(self._start_drawing, position="first")
        events.connect(self._stop_drawing, position="last")
        self.longest = self.drawing = 0.0
        self.num_draws = 0
        self._last = self._started = time.perf_counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(BEAT_MS)

    def restart(self) -> None:
        """Forget the longest time."""
        self.longest = 0.0

    def _beat(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last - self.drawing)
        self._last, self.drawing = now, 0.0

    def _start_drawing(self, _event: object) -> None:
        self._started = time.perf_counter()

    def _stop_drawing(self, _event: object) -> None:
        self.drawing += time.perf_counter() - self._started
        self.num_draws += 1


def tile_sample(name: str, side: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Sample repeated to the benchmark's size, and positions, (row, col), of its objects."""
    from napari_promptable.files.images import read_image

    image, labels = read_image(sample_path(name)), sample_labels(name)
    height, width = labels.shape
    repeats = (-(-side // height), -(-side // width))
    inner = [
        interior_point_yx(labels == label) for label in np.unique(labels[labels > 0]).tolist()
    ]
    corners = np.indices(repeats).reshape(2, -1).T * (height, width)
    positions = [point + corner for corner in corners for point in inner]
    tiled = np.tile(image, repeats)[:side, :side]
    return tiled, [p for p in positions if max(p) < side - 1]


def open_viewer(image: np.ndarray) -> napari.Viewer:
    """Open a window with an image, and wait until it is drawn."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    viewer.add_image(image)
    pump(lambda: False, wait_s=2)
    return viewer


def pump(is_done: Callable[[], bool], wait_s: float = MAX_WAIT_S) -> None:
    """Process events, asleep between them as napari's own loop, until something is done."""
    stop = time.perf_counter() + wait_s
    waker = QTimer()
    waker.start(BEAT_MS)
    while not is_done() and time.perf_counter() < stop:
        QApplication.processEvents(_WAIT)


def add_bare_layers(viewer: napari.Viewer, shape: tuple[int, ...]) -> None:
    """Add the kinds of layers that the plugin adds, without the plugin."""
    viewer.add_labels(np.zeros(shape, np.uint16))
    viewer.add_labels(np.zeros(shape, np.uint8))
    viewer.add_shapes(None, ndim=2)
    viewer.add_points(np.empty((0, 2)), size=10)


def measure_opening(side: int, *, is_bare: bool) -> dict[str, float]:
    """Open the panel; milliseconds that the window is blocked in all, and at most at a time."""
    image, _ = tile_sample(SAMPLE, side)
    viewer = open_viewer(image)
    pulse = Pulse(viewer)
    start, cpu = time.perf_counter(), time.thread_time()
    if is_bare:
        add_bare_layers(viewer, image.shape)
    else:
        viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    called = time.perf_counter() - start
    draws = pulse.num_draws
    pump(lambda: pulse.num_draws > draws and len(viewer.layers) == NUM_LAYERS)
    pump(lambda: False, wait_s=0.5)
    return {
        "call": 1000 * called,
        "main_thread": 1000 * (time.thread_time() - cpu),
        "stuck": 1000 * max(pulse.longest, called),
    }


def click_until_seen(
    canvas: Any,
    pulse: Pulse,
    pixel: QPoint,
    changed: Any,
    is_seen: Callable[[], bool],
    hold_s: float,
) -> dict[str, float]:
    """Click; seconds until the answer is set, and until it was drawn, less those of holding."""
    is_set: list[float] = []

    def note(_event: object) -> None:
        if not is_set and is_seen():
            is_set.append(time.perf_counter())

    changed.connect(note)
    QTest.mouseMove(canvas, pixel)
    QApplication.processEvents()
    pulse.restart()
    start, cpu = time.perf_counter() + hold_s, time.thread_time()
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=pixel)
    if hold_s:
        pump(lambda: False, start - time.perf_counter())
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=pixel)
    draws = pulse.num_draws
    while not is_set or pulse.num_draws == draws:
        draws = draws if is_set else pulse.num_draws
        QApplication.processEvents(_WAIT)  # asleep between events, as napari's own loop
        if time.perf_counter() - start > MAX_WAIT_S:
            raise TimeoutError(f"nothing changed within {MAX_WAIT_S} s of a click at {pixel}")
    seen = time.perf_counter()
    changed.disconnect(note)
    return {
        "preview": is_set[0] - start,
        "drawn": seen - start,
        "stuck": pulse.longest,
        "main_thread": time.thread_time() - cpu,
    }


def measure_clicks(
    side: int, num_clicks: int, hold_s: float, *, is_bare: bool
) -> dict[str, float]:
    """Click on one object after the other and commit each."""
    image, positions = tile_sample(SAMPLE, side)
    viewer = open_viewer(image)
    if is_bare:
        add_bare_layers(viewer, image.shape)
        points = viewer.layers[-1]
        points.mode = "add"
        screen = BareScreen(viewer)
        changed, is_seen = points.events.data, lambda: True
    else:
        _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
        screen = Screen(viewer, widget, np.zeros(image.shape, int))
        screen.wait()
        widget.controller.object_actions.set_policy("replace")  # each answer can be seen
        preview = screen.workspace.job.layers.preview
        changed = preview.events.labels_update
        is_seen = lambda: bool(np.asarray(preview.data).any())  # noqa: E731
    screen.see_all()
    pulse = Pulse(viewer)
    order = np.random.default_rng(0).permutation(len(positions))
    rows, memory = [], []
    for number in range(num_clicks):
        pixel = screen.pixel(positions[order[number % len(order)]])
        rows.append(click_until_seen(screen.canvas, pulse, pixel, changed, is_seen, hold_s))
        if not is_bare:
            commit(screen, is_last=(number + 1) % len(order) == 0)
        memory.append(read_status("VmRSS"))

    def median_ms(key: str, part: slice = slice(None)) -> float:
        return 1000 * statistics.median(row[key] for row in rows[part])

    return {
        "preview": median_ms("preview"),
        "preview_first": median_ms("preview", slice(STEADY)),
        "preview_last": median_ms("preview", slice(-STEADY, None)),
        "drawn": median_ms("drawn"),
        "main_thread": median_ms("main_thread"),
        "stuck": median_ms("stuck"),
        "stuck_most": 1000 * max(row["stuck"] for row in rows),
        "memory_mb_first": memory[min(STEADY, num_clicks) - 1],
        "memory_mb_last": memory[-1],
    }


def commit(screen: Screen, *, is_last: bool) -> None:
    """Commit the object, over others if need be; after the last one, delete all."""
    screen.press(Qt.Key.Key_C)
    if is_last:
        session = screen.workspace.session
        session.delete_objects(session.records.object_ids)
        pump(lambda: False, wait_s=0.5)


class BareScreen(Screen):
    """A viewer without the plugin."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__(viewer, None, np.zeros(0, int))

    def see_all(self) -> None:
        """Show the whole image."""
        self.viewer.reset_view()
        pump(lambda: False, wait_s=0.5)

    def pixel(self, position_yx: Any) -> QPoint:
        """Pixel of the canvas that shows a position of the image."""
        camera = self.viewer.scene.camera
        y, x = (np.asarray(position_yx) - np.asarray(camera.center)[-2:]) * camera.zoom
        return QPoint(round(x + self.canvas.width() / 2), round(y + self.canvas.height() / 2))


def measure(what: str, side: int, num_clicks: int, hold_s: float) -> dict[str, float]:
    """Measure in this process: "opening" or "clicks", of the "plugin" or "bare"."""
    kind, whose = what.split("-")
    if kind == "opening":
        return measure_opening(side, is_bare=whose == "bare")
    return measure_clicks(side, num_clicks, hold_s, is_bare=whose == "bare")


def measure_all(
    sides: list[int], num_clicks: int, repeats: int, hold_ms: float
) -> dict[str, Any]:
    """Measure everything in turns, each in a fresh process; medians of the repeats."""
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(repeats):
        for side in sides:
            for what in ("opening-plugin", "opening-bare", "clicks-plugin", "clicks-bare"):
                command = [sys.executable, "-m", "benchmarks.viewer", "--only", what]
                command += ["--sides", str(side), "--clicks", str(num_clicks)]
                command += ["--hold", str(hold_ms)]
                output = subprocess.run(command, check=True, capture_output=True, text=True)
                row = json.loads(output.stdout.splitlines()[-1])
                found.setdefault(f"{what} {side}", []).append(row)
    medians = {
        name: {key: round(statistics.median(row[key] for row in rows), 1) for key in rows[0]}
        for name, rows in found.items()
    }
    return {"clicks": num_clicks, "hold": hold_ms, "load": os.getloadavg()[0], **medians}


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=Path(__file__).stem)
    parser.add_argument("--clicks", type=int, default=100)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hold", type=float, default=0)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sides, clicks, hold_ms = options.sides, options.clicks, options.hold
    if options.only is None:
        print(json.dumps(measure_all(sides, clicks, options.repeats, hold_ms)))
        return
    print(json.dumps(measure(options.only, sides[0], clicks, hold_ms / 1000)), flush=True)
    os._exit(0)  # an unseen window need not be taken apart


if __name__ == "__main__":
    main()
