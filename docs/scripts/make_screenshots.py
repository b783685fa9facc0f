"""Take the screenshots of the README and the tutorial with the real plugin.

A window is opened, the mouse clicks where the labels of the sample say that objects are, and
what can be seen then is written to docs/images. Run it from the root of the repository:

    xvfb-run -a -s "-screen 0 1600x1200x24 +extension GLX +render -noreset" \
        python docs/scripts/make_screenshots.py [NAME ...]

With names of pictures, such as "box volume-box", only these are written. "editor" stands for
the pictures of the window for editing.
"""

# napari reads where its settings are when it is imported:
# ruff: noqa: E402

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SETTINGS = tempfile.TemporaryDirectory(prefix="napari-settings-")
os.environ["NAPARI_CONFIG"] = str(Path(_SETTINGS.name) / "settings.yaml")  # not the user's

import napari
import numpy as np
from PIL import Image as PillowImage
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QComboBox, QPushButton, QWidget

from napari_promptable import encode_image, load_model
from napari_promptable.masks import interior_point_yx, mask_iou, mask_to_box_yxyx
from napari_promptable.predict.click_by_click import answer_prompts
from napari_promptable.prompts import PlanePrompts
from napari_promptable.samples.data import sample_labels

FOLDER = Path(__file__).parents[1] / "images"
WINDOW_SIZE, PANEL_WIDTH = (1280, 800), 300
MAX_BYTES = 250_000
VOLUME_SLICE = 5  # of the stack; all nuclei are near their middle
PLUGIN, WIDGET = "napari-promptable", "Promptable segmentation"
INSPECTOR, INSPECTOR_HEIGHT = "See inside the mask decoder", 480
TALL_WINDOW_SIZE = 1280, 920  # for all that the inspector shows of tokens
_PATIENCE_S = 180
_WANTED = sys.argv[1:]  # names of pictures; none: all
_MUCH = 0.2  # of an object, for which a click more is worth it
_SETTLE_S = 0.4  # for what the canvas draws after the last job


