"""Clicks in a running viewer: how long until the preview can be seen, and is napari ever stuck?

    xvfb-run -a -s "-screen 0 1600x1200x24 +extension GLX +render -noreset" \
        python -m benchmarks.viewer [--clicks 1000]

The image has 2,048 × 2,048 pixels, the model is the bundled one, every click is a real one on
the canvas, and each answer is committed before the next click. A software renderer may take
longer to draw than all the rest, so times are given with and without drawing. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from benchmarks.measure import read_status
from docs.scripts.make_screenshots import PLUGIN, WIDGET, Screen
from napari_promptable.masks import interior_point_yx
from napari_promptable.samples.data import sample_labels, sample_path

SIDE = 2048
MAX_WAIT_S = 30
BEAT_MS = 5
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


def tile_sample(name: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Sample repeated to the benchmark's size, and positions, (row, col), of its objects."""
    from napari_promptable.files.images import read_image

    image, labels = read_image(sample_path(name)), sample_labels(name)
    height, width = labels.shape
    repeats = (-(-SIDE // height), -(-SIDE // width))
    inner = [
        interior_point_yx(labels == label) for label in np.unique(labels[labels > 0]).tolist()
    ]
    corners = np.indices(repeats).reshape(2, -1).T * (height, width)
    positions = [point + corner for corner in corners for point in inner]
    tiled = np.tile(image, repeats)[:SIDE, :SIDE]
    return tiled, [p for p in positions if max(p) < SIDE - 1]


def click_until_seen(screen: Screen, pulse: Pulse, position: np.ndarray) -> dict[str, float]:
    """Click; seconds until the preview is set, and until it was drawn."""
    pixel = screen.pixel(position)
    preview = screen.workspace.job.layers.preview
    is_set: list[float] = []

    def note(_event: object) -> None:
        if not is_set and np.asarray(preview.data).any():
            is_set.append(time.perf_counter())

    preview.events.data.connect(note)
    preview.events.set_data.connect(note)
    QTest.mouseMove(screen.canvas, pixel)
    QApplication.processEvents()
    pulse.restart()
    start = time.perf_counter()
    QTest.mouseClick(screen.canvas, Qt.MouseButton.LeftButton, pos=pixel)
    draws = pulse.num_draws
    while not is_set or pulse.num_draws == draws:
        draws = draws if is_set else pulse.num_draws
        QApplication.processEvents(_WAIT)  # asleep between events, as napari's own loop
        if time.perf_counter() - start > MAX_WAIT_S:
            raise TimeoutError(f"no preview within {MAX_WAIT_S} s of a click at {position}")
    seen = time.perf_counter()
    preview.events.disconnect(note)
    return {"preview": is_set[0] - start, "drawn": seen - start, "stuck": pulse.longest}


def measure(num_clicks: int) -> dict[str, Any]:
    """Click on one object after the other and commit each."""
    image, positions = tile_sample("fluorescence_nuclei")
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    viewer.add_image(image)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    screen = Screen(viewer, widget, np.zeros(image.shape, int))
    screen.wait()
    screen.see_all()
    pulse = Pulse(viewer)
    order = np.random.default_rng(0).permutation(len(positions))
    rows, memory = [], []
    for number in range(num_clicks):
        rows.append(click_until_seen(screen, pulse, positions[order[number % len(order)]]))
        screen.press(Qt.Key.Key_C)
        memory.append(read_status("VmRSS"))
    viewer.close()

    def median_ms(key: str, part: slice = slice(None)) -> float:
        return 1000 * statistics.median(row[key] for row in rows[part])

    return {
        "clicks": num_clicks,
        "preview_ms": median_ms("preview"),
        "preview_ms_first": median_ms("preview", slice(STEADY)),
        "preview_ms_last": median_ms("preview", slice(-STEADY, None)),
        "drawn_ms": median_ms("drawn"),
        "stuck_ms": median_ms("stuck"),
        "stuck_ms_most": 1000 * max(row["stuck"] for row in rows),
        "memory_mb_first": memory[min(STEADY, num_clicks) - 1],
        "memory_mb_last": memory[-1],
    }


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(description=Path(__file__).stem)
    parser.add_argument("--clicks", type=int, default=1000)
    print(json.dumps(measure(parser.parse_args().clicks)))


if __name__ == "__main__":
    main()
