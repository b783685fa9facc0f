"""Take the screenshots of the README and the tutorial with the real plugin.

A window is opened, the mouse clicks where the labels of the sample say that objects are, and
what can be seen then is written to docs/images. Run it from the root of the repository:

    xvfb-run -a -s "-screen 0 1600x1200x24 +extension GLX +render -noreset" \
        python docs/scripts/make_screenshots.py
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SETTINGS = tempfile.TemporaryDirectory(prefix="napari-settings-")
os.environ["NAPARI_CONFIG"] = str(Path(_SETTINGS.name) / "settings.yaml")  # nobody's own

import napari
import numpy as np
from PIL import Image as PillowImage
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from napari_promptable.masks import interior_point_yx, mask_iou, mask_to_box_yxyx

FOLDER = Path(__file__).parents[1] / "images"
WINDOW_SIZE = (1280, 800)
PLUGIN, WIDGET = "napari-promptable", "Promptable segmentation"
MIN_OBJECT_PIXELS = 150
_PATIENCE_S = 180
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
    """

    viewer: napari.Viewer
    widget: Any
    truth: np.ndarray

    # what there is

    @property
    def workspace(self) -> Any:
        """Image, layers and session of the plugin."""
        return self.widget.controller.workspace

    def plane_truth(self) -> np.ndarray:
        """Labels of the plane in view."""
        return self.truth[self.workspace.visible_index()]

    def objects(self, near_yx: Sequence[float] | None = None) -> list[np.ndarray]:
        """Masks of the plane's objects, those at the border left out, the nearest first."""
        truth = self.plane_truth()
        inner = np.zeros(truth.shape, bool)
        inner[1:-1, 1:-1] = True
        masks = [truth == label for label in np.unique(truth) if label > 0]
        masks = [m for m in masks if m.sum() >= MIN_OBJECT_PIXELS and not (m & ~inner).any()]
        centre = np.array(truth.shape) / 2 if near_yx is None else np.asarray(near_yx)
        return sorted(masks, key=lambda m: np.linalg.norm(interior_point_yx(m) - centre))

    def preview(self) -> np.ndarray:
        """Mask that would be committed on the plane in view."""
        mask = self.workspace.session.mask(self.workspace.visible_index())
        return np.zeros(self.plane_truth().shape, bool) if mask is None else mask

    # waiting

    def wait(self) -> None:
        """Let napari work until the plugin has nothing left to do and all is drawn."""
        stop = time.monotonic() + _PATIENCE_S
        calm_since = time.monotonic()
        while time.monotonic() - calm_since < _SETTLE_S:
            QApplication.processEvents()
            if self.widget.controller.scheduler.engine.is_busy:
                calm_since = time.monotonic()
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
        planes = self.workspace.layers.planes
        index = self.workspace.visible_index()
        [position] = planes.join(index, np.array([position_yx], float))
        world = np.asarray(self.workspace.image.data_to_world(position))
        camera = self.viewer.scene.camera
        shown = world[list(self.viewer.dims.displayed)] - np.asarray(camera.center)[-2:]
        y, x = shown * camera.zoom
        return QPoint(
            round(x + self.canvas.width() / 2), round(y + self.canvas.height() / 2)
        )

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

    # pictures

    def save(self, name: str, part: QWidget | None = None) -> None:
        """Write what can be seen of the window, or of a part of it, as a small PNG."""
        self.viewer.window._qt_viewer.canvas.native.setFocus()
        self.wait()
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)[..., :3]
        picture = PillowImage.fromarray(pixels)
        if part is not None:
            window = self.viewer.window._qt_window
            corner = part.mapTo(window, QPoint(0, 0))
            sides = part.width(), part.height()
            picture = picture.crop(
                (corner.x(), corner.y(), corner.x() + sides[0], corner.y() + sides[1])
            )
        FOLDER.mkdir(parents=True, exist_ok=True)
        picture.quantize(256, dither=PillowImage.Dither.NONE).save(
            FOLDER / f"{name}.png", optimize=True
        )