@dataclass(eq=False)
class Screen:
    """A viewer with the plugin on a sample, and the hands of its user.

    Attributes
    ----------
    viewer : napari.Viewer
        Shown on the screen.
    widget : PromptableWidget
        The plugin's panel.
    truth : ndarray of int
        Labels of the sample, of the image's shape.
    min_pixels : int
        Objects that are smaller on a plane are left alone.
    """

    viewer: napari.Viewer
    widget: Any
    truth: np.ndarray
    min_pixels: int = 300

    # what there is

    @property
    def workspace(self) -> Any:
        """Image, layers and session of the plugin."""
        return self.widget.controller.workspace

    def plane_truth(self) -> np.ndarray:
        """Labels of the plane in view."""
        return self.truth[self.workspace.visible_index()]

    def preview_mask(self) -> np.ndarray:
        """Mask of the current object, in a 2D image."""
        return np.asarray(self.workspace.job.layers.preview.data) > 0

    def objects(self, near_yx: Sequence[float] | None = None) -> list[np.ndarray]:
        """Masks of the plane's objects, those at the border left out, the nearest first."""
        truth = self.plane_truth()
        inner = np.zeros(truth.shape, bool)
        inner[1:-1, 1:-1] = True
        masks = [truth == label for label in np.unique(truth) if label > 0]
        masks = [m for m in masks if m.sum() >= self.min_pixels and not (m & ~inner).any()]
        centre = np.array(truth.shape) / 2 if near_yx is None else np.asarray(near_yx)
        return sorted(masks, key=lambda m: np.linalg.norm(interior_point_yx(m) - centre))

    def is_free(self, mask: np.ndarray) -> bool:
        """Whether nothing, or only a neighbour's rim, was committed on a mask."""
        labels = np.asarray(
            self.workspace.job.labels_layer.data[self.workspace.visible_index()]
        )
        return bool((labels[mask] > 0).mean() < 0.1)

    def free_objects(self, near_yx: Sequence[float] | None = None) -> list[np.ndarray]:
        """Objects that are still to be committed, the nearest first."""
        return [mask for mask in self.objects(near_yx) if self.is_free(mask)]

    # waiting

    def wait(self) -> None:
        """Let napari work until the plugin has nothing left to do and all is drawn."""
        stop = time.monotonic() + _PATIENCE_S
        calm_since = time.monotonic()
        while True:
            QApplication.processEvents()
            controller = self.widget.controller
            is_propagating = controller.volume_actions.is_running
            if controller.scheduler.is_busy or is_propagating:
                calm_since = time.monotonic()
            elif time.monotonic() - calm_since > _SETTLE_S:
                return
            if time.monotonic() > stop:
                raise TimeoutError(f"the plugin was busy for {_PATIENCE_S} s")
            time.sleep(0.01)

    # mouse and keys

    @property
    def canvas(self) -> QWidget:
        """Where the image is drawn."""
        return self.viewer.window._qt_viewer.canvas.native

    def pixel(self, position_yx: Sequence[float]) -> QPoint:
        """Pixel of the canvas that shows a position of the plane in view."""
        planes = self.workspace.job.layers.planes
        index = self.workspace.visible_index()
        [position] = planes.join(index, np.array([position_yx], float))
        world = np.asarray(self.workspace.image.data_to_world(position))
        camera = self.viewer.scene.camera
        shown = world[list(self.viewer.dims.displayed)] - np.asarray(camera.center)[-2:]
        y, x = shown * camera.zoom
        return QPoint(round(x + self.canvas.width() / 2), round(y + self.canvas.height() / 2))

    def click(self, position_yx: Sequence[float]) -> None:
        """Click on the canvas and wait for the answer."""
        pixel = self.pixel(position_yx)
        QTest.mouseMove(self.canvas, pixel)
        QTest.mouseClick(self.canvas, Qt.MouseButton.LeftButton, pos=pixel)
        self.wait()

    def drag_box(self, mask: np.ndarray, margin: float = 2) -> None:
        """Drag a box around a mask and wait for the answer."""
        top, left, bottom, right = mask_to_box_yxyx(mask)
        start = self.pixel((top - margin, left - margin))
        stop = self.pixel((bottom + margin, right + margin))
        self.push("tool_box")
        QTest.mouseMove(self.canvas, start)
        QTest.mousePress(self.canvas, Qt.MouseButton.LeftButton, pos=start)
        for part in range(1, 6):
            QTest.mouseMove(self.canvas, start + (stop - start) * part / 5)
            QTest.qWait(60)
        QTest.mouseRelease(self.canvas, Qt.MouseButton.LeftButton, pos=stop)
        self.wait()

    def press(self, key: Qt.Key) -> None:
        """Press a key on the canvas."""
        QTest.keyClick(self.canvas, key)
        self.wait()

    def push(self, name: str) -> None:
        """Push a button of the panel."""
        QTest.mouseClick(self.widget.findChild(QWidget, name), Qt.MouseButton.LeftButton)
        self.wait()

    def look_at(self, mask: np.ndarray, share: float) -> None:
        """Zoom so that a mask fills a share of the canvas."""
        top, left, bottom, right = mask_to_box_yxyx(mask)
        camera = self.viewer.scene.camera
        side = min(self.canvas.width(), self.canvas.height())
        camera.center = ((top + bottom) / 2, (left + right) / 2)
        camera.zoom = share * side / max(bottom - top, right - left)
        self.wait()

    def see_all(self) -> None:
        """Show the whole image."""
        self.viewer.reset_view(margin=0.02)
        self.wait()

    # pictures

    def save(self, name: str, part: QWidget | None = None) -> None:
        """Write what can be seen of the window, or of a part of it, as a small PNG."""
        self.wait()
        if _WANTED and name not in _WANTED and not name.startswith("editor"):
            return
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)[..., :3]
        if part is not None:
            corner = part.mapTo(self.viewer.window._qt_window, QPoint(0, 0))
            rows = slice(corner.y(), corner.y() + part.height())
            pixels = pixels[rows, corner.x() : corner.x() + part.width()]
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{name}.png"
        for lost_bits in range(5):  # a few grey levels less, until the file is small
            coarse = pixels >> lost_bits << lost_bits
            PillowImage.fromarray(coarse).save(path, optimize=True)
            if path.stat().st_size <= MAX_BYTES:
                break


def open_screen(sample: str, min_pixels: int) -> Screen:
    """Open a window, a sample and the plugin, as the tutorial says."""
    cache = tempfile.mkdtemp(dir=_SETTINGS.name)  # no earlier session is offered
    os.environ["NAPARI_PROMPTABLE_CACHE"] = cache
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*WINDOW_SIZE)
    [image] = viewer.open_sample(PLUGIN, sample)
    image.contrast_limits = np.percentile(image.data, (0.5, 99.8))
    dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    screen = Screen(viewer, widget, sample_labels(sample), min_pixels)
    screen.wait()
    viewer.window._qt_window.resizeDocks([dock], [PANEL_WIDTH], Qt.Orientation.Horizontal)
    screen.wait()
    screen.see_all()
    return screen


