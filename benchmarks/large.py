"""Images larger than memory in the window: opening, first mask, clicks, and memory.

    xvfb-run -a -s "-screen 0 1600x1200x24 +extension GLX +render -noreset" \
        python -m benchmarks.large [stack slice pyramid picture costs "clicks 2000" \
        "images 100" "bare images 100"]

Each case has a process of its own and prints a line of JSON. ``slice`` is what ``stack`` is
compared with, ``picture`` what ``pyramid`` is. The model is the bundled one. Memory is that of
the process beyond napari with the image (Linux only); it holds torch and the model, too. Times
are on the wall and, with ``cpu``, of the processor in all threads, drawing included: the latter
hardly change when other processes use the machine.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import napari
import numpy as np
import numpy.typing as npt
import torch
import zarr
from qtpy.QtWidgets import QApplication

from benchmarks.measure import read_status
from docs.scripts.make_screenshots import PLUGIN, WIDGET
from napari_promptable.fields import INPUT_SIDE, FieldRule
from napari_promptable.plane_source import PlaneSource, levels_by_step
from napari_promptable.planes import PlaneAxes
from napari_promptable.predict.embeddings import EmbeddingCache
from napari_promptable.predict.load_model import load_model
from napari_promptable.predict.predictor import PromptableModel
from napari_promptable.prompts import PromptSet

STACK_SHAPE = (1500, 4096, 4096)  # 25 gigavoxels
SLIDE_SIDE, CHUNK = 100_000, 1024
CELL, RADIUS = 96, 20  # pixels from one bright disk to the next, and their radius
MIDDLE = SLIDE_SIDE // 2 // CHUNK * CHUNK
NUM_CLICKS = 10
MAX_WAIT_S = 60
IMAGE_SIDE = 256  # of the images that are shown in turn

Spot = tuple[float, float]


def draw_disks(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Bright disks on a grid, in noise."""
    rows, columns = np.indices((height, width)) % CELL - CELL // 2
    noise = np.random.default_rng(0).integers(0, 30, (height, width), np.uint8)
    return np.where(np.hypot(rows, columns) < RADIUS, 180, 40).astype(np.uint8) + noise