def open_screen(key: str, truth: np.ndarray) -> Screen:
    """Open a window, a sample and the plugin, as the tutorial says."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*WINDOW_SIZE)
    viewer.open_sample(PLUGIN, key)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, WIDGET)
    screen = Screen(viewer, widget, truth)
    screen.wait()
    viewer.reset_view(margin=0.02)
    screen.wait()
    return screen


def second_click(screen: Screen, mask: np.ndarray) -> np.ndarray | None:
    """Where the preview covers most of what is not the object; None where nothing much is."""
    spilt = screen.preview() & ~mask
    return interior_point_yx(spilt) if spilt.sum() > 0.15 * mask.sum() else None


def clear_prompts(screen: Screen) -> None:
    """Delete the prompts of the current object, as Ctrl-A and Delete would."""
    for layer in (screen.workspace.layers.points, screen.workspace.layers.boxes):
        layer.selected_data = set(range(len(layer.data)))
        layer.remove_selected()
    screen.wait()


def find_spill(screen: Screen) -> np.ndarray:
    """Object that a negative click helps most, among those where one click takes too much."""
    gains: list[tuple[float, int]] = []
    masks = screen.objects()
    for number, mask in enumerate(masks):
        screen.push("tool_positive")
        screen.click(interior_point_yx(mask))
        before, position = mask_iou(screen.preview(), mask), second_click(screen, mask)
        if position is not None:
            screen.push("tool_negative")
            screen.click(position)
            gains.append((mask_iou(screen.preview(), mask) - before, number))
        clear_prompts(screen)
    return masks[max(gains)[1]] if gains else masks[0]


def show_first_steps(screen: Screen) -> None:
    """Click, correct, drag a box, commit."""
    screen.save("opened")
    first, *others = screen.objects()
    screen.click(interior_point_yx(first))
    screen.save("first-click")
    screen.save("panel", screen.widget)
    clear_prompts(screen)

    spill = find_spill(screen)
    screen.look_at(spill, share=0.3)
    screen.push("tool_positive")
    screen.click(interior_point_yx(spill))
    screen.save("too-much")
    position = second_click(screen, spill)
    if position is not None:
        screen.press(Qt.Key.Key_T)
        screen.click(position)
    screen.save("correction")
    clear_prompts(screen)

    screen.look_at(first, share=0.2)
    screen.drag_box(first)
    screen.save("box")
    clear_prompts(screen)

    screen.viewer.reset_view(margin=0.02)
    screen.push("tool_positive")
    for mask in (first, *others[:4]):
        screen.click(interior_point_yx(mask))
        screen.press(Qt.Key.Key_C)
    screen.save("committed")


def show_boxes_to_objects(screen: Screen) -> None:
    """Drag several boxes, then make an object of each."""
    corner = (0.25 * screen.plane_truth().shape[0], 0.75 * screen.plane_truth().shape[1])
    for mask in screen.objects(corner)[:5]:
        screen.drag_box(mask)
    screen.save("boxes")
    screen.push("boxes_to_objects")
    screen.save("boxes-committed")


def show_window(screen: Screen) -> None:
    """Many objects, a preview and its prompts: the picture of the README."""
    committed, *_ = screen.workspace.target.data.nonzero()
    assert len(committed), "the steps before commit objects"
    screen.push("tool_positive")
    for mask in screen.objects()[5:18]:
        labels = np.asarray(screen.workspace.target.data)
        if labels[mask].any():
            continue
        screen.click(interior_point_yx(mask))
        screen.press(Qt.Key.Key_C)
    free = [m for m in screen.objects() if not np.asarray(screen.workspace.target.data)[m].any()]
    screen.click(interior_point_yx(free[0]))
    position = second_click(screen, free[0])
    if position is not None:
        screen.press(Qt.Key.Key_T)
        screen.click(position)
    screen.save("window")


def show_stack(screen: Screen) -> None:
    """Two committed objects and a preview on a slice in the middle of a stack."""
    counts = [len(np.unique(plane)) for plane in screen.truth]
    screen.viewer.dims.set_current_step(0, int(np.argmax(counts)))
    screen.wait()
    for mask in screen.objects()[:3]:
        screen.click(interior_point_yx(mask))
        screen.press(Qt.Key.Key_C)
    screen.click(interior_point_yx(screen.objects()[3]))
    screen.save("stack")


def load_truth(key: str) -> np.ndarray:
    """Read the labels of a sample."""
    from napari_promptable import sample_data

    return sample_data.load_truth(key)


def main() -> None:
    """Take all pictures."""
    screen = open_screen("fluorescence_nuclei", load_truth("fluorescence_nuclei"))
    show_first_steps(screen)
    show_boxes_to_objects(screen)
    show_window(screen)
    screen.viewer.close()
    screen = open_screen("nuclei_stack", load_truth("nuclei_stack"))
    show_stack(screen)
    screen.viewer.close()
    _SETTINGS.cleanup()


if __name__ == "__main__":
    main()