def find_spill(image: np.ndarray, masks: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Find the object that a negative click helps most.

    Returns
    -------
    mask, first, second : ndarray
        The object and positions, (row, col), of a positive and a negative click.
    """
    model = load_model("tiny", device="cpu")
    embedding = encode_image(model, image)

    def answer(positions: Sequence[np.ndarray], signs: Sequence[int]) -> np.ndarray:
        prompts = PlanePrompts(positions, signs)
        prediction = answer_prompts(model, embedding, prompts)[-1].prediction
        return prediction.mask(prediction.default)

    found = []
    for mask in masks:
        for first in clicks_inside(mask):
            before = answer([first], [1])
            if np.any(before & ~mask):
                second = interior_point_yx(before & ~mask)
                after = answer([first, second], [1, 0])
                gain = mask_iou(after, mask) - mask_iou(before, mask)
                found.append((gain, mask, first, second))
    return max(found, key=lambda entry: entry[0])[1:]


def clicks_inside(mask: np.ndarray) -> list[np.ndarray]:
    """Positions in the middle of an object and of its upper, lower, left and right half."""
    middle = interior_point_yx(mask)
    rows, columns = np.indices(mask.shape)
    halves = (rows < middle[0], rows > middle[0], columns < middle[1], columns > middle[1])
    return [middle, *(interior_point_yx(mask & half) for half in halves)]


def clear_prompts(screen: Screen) -> None:
    """Delete the prompts of the current object, as Ctrl-A and Delete would."""
    for layer in (screen.workspace.job.layers.points, screen.workspace.job.layers.boxes):
        layer.selected_data = set(range(len(layer.data)))
        layer.remove_selected()
    screen.wait()


def show_first_steps(screen: Screen) -> None:
    """Click, correct, drag a box, commit."""
    screen.save("opened")
    masks = screen.objects()
    screen.click(interior_point_yx(masks[0]))
    screen.save("first-click")
    screen.save("panel", screen.widget.controller.panel.object)
    clear_prompts(screen)

    spill, first, second = find_spill(screen.workspace.image.data, masks[:15])
    screen.look_at(spill, share=0.25)
    screen.click(first)
    screen.save("too-much")
    screen.press(Qt.Key.Key_T)
    screen.click(second)
    screen.save("correction")
    clear_prompts(screen)

    screen.look_at(masks[0], share=0.25)
    screen.drag_box(masks[0])
    screen.save("box")
    clear_prompts(screen)

    screen.see_all()
    screen.push("tool_positive")
    for mask in masks[:5]:
        screen.click(interior_point_yx(mask))
        missed = mask & ~screen.preview_mask()
        if missed.sum() > _MUCH * mask.sum():
            screen.click(interior_point_yx(missed))
        screen.press(Qt.Key.Key_C)
    screen.save("committed")


def show_boxes_to_objects(screen: Screen) -> None:
    """Drag several boxes, then make an object of each."""
    height, width = screen.plane_truth().shape
    for mask in screen.free_objects(near_yx=(0.75 * height, 0.25 * width))[:5]:
        screen.drag_box(mask)
    screen.save("boxes")
    screen.push("boxes_to_objects")
    screen.save("boxes-committed")


def show_window(screen: Screen) -> None:
    """Many objects, then a box, a correction and the preview: the picture of the README."""
    last, *others = screen.free_objects()
    for mask in others[:6]:
        screen.drag_box(mask)
    screen.push("boxes_to_objects")
    screen.drag_box(last)
    screen.push("tool_positive")
    screen.click(interior_point_yx(last))
    screen.push("tool_negative")
    _, left, bottom, _ = mask_to_box_yxyx(last)
    screen.click((bottom, left))
    screen.save("window")


def show_stack(screen: Screen) -> None:
    """Committed objects and a preview on the slice of a stack that has most objects."""
    counts = [(np.bincount(plane.ravel())[1:] >= 100).sum() for plane in screen.truth]
    screen.viewer.dims.set_current_step(0, int(np.argmax(counts)))
    screen.wait()
    *others, last = screen.objects()[:4]
    for mask in others:
        screen.click(interior_point_yx(mask))
        screen.press(Qt.Key.Key_C)
    screen.click(interior_point_yx(last))
    screen.save("stack")


def show_volume(screen: Screen) -> None:
    """Box, propagate, correct the least confident slice, look at the list."""
    [position] = screen.workspace.visible_index()
    mask, *others = sorted(screen.objects(), key=np.count_nonzero, reverse=True)
    label = screen.truth[position][mask][0]
    screen.drag_box(mask)
    screen.save("volume-box")
    screen.push("propagate")
    screen.save("volume-propagated")
    session = screen.workspace.session
    found = session.records.of(session.prompts.current_object)
    known = [index for index in found if (screen.truth[index] == label).any()]
    screen.workspace.show_plane(min(known, key=lambda index: found[index].confidence))
    screen.wait()
    screen.drag_box(screen.plane_truth() == label)
    screen.push("propagate")
    screen.save("volume-corrected")
    screen.viewer.dims.set_current_step(0, position)
    for other in others[:2]:
        screen.press(Qt.Key.Key_N)
        screen.drag_box(other)
        screen.push("propagate")
    screen.push("volume_fold")
    screen.push("objects_fold")
    screen.save("volume-objects")


def show_inspector(screen: Screen) -> None:
    """Look inside the mask decoder while an object has one click, and at its self-attention."""
    dock, widget = screen.viewer.window.add_plugin_dock_widget(PLUGIN, INSPECTOR)
    window = screen.viewer.window._qt_window
    window.resizeDocks([dock], [INSPECTOR_HEIGHT], Qt.Orientation.Vertical)
    mask = screen.objects()[0]
    screen.click(interior_point_yx(mask))
    screen.look_at(mask, 0.3)
    QTest.mouseMove(screen.canvas, screen.pixel(interior_point_yx(mask) + 3))
    screen.wait()
    screen.save("inspector")
    widget.findChild(QPushButton, "step_3").click()
    screen.viewer.window.resize(*TALL_WINDOW_SIZE)
    screen.wait()
    screen.save("inspector-tokens", dock)


def show_editor(screen: Screen) -> None:
    """Objects of two classes, some selected, and the window in which they are edited."""
    for number, mask in enumerate(screen.objects()[:8]):
        screen.drag_box(mask)
        if number == 0:
            for name in ("interphase", "mitosis"):
                screen.workspace.session.classes.define(name)
        screen.workspace.session.classes.choose("mitosis" if number > 5 else "interphase")
        screen.press(Qt.Key.Key_C)
    screen.push("objects_fold")
    screen.push("edit_objects")
    window = screen.viewer.window._qt_window
    widget = window.findChild(QWidget, "editor")
    widget.findChild(QWidget, "color_by_class").click()
    widget.findChild(QWidget, "measure").click()
    while widget.table.table is None:
        QTest.qWait(50)
    screen.widget.controller.panel.objects.select([2, 3])
    screen.see_all()
    screen.save("editor")
    show_split(screen, widget)
    box = widget.findChild(QComboBox, "export_format")
    box.setCurrentText("ImageJ regions")
    screen.save("editor-export", widget.exchange)


def show_split(screen: Screen, editor: QWidget) -> None:
    """Drag a line across a selected object, just before and after the button is released."""
    objects = screen.widget.controller.panel.objects
    editor.findChild(QWidget, "color_by_class").click()
    objects.select([1])
    mask = np.asarray(screen.workspace.job.labels_layer.data) == 1
    screen.look_at(mask, share=0.45)
    top, left, bottom, right = mask_to_box_yxyx(mask)
    middle = (left + right) / 2
    editor.findChild(QWidget, "split").click()
    start, stop = screen.pixel((top - 5, middle)), screen.pixel((bottom + 5, middle))
    QTest.mouseMove(screen.canvas, start)
    QTest.mousePress(screen.canvas, Qt.MouseButton.LeftButton, pos=start)
    for part in range(1, 6):
        QTest.mouseMove(screen.canvas, start + (stop - start) * part / 5)
        QTest.qWait(60)
    screen.save("editor-line", screen.canvas)
    QTest.mouseRelease(screen.canvas, Qt.MouseButton.LeftButton, pos=stop)
    screen.wait()
    objects.select([])
    screen.save("editor-split", screen.canvas)


def main() -> None:
    """Go through all steps, or only the ones of the editor."""
    if _WANTED == ["editor"]:
        screen = open_screen("fluorescence_nuclei", 300)
        show_editor(screen)
        screen.viewer.close()
        return
    screen = open_screen("fluorescence_nuclei", 300)
    show_first_steps(screen)
    show_boxes_to_objects(screen)
    show_window(screen)
    screen.viewer.close()
    screen = open_screen("fluorescence_nuclei", 300)
    show_inspector(screen)
    screen.viewer.close()
    screen = open_screen("nuclear_envelopes", 300)
    show_stack(screen)
    screen.viewer.close()
    screen = open_screen("nuclear_envelopes", 300)
    screen.viewer.dims.set_current_step(0, VOLUME_SLICE)
    screen.wait()
    show_volume(screen)
    screen.viewer.close()
    _SETTINGS.cleanup()


if __name__ == "__main__":
    main()