def spots(top: int, left: int, side: int) -> list[Spot]:
    """Centres of disks in a square, from its middle outwards."""
    first = -(-np.array([top, left]) // CELL) * CELL + CELL // 2
    steps = range(0, side - CELL, CELL)
    found = [(float(first[0] + i), float(first[1] + j)) for i in steps for j in steps]
    middle = top + side / 2, left + side / 2
    return sorted(found, key=lambda spot: np.hypot(*np.subtract(spot, middle)))


def make_slide(folder: Path) -> list[zarr.Array]:
    """RGB pyramid of which only the middle is written."""
    levels = []
    tile = draw_disks(4 * CHUNK, 4 * CHUNK)
    for step in (2**power for power in range(7)):
        side = -(-SLIDE_SIDE // step)
        level = zarr.create_array(
            folder / str(step),
            shape=(side, side, 3),
            chunks=(CHUNK, CHUNK, 3),
            dtype=np.uint8,
            fill_value=40,
        )
        start, part = MIDDLE // step, tile[::step, ::step, None]
        level[start : start + part.shape[0], start : start + part.shape[1]] = part
        levels.append(level)
    return levels


def pump(seconds: float) -> None:
    """Let Qt work."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.002)


class Stopwatch:
    """Seconds on the wall and of the processor since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


class Window:
    """napari with an image and the plugin."""

    def __init__(self, data: Any, **options: Any) -> None:
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(1040, 720)
        self.image = self.viewer.add_image(
            data, name="image", contrast_limits=(0, 255), **options
        )
        pump(1.0)
        self.before_mb = read_status("VmRSS")
        watch = Stopwatch()
        _, widget = self.viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
        self.controller = widget.controller
        self.wait_for(lambda: self.controller.workspace.job is not None)
        self.open_s, self.open_cpu_s = watch.read()
        self.open_mb = read_status("VmRSS") - self.before_mb
        self.wait_idle()

    @property
    def job(self) -> Any:
        return self.controller.workspace.job

    def wait_for(self, is_true: Callable[[], bool]) -> None:
        end = time.perf_counter() + MAX_WAIT_S
        while not is_true():
            if time.perf_counter() > end:
                raise TimeoutError("the window took too long")
            QApplication.processEvents()
            time.sleep(0.001)

    def close(self) -> None:
        """End the work in threads before Python ends."""
        self.controller.close()
        pump(0.5)
        self.viewer.close()

    def wait_idle(self) -> None:
        """Until the model is loaded, what is in view encoded, and nothing left to do."""
        loading = self.controller.scheduler.loading
        self.wait_for(lambda: loading.model is not None)
        pump(0.5)
        self.wait_for(lambda: not self.controller.scheduler.is_busy)

    def click(self, *position: float) -> tuple[float, float]:
        """Click, wait for the mask; returns the seconds on the wall and of the processor."""
        index = self.job.visible_index()
        watch = Stopwatch()
        self.job.layers.points.add(np.array(position))
        self.wait_for(lambda: self.job.layers.shows_mask(index))
        return watch.read()

    def commit(self) -> None:
        self.controller.actions.commit()
        pump(0.05)


def measure(window: Window, places: list[Spot], index: tuple[int, ...] = ()) -> dict[str, Any]:
    """First mask where nothing is encoded yet, then clicks with a commit after each."""
    first, *others = [(*index, *place) for place in places]
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    loaded = read_status("VmRSS")
    first_click = window.click(*first)
    window.commit()
    clicks = []
    for place in others[:NUM_CLICKS]:
        clicks.append(window.click(*place))
        window.commit()
    (first_ms, first_cpu_ms), (click_ms, click_cpu_ms) = (
        [round(1000 * seconds) for seconds in each]
        for each in (first_click, map(statistics.median, zip(*clicks, strict=True)))
    )
    figures = {
        "open_s": round(window.open_s, 2),
        "open_cpu_s": round(window.open_cpu_s, 2),
        "open_mb": round(window.open_mb),
        "loaded_mb": round(loaded - window.before_mb),
        "first_mask_ms": first_ms,
        "first_mask_cpu_ms": first_cpu_ms,
        "click_ms": click_ms,
        "click_cpu_ms": click_cpu_ms,
        "peak_mb_beyond_loaded": round(read_status("VmHWM") - loaded),
        "objects": len(window.job.session.records.object_ids),
    }
    window.close()
    return figures


def run_stack() -> dict[str, Any]:
    """A lazy stack of 25 gigavoxels."""
    disks = draw_disks(*STACK_SHAPE[1:])
    plane = da.from_array(disks, chunks=1024)
    window = Window(da.broadcast_to(plane, STACK_SHAPE))
    return measure(window, spots(1500, 1500, 1024), window.job.visible_index())


def run_slice() -> dict[str, Any]:
    """One slice of that stack."""
    return measure(Window(draw_disks(*STACK_SHAPE[1:])), spots(1500, 1500, 1024))


def run_pyramid() -> dict[str, Any]:
    """A lazy RGB pyramid of 100,000 × 100,000 pixels, zoomed in to 1,024."""
    with tempfile.TemporaryDirectory() as name:
        window = Window(make_slide(Path(name)), multiscale=True, rgb=True)
        camera = window.viewer.scene.camera
        camera.center = (0, MIDDLE + 2048, MIDDLE + 2048)
        camera.zoom = window.viewer.window._qt_viewer.canvas.native.height() / 1024
        pump(0.1)
        return measure(window, spots(MIDDLE + 1536, MIDDLE + 1536, 1024))


def run_picture() -> dict[str, Any]:
    """An RGB image of 1,024 × 1,024 pixels, shown to the model for the first time."""
    window = Window(np.repeat(draw_disks(1024, 1024)[..., None], 3, axis=-1), rgb=True)
    window.controller.scheduler.forget_planes()
    window.controller.scheduler.forget_image(window.image.unique_id)  # encoded when it opened
    window.controller.scheduler.fields.is_whole = True
    return measure(window, spots(0, 0, 1024))


def used_mb() -> float:
    """Memory in use: what malloc holds for later is handed back first."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return read_status("VmRSS")


def run_clicks(count: int) -> dict[str, Any]:
    """Many clicks on one image, each answer committed and undone.

    They go round twenty disks, so that the caches of what the model was shown are full when
    measuring begins.
    """
    window = Window(draw_disks(1024, 1024))
    places, used = spots(0, 0, 1024)[:20], []
    for number in range(1, count + 1):
        window.click(*places[number % len(places)])
        window.controller.actions.commit()
        window.controller.actions.undo()
        window.controller.actions.clear_prompts()
        pump(0.001)
        if number in (count // 4, count):
            used.append(used_mb())
    window.close()
    return {"clicks": count, "growth_mb_after_a_quarter": round(used[1] - used[0])}


def run_images(count: int) -> dict[str, Any]:
    """Many images in turn in one viewer, each with one object."""
    window = Window(draw_disks(IMAGE_SIDE, IMAGE_SIDE))
    used = []
    for number in range(1, count + 1):
        window.click(*spots(0, 0, IMAGE_SIDE)[0])
        window.commit()
        window.viewer.layers.clear()
        window.viewer.add_image(
            draw_disks(IMAGE_SIDE, IMAGE_SIDE) + np.uint8(number % 5), name="image"
        )
        window.wait_for(lambda: window.controller.workspace.job is not None)
        window.wait_idle()
        if number in (count // 4, count):
            used.append(used_mb())
    window.close()
    return {"images": count, "growth_mb_after_a_quarter": round(used[1] - used[0])}


def run_bare_images(count: int) -> dict[str, Any]:
    """The same layers in turn in napari without the plugin: what napari itself keeps."""
    viewer, used = napari.Viewer(show=True), []
    for number in range(1, count + 1):
        viewer.add_image(draw_disks(IMAGE_SIDE, IMAGE_SIDE) + np.uint8(number % 5))
        viewer.add_labels(np.zeros((IMAGE_SIDE, IMAGE_SIDE), np.uint8))
        viewer.add_labels(np.zeros((IMAGE_SIDE, IMAGE_SIDE), np.uint8))
        viewer.add_points(np.ones((1, 2)), ndim=2)
        viewer.add_shapes([np.array([[1, 1], [9, 9]])], shape_type="rectangle", ndim=2)
        pump(0.3)
        viewer.layers.clear()
        pump(0.3)
        if number in (count // 4, count):
            used.append(used_mb())
    viewer.close()
    return {"bare images": count, "growth_mb_after_a_quarter": round(used[1] - used[0])}


def run_costs() -> dict[str, Any]:
    """Processor time of the first mask, without a window: zoomed-in pyramid, and picture."""
    torch.set_num_threads(1)
    model, middle = load_model("tiny", device="cpu"), MIDDLE + 2048
    picture = np.repeat(draw_disks(1024, 1024)[..., None], 3, axis=-1)
    with tempfile.TemporaryDirectory() as name:
        levels = make_slide(Path(name))
        planes = PlaneAxes(levels[0].shape[:2], (0, 1))
        source = PlaneSource(levels[0], planes, levels=levels_by_step(levels, (0, 1)))
        rule = FieldRule(planes.plane_shape, INPUT_SIDE, source.steps)
        field = rule.choose(np.array([middle - 512, middle - 512, middle + 511, middle + 511]))
        pyramid_ms = _first_mask_ms(model, lambda: source.read((), field))
    picture_ms = _first_mask_ms(model, lambda: picture)
    return {
        "pyramid_ms": round(pyramid_ms),
        "picture_ms": round(picture_ms),
        "ratio": round(pyramid_ms / picture_ms, 2),
    }


def _first_mask_ms(model: PromptableModel, read: Callable[[], npt.NDArray[Any]]) -> float:
    """Median processor time of reading, encoding and answering a click, in milliseconds."""
    taken = []
    place = spots(0, 0, 1024)[0]
    for _ in range(7):
        start = time.process_time()
        embedding = EmbeddingCache().embed(model, model.model_id, read())
        [prediction] = model.predict_many(embedding, [PromptSet([place])], None)
        prediction.mask(prediction.default)
        taken.append(time.process_time() - start)
    return 1000 * statistics.median(taken)


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "stack": run_stack,
    "slice": run_slice,
    "pyramid": run_pyramid,
    "picture": run_picture,
    "costs": run_costs,
    "clicks 200": lambda: run_clicks(200),
    "clicks 2000": lambda: run_clicks(2000),
    "images 20": lambda: run_images(20),
    "bare images 20": lambda: run_bare_images(20),
    "images 100": lambda: run_images(100),
    "bare images 100": lambda: run_bare_images(100),
}


def main() -> None:
    """Run each case in a process, or one here."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for case in arguments.cases:
        if arguments.here:
            print(json.dumps({"case": case, **CASES[case]()}), flush=True)
        else:
            subprocess.run(
                [sys.executable, "-m", "benchmarks.large", case, "--here"], check=False
            )


if __name__ == "__main__":
    main()
